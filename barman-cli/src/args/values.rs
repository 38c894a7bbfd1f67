//! The value types of options (`cli.md` 5.2): what each accepts, and the words with which it refuses.

use barman_catalog::ids::RESERVED_NAMES;
use barman_core::config::parse;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::fmt;
use std::path::PathBuf;

/// An integer as Python reads it: blanks around it, a sign, and `_` between digits are fine.
///
/// # Errors
///
/// Anything else, and values beyond 64 bits.
pub fn integer(text: &str) -> Result<i64, String> {
    let refused = || format!("'{text}' is not a valid integer");
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let groups_are_digits = digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    if !groups_are_digits {
        return Err(refused());
    }
    let plain: String = digits.chars().filter(|character| *character != '_').collect();
    let signed = if negative { format!("-{plain}") } else { plain };
    signed.parse().map_err(|_| format!("'{text}' is out of range"))
}

/// An integer of 0 or more.
///
/// # Errors
///
/// As [`integer`], and negative values.
pub fn non_negative(text: &str) -> Result<u64, String> {
    integer(text)
        .ok()
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| format!("'{text}' is not a valid non negative integer"))
}

/// An integer of 1 or more.
///
/// # Errors
///
/// As [`integer`], and values below 1.
pub fn positive(text: &str) -> Result<u64, String> {
    non_negative(text)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| format!("'{text}' is not a valid positive integer"))
}

/// The value of `--target-tli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetTimeline {
    /// The timeline of the backup.
    Current,
    /// The newest timeline of the archive.
    Latest,
    /// This one.
    Number(u32),
}

impl fmt::Display for TargetTimeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => formatter.write_str("current"),
            Self::Latest => formatter.write_str("latest"),
            Self::Number(number) => number.fmt(formatter),
        }
    }
}

/// `current`, `latest`, or the number of a timeline.
///
/// # Errors
///
/// Other words, and numbers that no timeline can have.
pub fn target_timeline(text: &str) -> Result<TargetTimeline, String> {
    match text {
        "current" => Ok(TargetTimeline::Current),
        "latest" => Ok(TargetTimeline::Latest),
        _ => positive(text)
            .ok()
            .and_then(|value| u32::try_from(value).ok())
            .map(TargetTimeline::Number)
            .ok_or_else(|| format!("'{text}' is not 'current', 'latest' or a valid positive integer")),
    }
}

/// A size such as `64Mi`: `k`, `M`, `G`, `T` are powers of 1000, `Ki`, `Mi`, `Gi`, `Ti` of 1024. Empty is none.
///
/// # Errors
///
/// Other suffixes, no digits, and sizes beyond 64 bits.
pub fn size(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let refused = || format!("'{text}' is not a valid size (digits and one of k, Ki, M, Mi, G, Gi, T, Ti)");
    parse::size(text.trim_end()).map(Some).ok_or_else(refused)
}

/// Any path, the empty one too: what it means is decided by the command.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A path from the root.
///
/// # Errors
///
/// Relative paths.
pub fn absolute_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        Err(format!("'{text}' is not an absolute path"))
    }
}

/// A friendly name for a backup.
///
/// # Errors
///
/// Empty names, names that look like a backup id, and the words that select backups.
pub fn backup_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("a backup name cannot be empty".to_owned());
    }
    if is_backup_id(text) {
        return Err(format!("'{text}' looks like a backup ID"));
    }
    if RESERVED_NAMES.contains(&text) {
        return Err(format!("'{text}' is a reserved word"));
    }
    Ok(text.to_owned())
}

fn is_backup_id(text: &str) -> bool {
    // The pattern's end also matches before a final newline.
    let text = text.strip_suffix('\n').unwrap_or(text).as_bytes();
    text.len() == 15
        && text.iter().enumerate().all(|(at, byte)| {
            if at == 8 {
                *byte == b'T'
            } else {
                byte.is_ascii_digit()
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, value) in [(" 3 ", 3), ("+2", 2), ("1_0", 10), ("-1", -1), ("007", 7)] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for text in [
            "",
            " ",
            "2.0",
            "0x10",
            "1__0",
            "_1",
            "1_",
            "+-1",
            "- 1",
            "a",
            "99999999999999999999",
        ] {
            assert!(integer(text).is_err(), "{text}");
        }
        assert_eq!((non_negative("0"), positive("1")), (Ok(0), Ok(1)));
        assert!(non_negative("-1").is_err() && positive("0").is_err());
    }

    #[test]
    fn sizes() {
        let table = [
            ("", None),
            ("0", Some(0)),
            ("12", Some(12)),
            ("1k", Some(1000)),
            ("1 Ki ", Some(1024)),
            ("2 Ti", Some(2 << 40)),
            ("3G", Some(3_000_000_000)),
        ];
        for (text, value) in table {
            assert_eq!(size(text), Ok(value), "{text}");
        }
        for text in ["k", "1K", "1kB", "-1", "1.5M", " 1", "1 M i", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn timelines() {
        assert_eq!(target_timeline("current"), Ok(TargetTimeline::Current));
        assert_eq!(target_timeline(" 4"), Ok(TargetTimeline::Number(4)));
        for text in ["0", "-1", "newest", "", "4294967296"] {
            assert!(target_timeline(text).is_err(), "{text}");
        }
    }

    #[test]
    fn backup_names() {
        for text in ["nightly", "20261121T04585", "20261121t045851", "Latest"] {
            assert!(backup_name(text).is_ok(), "{text}");
        }
        for text in ["", "20261121T045851", "20261121T045851\n", "auto", "last-full"] {
            assert!(backup_name(text).is_err(), "{text}");
        }
    }
}
