//! What two runs of the same thing cannot have in common: process ids, the time of day, how long something took, and what hangs on them.
//!
//! Each rule has a name, and a scenario names the rules that it needs; nothing else is made equal. A rule that changes nothing fails its scenario.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use regex::{Captures, Regex};

/// A rule of normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A process id: the content of a lock file, `receive-wal(123)` of the messages, and where processes are listed.
    Pid,
    /// A moment between the beginning of the run and a minute after its end, in any of Barman's forms, of which the form is kept: separator, zone, whether there are fractions of a
    /// second. Other moments stay: a wrong time zone is seen.
    Instant,
    /// How long something took, in words (`1 second`) or as a number of seconds, and the speed that follows from it: at most
    /// as long as the run. Of an age of days the days stay; an interval that was configured stays as it is.
    Duration,
    /// The id of a backup that was made during the run, by its time: `<backup 1>`, `<backup 2>`, in order.
    BackupId,
    /// The size of a live cluster, or of a backup of one, in the places where such a size stands: how much a server has written to its own files is its own
    /// affair. Other sizes stay, those of WAL among them, and what is smaller than any cluster.
    Size,
    /// A position in the WAL of a live cluster, within its segment: how much a server has logged is its own affair. The segment stays.
    Position,
    /// The size of a compressed WAL file in `xlog.db`: two implementations of a codec do not write the same bytes.
    CompressedSize,
    /// How many WAL files a live cluster has archived in a second since its statistics were reset: a long fraction, other at every moment.
    Rate,
}

impl Rule {
    /// The name under which the rule is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Instant => "instant",
            Self::Duration => "duration",
            Self::BackupId => "backup-id",
            Self::Size => "size-of-live-cluster",
            Self::Position => "position-in-live-wal",
            Self::CompressedSize => "compressed-size",
            Self::Rate => "rate-of-archiving",
        }
    }
}

fn regex(pattern: &str) -> Regex {
    #[allow(clippy::expect_used, reason = "a constant, compiled by the tests")]
    Regex::new(pattern).expect("a valid pattern")
}

static PROCESS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(receive-wal|backup|cron|archive-wal|sync-wal|sync-backup)\(\d+\)"));
static LISTED_PROCESS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?m)^\d+( (?:receive-wal|backup|cron|archive-wal|sync-wal|sync-backup)$)|(^     WAL sender PID  : |"(?:wal_sender_)?pid": )\d+"#,
    )
});
static ISO: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(\d{4}-\d\d-\d\d)([ T])(\d\d:\d\d:\d\d(\.\d+)?)(?:([+-]\d\d):?(\d\d)| UTC)?"));
static CTIME: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d \d{4})\b",
    )
});
static COMPACT: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(\d{8}T\d{6})Z\b"));
static UNIX: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(\d{10})(\.\d+)?\b"));
static INTERVAL: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(interval provided: )?(?:less than one second|\b\d+ (?:day|hour|minute|second)s?\b(?:, \d+ (?:day|hour|minute|second)s?\b)*)",
    )
});
static SECONDS: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"((?:_seconds"|_time'|"(?:copy|total|analysis)_time"): )([\d.]+(?:e-?\d+)?)"#));
static SPEED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"[\d.]+ (?:[KMGT]i)?B/s|("throughput_bytes": |"current_archived_wals_per_second": )[\d.]+|\b[\d.]+/hour\b"#,
    )
});
static BACKUP_ID: LazyLock<Regex> = LazyLock::new(|| regex(r"\b\d{8}T\d{6}\b"));
static SIZE: LazyLock<Regex> = LazyLock::new(|| {
    let value = r"([\d.]+(?: (?:[KMGT]i)?B\b)?)";
    let places = [
        // `backup.info`
        "^(?:cluster_|deduplicated_)?size=",
        // JSON
        "\"(?:cluster_|deduplicated_|current_)?size(?:_bytes)?\": \"?",
        // `show-servers`
        "^\tcurrent_size: ",
        // `backup`
        r"\bBackup size: ",
        // `list-backups`
        " - Size: ",
        // `status`
        "Current data size: ",
        r#""message": ""#,
        // `diagnose`
        r#""current_size": "#,
        // `show-backup`
        "^ +(?:Backup|Cluster) Size +: ",
    ];
    regex(&format!(
        r"(?m)({}){value}|( \(){value}( with WALs\))",
        places.join("|")
    ))
});
static POSITION: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?m)\b([0-9A-F]+/[0-9A-F]{1,2})[0-9A-F]{6}\b|(^(?:begin|end)_offset=|"(?:begin|end)_offset": )\d+|(\b[0-9A-F]{24}(?:, |\.))[0-9A-F]{8}\b"#,
    )
});

