//! `target_session_attrs`: which kind of server is wanted, and how to see which kind one is.

use crate::error::Error;

/// What the server must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Target {
    pub(super) const WORDS: [(&'static str, Self); 6] = [
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];
}

/// Looks whether the server is what is wanted; the reason in libpq's words if it is not.
///
/// `reported` gives the parameters that servers from 14 on report by themselves, `show` reads a setting, which works on
/// sessions of both kinds: libpq asks `pg_is_in_recovery()` of older servers, which a WAL sender cannot answer.
///
/// # Errors
/// Those of `show`.
pub(super) fn judge(
    target: Target,
    reported: impl Fn(&str) -> Option<bool>,
    mut show: impl FnMut(&'static str) -> Result<Option<bool>, Error>,
) -> Result<Option<&'static str>, Error> {
    let wanted = match target {
        Target::Any => return Ok(None),
        Target::ReadWrite | Target::ReadOnly => {
            let read_only = match (
                reported("in_hot_standby"),
                reported("default_transaction_read_only"),
            ) {
                (Some(standby), Some(read_only)) => standby || read_only,
                _ => show("transaction_read_only")? == Some(true),
            };
            return Ok(match (target, read_only) {
                (Target::ReadWrite, true) => Some("session is read-only"),
                (Target::ReadOnly, false) => Some("session is not read-only"),
                _ => None,
            });
        }
        Target::Primary => false,
        Target::Standby | Target::PreferStandby => true,
    };
    let standby = match reported("in_hot_standby") {
        Some(standby) => Some(standby),
        // Read-only although sessions begin read-write: only a standby is that.
        None => match (
            show("transaction_read_only")?,
            show("default_transaction_read_only")?,
        ) {
            (Some(false), _) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        },
    };
    Ok(match (standby, wanted) {
        (Some(true), false) => Some("server is in hot standby mode"),
        (Some(false), true) => Some("server is not in hot standby mode"),
        (None, _) => Some("server does not tell whether it is in hot standby mode"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a server passes: `standby`, `read_only` by default, reporting it (14) or not.
    fn passes(target: Target, standby: bool, read_only: bool, reports: bool) -> bool {
        let setting = |name: &str| match name {
            "in_hot_standby" => standby,
            "default_transaction_read_only" => read_only,
            _ => standby || read_only,
        };
        judge(
            target,
            |name| reports.then(|| setting(name)),
            |name| Ok(Some(setting(name))),
        )
        .unwrap()
        .is_none()
    }

    #[test]
    fn servers_are_judged_alike_whether_they_report_or_are_asked() {
        // Target; passes as: primary, read-only primary, standby.
        for (target, expected) in [
            (Target::Any, [true, true, true]),
            (Target::ReadWrite, [true, false, false]),
            (Target::ReadOnly, [false, true, true]),
            (Target::Standby, [false, false, true]),
            (Target::PreferStandby, [false, false, true]),
        ] {
            for reports in [true, false] {
                // A read-only primary that does not report cannot be told from a read-only standby.
                let kinds = [(false, false), (false, true), (true, false)];
                let found = kinds.map(|(standby, read_only)| passes(target, standby, read_only, reports));
                assert_eq!(found, expected, "{target:?} {reports}");
            }
        }
        assert!(passes(Target::Primary, false, false, true) && passes(Target::Primary, false, false, false));
        assert!(!passes(Target::Primary, true, false, true) && !passes(Target::Primary, true, false, false));
        assert!(passes(Target::Primary, false, true, true));
        assert!(!passes(Target::Primary, false, true, false), "cannot be told");
    }
}
