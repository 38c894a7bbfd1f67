//! Commands on another host, by a command that opens a shell there (`ssh user@host`).
//!
//! A remote command has an end: it has a time limit, looks at the cancel flag, reads nothing, and takes bounded memory
//! whatever it prints. When it has to end, its whole process group does. It is never asked for a password: whoever
//! needs one is refused.

use std::ffi::OsString;
use std::time::Duration;

use super::command::{self, CommandError, CommandLine, Finished, Orphans};
use super::environment::search_path;
use super::shell;
use crate::context::Cancel;

/// Behind the user's own arguments, as Barman has them: never ask for anything, take the key of a new host.
const OPTIONS: [&str; 4] = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];

/// The way to another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteHost {
    /// Text of the shell that the remote command is put behind, as one word.
    script: String,
    shown: String,
    path: Option<OsString>,
}

impl RemoteHost {
    /// By a command as the checks and rsync backups take it: its words (see [`shell::words`]) reach the program as they
    /// are. Only the first one, the program, is text of the shell, so that `~/bin/ssh` is found. `path_prefix` is the
    /// option. `None` if there is no word.
    #[must_use]
    pub fn by_words(command: &str, path_prefix: Option<&str>) -> Option<Self> {
        let words = shell::words(command);
        let (program, arguments) = words.split_first()?;
        // The shell would take all of it for a comment, and a comment succeeds.
        let mut script = match program.raw() {
            comment if comment.starts_with('#') => shell::between_quotes(comment),
            program => program.to_owned(),
        };
        for argument in arguments.iter().map(|word| word.value()) {
            script.push(' ');
            script.push_str(&shell::between_quotes(&argument));
        }
        for option in OPTIONS {
            script.push(' ');
            script.push_str(&shell::between_quotes(option));
        }
        let raw = words.iter().map(|word| word.raw());
        Some(Self {
            script,
            shown: raw.chain(OPTIONS).collect::<Vec<_>>().join(" "),
            path: search_path(path_prefix),
        })
    }

    /// By a command as everything else takes it: text of the shell, variables and all. `None` if it is blank.
    #[must_use]
    pub fn by_shell(command: &str, path_prefix: Option<&str>) -> Option<Self> {
        let command = command.trim();
        (!command.is_empty()).then(|| {
            let script = format!("{command} {}", OPTIONS.join(" "));
            Self {
                shown: script.clone(),
                script,
                path: search_path(path_prefix),
            }
        })
    }

    /// The command that leads there, with the options that are put behind it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs a command of the login shell there: what is in it that is not text of the shell is quoted by the caller
    /// ([`shell::quote`]). Whether it succeeded is in [`Finished`]; 255 is ssh's own failure, 127 a program that is
    /// missing here or there.
    ///
    /// What it leaves behind in the background (the master of shared connections) is not waited for.
    ///
    /// # Errors
    /// [`RemoteError`]: nothing is known of its outcome.
    pub fn run(&self, command: &str, limit: Duration, cancel: &Cancel) -> Result<Finished, RemoteError> {
        let line = CommandLine {
            env: self
                .path
                .iter()
                .map(|path| ("PATH".to_owned(), path.clone()))
                .collect(),
            timeout: Some(limit),
            orphans: Orphans::Leave,
            ..CommandLine::shell(&format!("{} {}", self.script, shell::between_quotes(command)))
        };
        command::run(&line, cancel, &mut |_, _| {}).map_err(|error| {
            let command = self.shown.clone();
            match error {
                CommandError::Timeout { limit, .. } => RemoteError::Timeout { command, limit },
                CommandError::Cancelled { .. } => RemoteError::Cancelled { command },
                CommandError::Start { source, .. } | CommandError::Wait { source, .. } => {
                    RemoteError::Failed { command, source }
                }
            }
        })
    }
}