static RATE: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(current_archived_wals_per_second"?: "?)\d+\.\d{6,}(?:[Ee]-?\d+)?"#));
static COMPRESSED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?m)^((?:[0-9A-F]{24}\S*|[0-9A-F]{8}\.history)\t)\d+(\t[\d.]+\t(?:gzip|pygzip|pigz|bzip2|pybzip2|xz|zstd|lz4|snappy|custom)\t)",
    )
});

/// How long after the end of a run a moment of it may be (seconds): backups of one second get ids of the next ones.
const MARGIN: i64 = 60;

/// The facts of one run that rules need.
#[derive(Debug)]
pub struct Normaliser {
    rules: Vec<Rule>,
    /// When the run began.
    start: Timestamp,
    /// When it had ended.
    end: Timestamp,
    /// Ids of the backups that were there before.
    known: BTreeSet<String>,
    /// New ids and what stands for them.
    fresh: BTreeMap<String, String>,
    used: RefCell<BTreeSet<Rule>>,
}

impl Normaliser {
    /// The rules of a run from `start` to `end`, at whose beginning the backups `known` were there.
    pub fn new(rules: &[Rule], start: Timestamp, end: Timestamp, known: &[String]) -> Self {
        Self {
            rules: rules.to_vec(),
            start,
            end,
            known: known.iter().cloned().collect(),
            fresh: BTreeMap::new(),
            used: RefCell::default(),
        }
    }

