//! What a host is: its system, its programs. Asked by one script of the shell, here or over ssh.

use std::time::Duration;

use serde::Serialize;

use crate::config::ServerConfig;
use crate::context::Context;
use crate::host::command::{self, CommandLine, Finished};
use crate::host::remote::RemoteHost;
use crate::host::shell;

/// What a host says of itself; empty texts for what it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SystemInfo {
    /// `uname -a`.
    pub kernel_ver: String,
    /// What `lsb_release -a` says, or the files that name the distribution.
    pub release: String,
    /// First line of `rsync --version`.
    pub rsync_ver: String,
    /// `ssh -V`.
    pub ssh_ver: String,
}

/// The most that a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Before each answer; whatever a login prints of its own stands before the first.
const MARK: &str = "--barman-diagnose--";

/// Prints the answers, each behind the mark. Programs that are missing or fail leave theirs empty.
const SCRIPT: &str = "LC_ALL=C; export LC_ALL
m() { echo; echo --barman-diagnose--; }
m; uname -a 2>/dev/null
m; lsb_release -a 2>/dev/null \
|| { test -r /etc/lsb-release && printf \"Ubuntu Linux \" && cat /etc/lsb-release; } 2>/dev/null \
|| { test -r /etc/debian_version && printf \"Debian GNU/Linux \" && cat /etc/debian_version; } 2>/dev/null \
|| { test -r /etc/redhat-release && printf \"RedHat Linux \" && cat /etc/redhat-release; } 2>/dev/null \
|| sw_vers 2>/dev/null
m; command -v ssh >/dev/null 2>&1 && ssh -V 2>&1
m; rsync --version 2>/dev/null | head -n 1
m";

impl SystemInfo {
    /// This host's.
    pub(super) fn of_this_host(ctx: &Context<'_>) -> Self {
        let command = CommandLine {
            timeout: Some(PATIENCE),
            ..CommandLine::shell(SCRIPT)
        };
        let answer = command::run(&command, ctx.cancel, &mut |_, _| {});
        let info = answer
            .map_err(|error| error.to_string())
            .and_then(|finished| answers_of(&finished));
        info.unwrap_or_else(|reason| {
            log::warn!(target: "barman.diagnose", "cannot ask this host: {reason}");
            Self::default()
        })
    }

    /// That of PostgreSQL's host, by the option `ssh_command`.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub(super) fn by_ssh(ssh: &str, config: &ServerConfig, ctx: &Context<'_>) -> Result<Self, String> {
        let host =
            RemoteHost::by_shell(ssh, config.path_prefix.as_deref()).ok_or("ssh_command has no words")?;
        let command = format!("sh -c {}", shell::quote(SCRIPT));
        let finished = host
            .run(&command, PATIENCE, ctx.cancel)
            .map_err(|error| error.to_string())?;
        answers_of(&finished)
    }
}

fn answers_of(finished: &Finished) -> Result<SystemInfo, String> {
    let text = String::from_utf8_lossy(&finished.stdout);
    parsed(&text).ok_or_else(|| match (finished.complaint(), finished.status()) {
        (Some(line), _) => line,
        (None, Some(status)) => format!("the command ended with {status} without an answer"),
        (None, None) => "the command was killed".to_owned(),
    })
}

/// The answers; `None` if they are not all there.
fn parsed(text: &str) -> Option<SystemInfo> {
    let mut parts = text.split(MARK).map(|part| part.trim().to_owned()).skip(1);
    let info = SystemInfo {
        kernel_ver: parts.next()?,
        release: parts.next()?,
        ssh_ver: parts.next()?,
        rsync_ver: parts.next()?,
    };
    // The last mark tells that the script went to its end.
    parts.next().map(|_| info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Cancel, Silent, SystemClock};

    fn ctx_of(cancel: &Cancel) -> Context<'_> {
        Context {
            progress: &Silent,
            cancel,
            clock: &SystemClock,
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let text = format!(
            "a banner\n\n{MARK}\nLinux x\n\n{MARK}\n\n{MARK}\nOpenSSH_9.2p1\n\n{MARK}\nrsync  version 3\n\n{MARK}\n"
        );
        let expected = SystemInfo {
            kernel_ver: "Linux x".to_owned(),
            release: String::new(),
            rsync_ver: "rsync  version 3".to_owned(),
            ssh_ver: "OpenSSH_9.2p1".to_owned(),
        };
        assert_eq!(parsed(&text), Some(expected));
        let cut = text.trim_end().strip_suffix(MARK).unwrap();
        assert_eq!(parsed(cut), None, "the connection broke");
        assert_eq!(parsed("a banner"), None);
    }

    #[test]
    fn this_host_answers() {
        let cancel = Cancel::new();
        let info = SystemInfo::of_this_host(&ctx_of(&cancel));
        assert!(info.kernel_ver.starts_with("Linux"), "{info:?}");
        assert!(!info.release.is_empty());
    }

    #[test]
    fn a_host_over_ssh_gets_the_script_in_one_piece() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        std::fs::write(
            &path,
            "[barman]\nbarman_home = /nowhere\n[s]\nconninfo = host=a\narchiver = on\n",
        )
        .unwrap();
        let config = crate::config::Config::load(&path, None).unwrap();
        let server = config.server("s").unwrap();
        let cancel = Cancel::new();
        // Does with its last argument what sshd does: hands it to the login shell.
        let ssh = dir.path().join("ssh");
        std::fs::write(
            &ssh,
            "#!/bin/sh\necho Welcome\nfor last; do :; done\nexec sh -c \"$last\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let info = SystemInfo::by_ssh(&ssh.display().to_string(), server, &ctx_of(&cancel)).unwrap();
        assert_eq!(info, SystemInfo::of_this_host(&ctx_of(&cancel)));
        let refused = SystemInfo::by_ssh("echo no route >&2; exit 255 #", server, &ctx_of(&cancel));
        assert_eq!(refused.unwrap_err(), "no route");
    }
}
