//! The words of a backup on the console: intervals, sizes and the lines that scripts read. Nothing here touches a
//! disk or a server.

use std::time::Duration;

/// `1 day, 2 hours, 5 seconds`: whole seconds, zero parts left out, `less than one second` below one.
#[must_use]
pub fn interval(duration: Duration) -> String {
    let total = duration.as_secs();
    if total == 0 {
        return "less than one second".to_owned();
    }
    let parts = [
        (total / 86_400, "day"),
        (total / 3_600 % 24, "hour"),
        (total / 60 % 60, "minute"),
        (total % 60, "second"),
    ];
    let words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    words.join(", ")
}

/// `512 B`, `22.1 MiB`: base 1024, one decimal from KiB on.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 8] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Whether the size line also tells what is shared with the previous backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeLine {
    /// The size alone.
    Plain,
    /// Size, size on disk and the ratio: `reuse_backup = link`.
    Deduplicated,
}

/// The line that tells how big the backup is.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage with two decimals is shown"
)]
pub fn size_line(bytes: u64, unshared: u64, form: SizeLine) -> String {
    match form {
        SizeLine::Plain => format!("Backup size: {}", size(bytes)),
        SizeLine::Deduplicated => {
            let ratio = if bytes == 0 {
                0.0
            } else {
                1.0 - unshared as f64 / bytes as f64
            };
            format!(
                "Backup size: {}. Actual size on disk: {} (-{:.2}% deduplication ratio).",
                size(bytes),
                size(unshared),
                ratio * 100.0
            )
        }
    }
}

/// A local time without zone: `2026-11-21 04:48:52.692578`; no fraction when the microseconds are 0.
#[must_use]
pub fn local_time(time: &jiff::Zoned) -> String {
    let micros = time.datetime().subsec_nanosecond() / 1000;
    let whole = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if micros == 0 {
        whole
    } else {
        format!("{whole}.{micros:06}")
    }
}

/// What is told at the end of a backup that still waits for WAL.
pub const WAITING: &str = "this backup is WAITING_FOR_WALS: its data are safe, but some of the WAL files that it needs to be consistent have not been archived yet.\n\
     This is normal for a backup taken while the server works; it becomes DONE by itself once they have arrived.\n\
     Use '--wait' to make the backup command wait for them.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_like_a_sentence() {
        for (millis, expected) in [
            (0, "less than one second"),
            (999, "less than one second"),
            (1_999, "1 second"),
            (18_000, "18 seconds"),
            (125_000, "2 minutes, 5 seconds"),
            (3_600_000, "1 hour"),
            (90_061_000, "1 day, 1 hour, 1 minute, 1 second"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(interval(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }

    #[test]
    fn sizes_have_one_decimal_from_kib_on() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (23_203_387, "22.1 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn the_size_line_of_a_linked_backup_shows_the_ratio() {
        assert_eq!(size_line(23_203_387, 0, SizeLine::Plain), "Backup size: 22.1 MiB");
        assert_eq!(
            size_line(1000, 88, SizeLine::Deduplicated),
            "Backup size: 1000 B. Actual size on disk: 88 B (-91.20% deduplication ratio)."
        );
        assert_eq!(
            size_line(0, 0, SizeLine::Deduplicated),
            "Backup size: 0 B. Actual size on disk: 0 B (-0.00% deduplication ratio)."
        );
    }

    #[test]
    fn local_times_lose_an_empty_fraction() {
        let time = |text: &str| local_time(&text.parse::<jiff::Zoned>().unwrap());
        assert_eq!(
            time("2026-11-21T04:48:52.692578+00:00[UTC]"),
            "2026-11-21 04:48:52.692578"
        );
        assert_eq!(time("2026-11-21T04:48:52+00:00[UTC]"), "2026-11-21 04:48:52");
    }
}