    /// Learns of the backups that the run made, from all texts in which their ids may stand, so that they are numbered in order of their ids.
    pub fn learn<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        if !self.rules.contains(&Rule::BackupId) {
            return;
        }
        let mut ids: BTreeSet<String> = self.fresh.keys().cloned().collect();
        for text in texts {
            for found in BACKUP_ID.find_iter(text) {
                if !self.known.contains(found.as_str()) && self.is_new(compact(found.as_str())) {
                    ids.insert(found.as_str().to_owned());
                }
            }
        }
        let numbered = ids.into_iter().enumerate();
        self.fresh = numbered
            .map(|(n, id)| (id, format!("<backup {}>", n + 1)))
            .collect();
    }

    /// The rules that have changed something so far.
    pub fn used(&self) -> BTreeSet<Rule> {
        self.used.borrow().clone()
    }

    /// A text with everything replaced that the rules name.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for rule in &self.rules {
            let next = self.apply(*rule, &text);
            if next != text {
                self.used.borrow_mut().insert(*rule);
                text = next;
            }
        }
        text
    }

    /// The content of a file, by its path.
    pub fn file(&self, path: &str, text: &str) -> String {
        let is_lock = Path::new(path).extension().is_some_and(|e| e == "lock");
        let pid = text.strip_suffix('\n').unwrap_or_default();
        if is_lock
            && !pid.is_empty()
            && pid.bytes().all(|b| b.is_ascii_digit())
            && self.rules.contains(&Rule::Pid)
        {
            self.used.borrow_mut().insert(Rule::Pid);
            return "<pid>\n".to_owned();
        }
        self.text(text)
    }

    fn apply(&self, rule: Rule, text: &str) -> String {
        let with = |pattern: &Regex, replacement: &str| pattern.replace_all(text, replacement).into_owned();
        match rule {
            Rule::Pid => LISTED_PROCESS
                .replace_all(&with(&PROCESS, "$1(<pid>)"), "$2<pid>$1")
                .into_owned(),
            Rule::Instant => self.instants(text),
            Rule::Duration => {
                let text = INTERVAL.replace_all(text, |found: &Captures<'_>| match found.get(1) {
                    Some(_) => found[0].to_owned(),
                    None => self.interval(&found[0]),
                });
                let text = SECONDS.replace_all(&text, |found: &Captures<'_>| {
                    let short = found[2].parse().is_ok_and(|seconds| self.is_short(seconds));
                    match short {
                        true => format!("{}<duration>", &found[1]),
                        false => found[0].to_owned(),
                    }
                });
                SPEED.replace_all(&text, "$1<speed>").into_owned()
            }
            Rule::BackupId => BACKUP_ID
                .replace_all(text, |found: &Captures<'_>| {
                    self.fresh
                        .get(&found[0])
                        .cloned()
                        .unwrap_or_else(|| found[0].to_owned())
                })
                .into_owned(),
            Rule::Size => SIZE
                .replace_all(text, |found: &Captures<'_>| {
                    let part = |n: usize| found.get(n).map_or("", |m| m.as_str());
                    let value = [part(2), part(4)].concat();
                    match is_size_of_cluster(&value) {
                        true => format!("{}{}<size>{}", part(1), part(3), part(5)),
                        false => found[0].to_owned(),
                    }
                })
                .into_owned(),
            Rule::Position => POSITION
                .replace_all(text, |found: &Captures<'_>| {
                    let part = |n: usize| found.get(n).map_or("", |m| m.as_str());
                    format!("{}{}{}<position>", part(1), part(2), part(3))
                })
                .into_owned(),
            Rule::Rate => with(&RATE, "$1<rate>"),
            Rule::CompressedSize => with(&COMPRESSED, "$1<size>$2"),
        }
    }

    /// Whether something of this run may have taken so many seconds.
    fn is_short(&self, seconds: f64) -> bool {
        let run = self.end.as_second() - self.start.as_second();
        seconds <= run.saturating_add(MARGIN) as f64
    }

    /// `1 day, 2 hours, 1 second`
    fn interval(&self, text: &str) -> String {
        let seconds = |part: &str| {
            let (count, unit) = part.split_once(' ')?;
            let unit = match unit.trim_end_matches('s') {
                "day" => 86_400,
                "hour" => 3_600,
                "minute" => 60,
                _ => 1,
            };
            Some(count.parse::<u64>().ok()?.saturating_mul(unit))
        };
        let total: u64 = text.split(", ").filter_map(seconds).sum();
        match total / 86_400 {
            _ if self.is_short(total as f64) => "<duration>".to_owned(),
            0 => text.to_owned(),
            days => format!("<{days} days or more>"),
        }
    }

    fn is_new(&self, moment: Option<Timestamp>) -> bool {
        let run = self.start.as_second()..=self.end.as_second().saturating_add(MARGIN);
        moment.is_some_and(|moment| run.contains(&moment.as_second()))
    }

    fn instants(&self, text: &str) -> String {
        let text = ISO.replace_all(text, |found: &Captures<'_>| {
            let zone = found
                .get(5)
                .zip(found.get(6))
                .map_or_else(String::new, |(h, m)| format!("{}:{}", h.as_str(), m.as_str()));
            if !self.is_new(iso(&found[1], &found[3], &zone)) {
                return found[0].to_owned();
            }
            let moment =
                found.get(3).map_or(0, |time| time.end()) - found.get(0).map_or(0, |all| all.start());
            let fraction = found.get(4).map_or("", |_| ".f");
            let zone = found[0].get(moment..).unwrap_or_default();
            format!("<instant d{}t{fraction}{zone}>", &found[2])
        });
        let text = CTIME.replace_all(&text, |found: &Captures<'_>| {
            let moment = DateTime::strptime("%b %e %H:%M:%S %Y", &found[1])
                .ok()
                .and_then(utc);
            if self.is_new(moment) {
                "<instant in words>".to_owned()
            } else {
                found[0].to_owned()
            }
        });
        let text = COMPACT.replace_all(&text, |found: &Captures<'_>| {
            if self.is_new(compact(&found[1])) {
                "<instant>".to_owned()
            } else {
                found[0].to_owned()
            }
        });
        UNIX.replace_all(&text, |found: &Captures<'_>| {
            let moment = found[1].parse().ok().and_then(|s| Timestamp::from_second(s).ok());
            if self.is_new(moment) {
                let whole = found.get(2).map_or(" in whole seconds", |_| "");
                format!("<instant{whole}>")
            } else {
                found[0].to_owned()
            }
        })
        .into_owned()
    }
}

