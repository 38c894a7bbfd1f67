//! How the failure of a step is told and recorded.

use crate::context::{Cancel, CancelCause};

/// What the backup was doing, in the words of `backup.info` and of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pre hooks, metadata, the first position.
    Starting,
    /// From the copy to the restore point.
    Copying,
    /// Syncing and measuring.
    Sizing,
}

impl Action {
    /// The words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting backup",
            Self::Copying => "copying files",
            Self::Sizing => "calculating backup size",
        }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What the backup was doing.
    pub action: Action,
    /// What is recorded in `backup.info`: one line.
    pub reason: String,
    /// What the user is told after `DETAILS: `.
    pub details: String,
    /// Set if somebody asked to stop.
    pub interrupted: Option<CancelCause>,
}

impl Failed {
    /// A failure whose recorded reason is the first line of its text.
    #[must_use]
    pub fn new(action: Action, error: &dyn std::error::Error) -> Self {
        Self::text(action, &chain(error))
    }

    /// As [`Failed::new`], from a text.
    #[must_use]
    pub fn text(action: Action, details: &str) -> Self {
        let reason = details.lines().next().unwrap_or_default().trim().to_owned();
        Self {
            action,
            reason,
            details: details.to_owned(),
            interrupted: None,
        }
    }

    /// The same failure, told as an interruption if somebody asked to stop: whatever broke then, broke because of it.
    #[must_use]
    pub fn unless_cancelled(self, cancel: &Cancel) -> Self {
        cancel
            .cause()
            .map_or(self.clone(), |cause| Self::interrupted(self.action, cause))
    }

    /// A request to stop. Barman's word for it is in the text.
    #[must_use]
    pub fn interrupted(action: Action, cause: CancelCause) -> Self {
        let text = match cause {
            CancelCause::Interrupt => "interrupted by the user, KeyboardInterrupt",
            CancelCause::Terminate => "ended by SIGTERM, 143",
            CancelCause::Hangup => "ended by SIGHUP, 129",
        };
        Self {
            interrupted: Some(cause),
            ..Self::text(action, text)
        }
    }

    /// The two lines on the console.
    #[must_use]
    pub fn console(&self) -> String {
        format!(
            "Backup failed {}.\nDETAILS: {}",
            self.action.as_str(),
            self.details
        )
    }
}

/// The text of an error and of what caused it, without telling the same twice.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_recorded_and_all_is_told() {
        let failed = Failed::text(
            Action::Copying,
            "data transfer failure on directory '/b/data'\nno space left",
        );
        assert_eq!(failed.reason, "data transfer failure on directory '/b/data'");
        assert_eq!(
            failed.console(),
            "Backup failed copying files.\nDETAILS: data transfer failure on directory '/b/data'\nno space left"
        );
    }

    #[test]
    fn whatever_breaks_after_a_request_to_stop_is_the_request() {
        for (cause, text) in [
            (
                CancelCause::Interrupt,
                "interrupted by the user, KeyboardInterrupt",
            ),
            (CancelCause::Terminate, "ended by SIGTERM, 143"),
            (CancelCause::Hangup, "ended by SIGHUP, 129"),
        ] {
            let cancel = Cancel::new();
            let failed = Failed::text(Action::Sizing, "broken");
            assert_eq!(failed.clone().unless_cancelled(&cancel), failed);
            cancel.request(cause);
            let stopped = failed.unless_cancelled(&cancel);
            assert_eq!(
                (stopped.reason.as_str(), stopped.interrupted),
                (text, Some(cause))
            );
        }
    }
}
