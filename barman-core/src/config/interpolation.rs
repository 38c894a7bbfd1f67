//! `%(key)s` in values.
//!
//! Barman expands every value twice, once while it reads a file and once when it uses the value, and each pass halves
//! `%%`. Both passes are kept, so that every configuration that works today means the same; what was an error in the
//! second pass (`%%` alone, `%%(unknown)s`) is literal text here. Server sections also see `barman_home` and `name`.

use std::borrow::Cow;

/// How deep values may refer to values.
const MAX_DEPTH: usize = 10;
/// Longest text that expansion may produce: references multiply, a configuration value never needs more.
const MAX_LENGTH: usize = 1024 * 1024;

/// A value that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid use of '%' in option '{option}' of section '{section}': {reason}; raw value: '{raw}', {place}"
)]
pub struct InterpolationError {
    /// Section of the option.
    pub section: String,
    /// The option.
    pub option: String,
    /// Its value as written.
    pub raw: String,
    /// What is wrong.
    pub reason: String,
    /// File and line.
    pub place: String,
}

/// First pass: strict. `lookup` gives raw values of the same section of the same file.
///
/// # Errors
/// What is wrong with the `%` signs, in words.
pub fn expand<'a>(raw: &'a str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Cow<'a, str>, String> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    expand_into(&mut out, raw, lookup, 1)?;
    Ok(Cow::Owned(out))
}

fn expand_into(
    out: &mut String,
    raw: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("references are nested more than {MAX_DEPTH} levels deep"));
    }
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = tail.strip_prefix("%%") {
            out.push('%');
            rest = after;
        } else {
            let (key, after) =
                reference(tail).ok_or_else(|| "'%' must be followed by '%' or '(option)s'".to_owned())?;
            let value = lookup(&key).ok_or_else(|| format!("option '{key}' is not set in this section"))?;
            expand_into(out, &value, lookup, depth + 1)?;
            rest = after;
        }
        if out.len() > MAX_LENGTH {
            return Err("the value grows too long".to_owned());
        }
    }
    out.push_str(rest);
    Ok(())
}

/// Second pass: lenient. What is no reference to a known key stays as it is, except that `%%` is halved.
#[must_use]
pub fn expand_again<'a>(value: &'a str, lookup: &dyn Fn(&str) -> Option<String>) -> Cow<'a, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = tail.strip_prefix("%%") {
            out.push('%');
            rest = after;
        } else if let Some((value, after)) =
            reference(tail).and_then(|(key, after)| Some((lookup(&key)?, after)))
        {
            out.push_str(&value);
            rest = after;
        } else {
            out.push('%');
            rest = tail.strip_prefix('%').unwrap_or_default();
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// `%(key)s` at the start of `text`: the lower-case key and what follows.
fn reference(text: &str) -> Option<(String, &str)> {
    let (key, rest) = text.strip_prefix("%(")?.split_once(')')?;
    Some((key.to_lowercase(), rest.strip_prefix('s')?)).filter(|(key, _)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(key: &str) -> Option<String> {
        match key {
            "a" => Some("A".into()),
            "b" => Some("%(a)s%(a)s".into()),
            "loop" => Some("x%(loop)s".into()),
            "bomb" => Some("%(bomb1)s".repeat(100)),
            "bomb1" => Some("%(bomb2)s".repeat(100)),
            "bomb2" => Some("%(bomb3)s".repeat(100)),
            "bomb3" => Some("x".repeat(1000)),
            _ => None,
        }
    }

    fn both(raw: &str) -> Result<String, String> {
        expand(raw, &lookup).map(|value| expand_again(&value, &lookup).into_owned())
    }

    #[test]
    fn percent_signs() {
        for (raw, expected) in [
            ("plain", "plain"),
            ("%(a)s/x", "A/x"),
            ("%(A)s", "A"),
            ("%(b)s", "AA"),
            ("100%%", "100%"),
            ("100%%%%", "100%"),
            ("%%(a)s", "A"),
            ("%%%%(asctime)s [%%%%(process)s]", "%(asctime)s [%(process)s]"),
            ("%%(asctime)s", "%(asctime)s"),
            ("%%H:%%M", "%H:%M"),
        ] {
            assert_eq!(both(raw).as_deref(), Ok(expected), "{raw}");
        }
        for raw in [
            "50% done",
            "%",
            "%x",
            "%(a",
            "%(a)d",
            "%()s",
            "%(unknown)s",
            "%(loop)s",
            "%(bomb)s",
        ] {
            assert!(both(raw).is_err(), "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[%()sab]{0,40}") {
            let _ = both(&text);
        }
    }
}
