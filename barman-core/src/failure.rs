//! What every error of an operation can tell besides its text.

/// How Barman's output layer classes a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Foreseen: shown as `ERROR: <text>`, exit code 1.
    Error,
    /// Not foreseen: shown as `EXCEPTION: <text>` with a pointer to the log, exit code 1.
    Exception,
    /// Not a failure for scripts: shown as an information line, exit code 0 (a busy lock in `archive-wal`).
    Info,
    /// The user or the system asked to stop.
    Interrupted,
}

/// An error of an operation: its `Display` says what failed and why, [`Failure::hint`] what to do.
pub trait Failure: std::error::Error + Send + Sync + 'static {
    /// How to show it.
    fn class(&self) -> Class {
        Class::Error
    }
    /// What the user can do about it, one sentence.
    fn hint(&self) -> Option<String> {
        None
    }
    /// The exit code it leads to.
    fn exit_code(&self) -> u8 {
        1
    }
}

/// The known name that was probably meant, for hints.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(given, name), name));
    let best = scored
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        assert_eq!(nearest("mian", ["main", "standby"]), Some("main"));
        assert_eq!(nearest("x", ["main", "standby"]), None);
        assert_eq!(nearest("", ["main"]), None);
    }
}