/// Why nothing is known of a remote command's outcome.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It could not be started, or its end not be awaited.
    #[error("cannot run '{command}': {source}")]
    Failed {
        /// The command that leads to the host.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ran longer than its limit and was ended.
    #[error("'{command}' did not end within {} seconds", limit.as_secs())]
    Timeout {
        /// The command that leads to the host.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The operation was asked to stop; it was ended.
    #[error("interrupted while '{command}' was running")]
    Cancelled {
        /// The command that leads to the host.
        command: String,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use super::*;
    use crate::context::CancelCause;

    const LONG: Duration = Duration::from_secs(60);

    fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn run(host: &RemoteHost, command: &str) -> Finished {
        host.run(command, LONG, &Cancel::new()).unwrap()
    }

    #[test]
    fn words_reach_the_program_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join("my dir"), "ssh", "printf '[%s]' \"$@\"");
        let prefix = dir.path().join("my dir").display().to_string();
        let options = "[-o][BatchMode=yes][-o][StrictHostKeyChecking=no][it's $HOME]";
        for (command, arguments) in [
            ("ssh", ""),
            ("ssh  -p\t22 barman@pg", "[-p][22][barman@pg]"),
            ("ssh -o 'ProxyCommand=nc a b' pg", "[-o][ProxyCommand=nc a b][pg]"),
            ("ssh it's a;b $HOME *", "[it's][a;b][$HOME][*]"),
            ("ssh A=1 D\\u", "[A=1][D\\u]"),
            ("X=1 ssh pg", "[pg]"),
            ("\"$PWD_OF_TEST/ssh\" pg", "[pg]"),
        ] {
            let command = command.replace("$PWD_OF_TEST", &prefix);
            let host = RemoteHost::by_words(&command, Some(&prefix)).unwrap();
            let finished = run(&host, "it's $HOME");
            assert_eq!(
                String::from_utf8_lossy(&finished.stdout),
                format!("{arguments}{options}"),
                "{command}"
            );
            assert!(finished.success());
        }
        let host = RemoteHost::by_shell("ssh \"a b\" $HOME_OF_NOBODY c", Some(&prefix)).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&run(&host, "it's $HOME").stdout),
            format!("[a b][c]{options}")
        );
        assert_eq!(
            RemoteHost::by_words("ssh  -o 'A b'\tpg", None).unwrap().shown(),
            "ssh -o 'A b' pg -o BatchMode=yes -o StrictHostKeyChecking=no"
        );
        assert_eq!(RemoteHost::by_words(" ", None), None);
        assert_eq!(RemoteHost::by_shell("\t", None), None);
    }

    #[test]
    fn how_it_ends_is_told_as_a_shell_does() {
        let dir = tempfile::tempdir().unwrap();
        let odd = program(dir.path(), "odd", "eval \"$1\"");
        for (command, status) in [
            (format!("{} true", odd.display()), 0),
            (format!("{} 'exit 3'", odd.display()), 3),
            (format!("{} 'exit 255'", odd.display()), 255),
            (format!("{} 'kill -9 $$'", odd.display()), 137),
            ("no-such-program pg".to_owned(), 127),
            (format!("{}/ pg", dir.path().display()), 126),
            ("'never closed pg".to_owned(), 2),
            ("# ssh pg".to_owned(), 127),
            ("#ssh pg".to_owned(), 127),
        ] {
            let host = RemoteHost::by_words(&command, None).unwrap();
            assert_eq!(run(&host, "true").status(), Some(status), "{command}");
        }
    }

    #[test]
    fn limits_hold_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 &\necho $! > {}\nwait", pid.display());
        let hangs = program(dir.path(), "hangs", &script);
        let host = RemoteHost::by_words(&hangs.display().to_string(), None).unwrap();
        // Long enough for a shell to come as far as that on a busy machine.
        let late = host.run("true", Duration::from_secs(5), &Cancel::new());
        assert!(matches!(late, Err(RemoteError::Timeout { .. })), "{late:?}");
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        testkit::wait_until("what it started has ended", LONG, || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            Ok(!stat.is_ok_and(|stat| !stat.contains(") Z ")))
        })
        .unwrap();
        let cancel = Cancel::new();
        cancel.request(CancelCause::Interrupt);
        std::fs::remove_file(dir.path().join("pid")).unwrap();
        let stopped = host.run("true", LONG, &cancel);
        assert!(
            matches!(stopped, Err(RemoteError::Cancelled { .. })),
            "{stopped:?}"
        );
        assert!(!dir.path().join("pid").exists(), "it was started all the same");
    }

    #[test]
    fn a_process_in_the_background_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!(
            "setsid sleep 60 &\necho $! > {}\necho out; echo err >&2",
            pid.display()
        );
        let leaves = program(dir.path(), "leaves", &script);
        let start = Instant::now();
        let host = RemoteHost::by_words(&leaves.display().to_string(), None).unwrap();
        let finished = run(&host, "true");
        assert!(start.elapsed() < LONG / 2);
        assert_eq!(
            (finished.status(), &*finished.stdout, &*finished.stderr),
            (Some(0), &b"out\n"[..], &b"err\n"[..])
        );
        let pid = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn a_real_server() {
        let sshd = testkit::sshd::Sshd::start().unwrap();
        for host in [
            RemoteHost::by_words(&sshd.command(), None).unwrap(),
            RemoteHost::by_shell(&sshd.command(), None).unwrap(),
        ] {
            let finished = run(&host, "printf '%s' \"it's \"; cat; exit 7");
            assert_eq!((finished.status(), &*finished.stdout), (Some(7), &b"it's "[..]));
        }
        let host = RemoteHost::by_words(&sshd.command(), None).unwrap();
        sshd.stop();
        assert_eq!(run(&host, "true").status(), Some(255));
    }
}