/// `22.1 MiB` or `23203529`: a cluster has some MiB at least.
fn is_size_of_cluster(text: &str) -> bool {
    let (number, unit) = text.split_once(' ').unwrap_or((text, "B"));
    let unit = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        _ => 1_073_741_824.0,
    };
    number
        .parse::<f64>()
        .is_ok_and(|number| number * unit >= 1_048_576.0)
}

/// `20261121T120000`
fn compact(text: &str) -> Option<Timestamp> {
    DateTime::strptime("%Y%m%dT%H%M%S", text).ok().and_then(utc)
}

fn utc(civil: DateTime) -> Option<Timestamp> {
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A moment; without an offset it is UTC, the zone in which both programs run.
fn iso(date: &str, time: &str, zone: &str) -> Option<Timestamp> {
    let civil: DateTime = format!("{date}T{time}").parse().ok()?;
    let Some((hours, minutes)) = zone.split_once(':') else {
        return utc(civil);
    };
    let hours: i32 = hours.parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let offset = Offset::from_seconds(hours * 3600 + sign * minutes * 60).ok()?;
    offset.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rules: &[Rule]) -> Normaliser {
        let start = "2026-11-21T12:00:00Z".parse().unwrap();
        let end = "2026-11-21T13:00:00Z".parse().unwrap();
        let mut normaliser = Normaliser::new(rules, start, end, &["20261121T115900".to_owned()]);
        normaliser.learn([
            "20261121T120102 20261121T120101",
            "20261121T115900 20261121T170101",
        ]);
        normaliser
    }

    #[test]
    fn each_rule_replaces_what_it_names_and_nothing_else() {
        let cases = [
            (
                Rule::Pid,
                "Stopped process receive-wal(4711) (12)",
                "Stopped process receive-wal(<pid>) (12)",
            ),
            (
                Rule::Instant,
                "at 2026-11-21 12:00:01.5+00:00, 2026-11-21T14:00:00+01:00.",
                "at <instant d t.f+00:00>, <instant dTt+01:00>.",
            ),
            (
                Rule::Instant,
                "2026-11-21 11:59:59+00:00 2026-11-21 12:30:00+01:00",
                "2026-11-21 11:59:59+00:00 2026-11-21 12:30:00+01:00",
            ),
            (
                Rule::Instant,
                "2026-11-21 13:01:00 2026-11-21 13:01:01 2026-11-21T12:30:00-01:00",
                "<instant d t> 2026-11-21 13:01:01 2026-11-21T12:30:00-01:00",
            ),
            (
                Rule::Instant,
                "Sat Nov 21 13:01:00 2026 - Sat Nov 21 14:00:00 2026 x.20261121T140000Z.error 1795266060 1795266061",
                "<instant in words> - Sat Nov 21 14:00:00 2026 x.20261121T140000Z.error <instant in whole seconds> 1795266061",
            ),
            (
                Rule::Instant,
                "START TIME: 2026-11-21 12:00:00 UTC",
                "START TIME: <instant d t UTC>",
            ),
            (
                Rule::Instant,
                "Sat Nov 21 12:00:00 2026 - Sat Nov 21 11:00:00 2026 - Sat Jan  3 04:05:06 2026",
                "<instant in words> - Sat Nov 21 11:00:00 2026 - Sat Jan  3 04:05:06 2026",
            ),
            (
                Rule::Instant,
                "\"1795262400\" 1795262400.25 1795262399 7710480878481717691 9999999999",
                "\"<instant in whole seconds>\" <instant> 1795262399 7710480878481717691 9999999999",
            ),
            (
                Rule::Instant,
                "x.20261121T120000Z.duplicate x.20240101T000000Z.error 20261121T120000",
                "x.<instant>.duplicate x.20240101T000000Z.error 20261121T120000",
            ),
            (
                Rule::Duration,
                "time: 1 hour, 1 second) less than one second, 3 backups",
                "time: <duration>) <duration>, 3 backups",
            ),
            (
                Rule::Duration,
                "took 1 hour, 2 minutes; age: 873 days, 3 hours, 1 second; interval provided: 1 day, 2 seconds",
                "took 1 hour, 2 minutes; age: <873 days or more>; interval provided: 1 day, 2 seconds",
            ),
            (
                Rule::Duration,
                "\"recovery_elapsed_time_seconds\": 0.25, {'copy_time': 1.5e-05, 'total_time': 86400.0, 'x': 3}",
                "\"recovery_elapsed_time_seconds\": <duration>, {'copy_time': <duration>, 'total_time': 86400.0, 'x': 3}",
            ),
            (
                Rule::Duration,
                "6.3 MiB/s (2 jobs) \"throughput_bytes\": 12",
                "<speed> (2 jobs) \"throughput_bytes\": <speed>",
            ),
            (
                Rule::BackupId,
                "20261121T120102 20261121T115900 20261121T120101 20261121T170101",
                "<backup 2> 20261121T115900 <backup 1> 20261121T170101",
            ),
            (
                Rule::Size,
                "Backup size: 22.1 MiB\nsize=12000000\nsize=0\ncluster_size=12\nxsize=13000000\nsize 7 B",
                "Backup size: <size>\nsize=<size>\nsize=0\ncluster_size=12\nxsize=13000000\nsize 7 B",
            ),
            (
                Rule::Size,
                "x - Size: 22.1 MiB - WAL Size: 16.0 MiB\n    Backup Size          : 22.1 MiB (38.1 MiB with WALs)\n    WAL Size             : 16.0 MiB",
                "x - Size: <size> - WAL Size: 16.0 MiB\n    Backup Size          : <size> (<size> with WALs)\n    WAL Size             : 16.0 MiB",
            ),
            (
                Rule::Size,
                "{\"size\": 12000000, \"cluster_size\": 2000000.0, \"version\": 5, \"size\": \"2 MiB\", \"size\": \"0 B\", \"wal_size\": \"2 MiB\", \"size_bytes\": 5000000, \"x_bytes\": 6}",
                "{\"size\": <size>, \"cluster_size\": <size>, \"version\": 5, \"size\": \"<size>\", \"size\": \"0 B\", \"wal_size\": \"2 MiB\", \"size_bytes\": <size>, \"x_bytes\": 6}",
            ),
            (
                Rule::Position,
                "LSN: 0/3000028 (000000010000000000000003, 00000028)",
                "LSN: 0/3<position> (000000010000000000000003, <position>)",
            ),
            (
                Rule::Position,
                "begin_offset=40\n000000010000000000000003.00000028.backup A/12000028",
                "begin_offset=<position>\n000000010000000000000003.<position>.backup A/12<position>",
            ),
            (
                Rule::CompressedSize,
                "000000010000000000000003\t16777\t1.5\tgzip\tNone\n00000002.history\t9\t1\tpygzip\tNone\n000000010000000000000004\t16777\t1.5\tNone\tNone\n",
                "000000010000000000000003\t<size>\t1.5\tgzip\tNone\n00000002.history\t<size>\t1\tpygzip\tNone\n000000010000000000000004\t16777\t1.5\tNone\tNone\n",
            ),
        ];
        for (rule, given, expected) in cases {
            assert_eq!(at(&[rule]).text(given), expected, "{}", rule.name());
        }
        let everything =
            "receive-wal(1) 2026-11-21 12:00:01 1 second 20261121T120102 22 MiB 0/3000028 /run/x";
        assert_eq!(at(&[]).text(everything), everything);
    }

    #[test]
    fn only_a_lock_file_holds_nothing_but_a_pid() {
        let pid = at(&[Rule::Pid]);
        assert_eq!(pid.file("home/.main-cron.lock", "4711\n"), "<pid>\n");
        assert_eq!(pid.file("home/.main-cron.lock", ""), "");
        assert_eq!(pid.file("home/main/x", "4711\n"), "4711\n");
        assert_eq!(at(&[]).file("home/.main-cron.lock", "4711\n"), "4711\n");
    }

    #[test]
    fn a_rule_that_had_nothing_to_do_is_known() {
        let normaliser = at(&[Rule::Pid, Rule::Duration]);
        normaliser.text("1 second");
        assert_eq!(
            normaliser.used().into_iter().collect::<Vec<_>>(),
            [Rule::Duration]
        );
    }
}
