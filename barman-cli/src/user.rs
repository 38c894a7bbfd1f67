//! Becoming the user that the configuration names.

use nix::unistd::{Uid, User, getuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::path::Path;

/// Why the program cannot run as the configured user. Printed as it is, before the output format is known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// No such user.
    #[error("the configured user '{user}' does not exists")]
    Unknown {
        /// `barman_user`.
        user: String,
    },
    /// Only root may become somebody else.
    #[error("please run barman as '{user}' user")]
    NotPermitted {
        /// `barman_user`.
        user: String,
    },
}

/// Becomes `user`: its groups, its primary group, its id, and `HOME`. Nothing happens if we are that user already.
///
/// Must be called before any thread is started.
///
/// # Errors
///
/// The user does not exist, or this process may not become it.
pub fn switch_to(user: &str) -> Result<(), UserError> {
    let account = User::from_name(user)
        .ok()
        .flatten()
        .ok_or_else(|| UserError::Unknown {
            user: user.to_owned(),
        })?;
    if account.uid == getuid() {
        return Ok(());
    }
    become_account(&account).map_err(|_| UserError::NotPermitted {
        user: user.to_owned(),
    })?;
    set_home(&account.dir);
    Ok(())
}

fn become_account(account: &User) -> nix::Result<()> {
    let name = CString::new(account.name.as_bytes()).map_err(|_| nix::Error::EINVAL)?;
    initgroups(&name, account.gid)?;
    setgid(account.gid)?;
    setuid(account.uid)?;
    // Whoever could get root back would write files that the next run cannot touch.
    if account.uid != Uid::from_raw(0) && setuid(Uid::from_raw(0)).is_ok() {
        Err(nix::Error::EPERM)
    } else {
        Ok(())
    }
}

/// Children and libpq's `~/.pgpass` look at `HOME`, so it has to be in the environment itself.
#[allow(
    unsafe_code,
    reason = "the standard library has no other way to change the own environment"
)]
fn set_home(home: &Path) {
    // SAFETY: `set_var` is only unsound while another thread reads the environment. `switch_to` runs at start-up,
    // before the log, the signal thread and every operation: there is one thread.
    unsafe {
        std::env::set_var("HOME", home);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_user_needs_no_switch() {
        let me = User::from_uid(getuid()).unwrap().unwrap();
        assert_eq!(switch_to(&me.name), Ok(()));
    }

    #[test]
    fn texts() {
        let error = switch_to("no-such-user-here").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the configured user 'no-such-user-here' does not exists"
        );
        assert_eq!(
            UserError::NotPermitted {
                user: "barman".into()
            }
            .to_string(),
            "please run barman as 'barman' user"
        );
    }
}
