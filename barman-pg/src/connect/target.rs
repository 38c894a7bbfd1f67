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
/// `reported` gives the parameters that servers from 14 on report by themselves. Of older ones `recovers` asks
/// `pg_is_in_recovery()`, as libpq does; a WAL sender cannot answer that. `show` reads a setting on sessions of both kinds.
///
/// # Errors
/// Those of `recovers` and `show`.
pub(super) fn judge<T>(
    target: Target,
    reported: impl Fn(&str) -> Option<bool>,
    session: &mut T,
    recovers: impl FnOnce(&mut T) -> Result<Option<bool>, Error>,
    mut show: impl FnMut(&mut T, &'static str) -> Result<Option<bool>, Error>,
) -> Result<Option<&'static str>, Error> {
    let wanted = match target {
        Target::Any => return Ok(None),
        Target::ReadWrite | Target::ReadOnly => {
            let read_only = match (
                reported("in_hot_standby"),
                reported("default_transaction_read_only"),
            ) {
                (Some(standby), Some(read_only)) => standby || read_only,
                _ => show(session, "transaction_read_only")? == Some(true),
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
    let known = match reported("in_hot_standby") {
        Some(standby) => Some(standby),
        None => recovers(session)?,
    };
    let standby = match known {
        Some(standby) => Some(standby),
        // Read-only although sessions begin read-write: only a standby is that.
        None => match (
            show(session, "transaction_read_only")?,
            show(session, "default_transaction_read_only")?,
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

    /// How the kind of a server is found out.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum How {
        /// It reports it (14).
        Reported,
        /// By SQL.
        Asked,
        /// By its settings.
        Guessed,
    }

    /// Whether a server passes: `standby`, `read_only` by default.
    fn passes(target: Target, standby: bool, read_only: bool, how: How) -> bool {
        let setting = |name: &str| match name {
            "in_hot_standby" => standby,
            "default_transaction_read_only" => read_only,
            _ => standby || read_only,
        };
        judge(
            target,
            |name| (how == How::Reported).then(|| setting(name)),
            &mut (),
            |()| Ok((how == How::Asked).then_some(standby)),
            |(), name| Ok(Some(setting(name))),
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
            for how in [How::Reported, How::Asked, How::Guessed] {
                let kinds = [(false, false), (false, true), (true, false)];
                let found = kinds.map(|(standby, read_only)| passes(target, standby, read_only, how));
                assert_eq!(found, expected, "{target:?} {how:?}");
            }
        }
        for how in [How::Reported, How::Asked] {
            let kinds = [(false, false), (false, true), (true, false), (true, true)];
            let found = kinds.map(|(standby, read_only)| passes(Target::Primary, standby, read_only, how));
            assert_eq!(found, [true, true, false, false], "{how:?}");
        }
        assert!(passes(Target::Primary, false, false, How::Guessed));
        assert!(!passes(Target::Primary, true, false, How::Guessed));
        // A read-only primary that can only be guessed at cannot be told from a read-only standby.
        assert!(!passes(Target::Primary, false, true, How::Guessed));
    }
}
