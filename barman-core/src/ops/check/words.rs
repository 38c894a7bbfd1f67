//! Sizes and ages as hints show them.

use std::time::Duration;

/// `512 B`, `22.1 MiB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `1 day, 2 hours, 3 minutes, 4 seconds`; zero parts are left out.
pub fn interval(duration: Duration) -> String {
    let total = duration.as_secs();
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
    if words.is_empty() {
        "less than one second".to_owned()
    } else {
        words.join(", ")
    }
}

/// How long ago something was, in seconds; what lies in the future ends in ` ago`, as Barman has it.
pub fn age(seconds: i64) -> String {
    let text = interval(Duration::from_secs(seconds.unsigned_abs()));
    if seconds < 0 { format!("{text} ago") } else { text }
}

/// The text of a system error without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (23_269_206, "22.2 MiB"),
            (1 << 40, "1.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert!(size(u64::MAX).ends_with("EiB"));
        for (seconds, text) in [
            (0, "less than one second"),
            (32, "32 seconds"),
            (86_400 * 7, "7 days"),
            (93_784, "1 day, 2 hours, 3 minutes, 4 seconds"),
            (-1, "1 second ago"),
        ] {
            assert_eq!(age(seconds), text);
        }
        assert_eq!(
            reason(&std::io::Error::from_raw_os_error(13)),
            "Permission denied"
        );
    }
}
