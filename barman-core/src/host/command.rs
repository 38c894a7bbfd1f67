//! Runs an external command: output line by line, a time limit, and a cancel flag that ends it.
//!
//! Memory stays bounded whatever the command prints: a line longer than [`MAX_LINE`] is handed over in pieces, and
//! only the last [`KEPT_OUTPUT`] bytes of each stream are kept.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::context::Cancel;

/// Longest line handed over in one piece, bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// How much of each stream is kept for the report, bytes.
pub const KEPT_OUTPUT: usize = 256 * 1024;
/// Time between SIGTERM and SIGKILL for a command that has to end.
const GRACE: Duration = Duration::from_secs(5);

/// A command to run.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// Program, looked up in `PATH` if it has no `/`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub env: Vec<(String, OsString)>,
    /// Time limit; `None` = none.
    pub timeout: Option<Duration>,
}

impl CommandLine {
    /// `/bin/sh -c <script>`.
    #[must_use]
    pub fn shell(script: &str) -> Self {
        Self {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            ..Self::default()
        }
    }
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Whether it exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Why a command gave no exit status.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its end could not be awaited.
    #[error("cannot wait for {program}: {source}")]
    Wait {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ran longer than its time limit and was ended.
    #[error("{program} did not end within {} seconds", limit.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The operation was asked to stop while it ran; it was ended.
    #[error("interrupted while {program} was running")]
    Cancelled {
        /// The program.
        program: String,
    },
}

/// Runs `command` to its end, with an empty standard input. `on_line` gets each line without its line end.
///
/// A request to stop ends the command with SIGTERM, then SIGKILL. A request that was made before the call does not
/// count: hooks after an interrupted operation still run.
///
/// # Errors
/// [`CommandError`]: it did not start, ran out of time, or the operation was asked to stop.
pub fn run(
    command: &CommandLine,
    cancel: &Cancel,
    on_line: &mut dyn FnMut(Stream, &str),
) -> Result<Finished, CommandError> {
    let program = || command.program.to_string_lossy().into_owned();
    let mut process = Command::new(&command.program);
    // A group of its own: when it has to end, what it started ends with it.
    process.process_group(0);
    process
        .args(&command.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process.envs(command.env.iter().map(|(name, value)| (name, value)));
    // Before the command begins: what is asked for while it starts counts.
    let ignore_cancel = cancel.is_requested();
    let mut child = process.spawn().map_err(|source| CommandError::Start {
        program: program(),
        source,
    })?;

    let (sender, lines) = mpsc::sync_channel(64);
    if let Some(stdout) = child.stdout.take() {
        read_lines(Stream::Stdout, stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(Stream::Stderr, stderr, sender.clone());
    }
    drop(sender);

    let deadline = command
        .timeout
        .and_then(|limit| Instant::now().checked_add(limit));
    let mut finished = Finished::default();
    let mut open = true;
    let mut pause = Duration::from_millis(1);
    loop {
        if open {
            match lines.recv_timeout(Duration::from_millis(50)) {
                Ok((stream, line)) => {
                    keep(&mut finished, stream, &line);
                    on_line(
                        stream,
                        String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']),
                    );
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => open = false,
            }
        } else {
            let status = child.try_wait().map_err(|source| CommandError::Wait {
                program: program(),
                source,
            })?;
            if let Some(status) = status {
                finished.code = status.code();
                finished.signal = status.signal();
                return Ok(finished);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        if !ignore_cancel && cancel.is_requested() {
            end(&mut child);
            return Err(CommandError::Cancelled { program: program() });
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            end(&mut child);
            let limit = command.timeout.unwrap_or_default();
            return Err(CommandError::Timeout {
                program: program(),
                limit,
            });
        }
    }
}

fn read_lines(
    stream: Stream,
    source: impl Read + Send + 'static,
    sender: mpsc::SyncSender<(Stream, Vec<u8>)>,
) {
    std::thread::spawn(move || {
        let mut source = std::io::BufReader::new(source);
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            match std::io::BufRead::read_until(&mut Read::take(&mut source, limit), b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if sender.send((stream, line)).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

fn keep(finished: &mut Finished, stream: Stream, line: &[u8]) {
    let kept = match stream {
        Stream::Stdout => &mut finished.stdout,
        Stream::Stderr => &mut finished.stderr,
    };
    kept.extend_from_slice(line);
    if kept.len() > KEPT_OUTPUT {
        let surplus = kept.len() - KEPT_OUTPUT;
        kept.drain(..surplus);
    }
}

/// SIGTERM to the command and what it started, some time to obey, SIGKILL; always reaps.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
    }
    // While anything of the group lives, its id cannot be given to anybody else.
    let start = Instant::now();
    while start.elapsed() < GRACE {
        let ended = matches!(child.try_wait(), Ok(Some(_)));
        if ended && pid.is_none_or(|pid| rustix::process::test_kill_process_group(pid).is_err()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CancelCause;

    fn collect(
        script: &str,
        timeout: Option<Duration>,
    ) -> (Result<Finished, CommandError>, Vec<(Stream, String)>) {
        let mut lines = Vec::new();
        let command = CommandLine {
            timeout,
            ..CommandLine::shell(script)
        };
        let result = run(&command, &Cancel::new(), &mut |stream, line| {
            lines.push((stream, line.to_owned()));
        });
        (result, lines)
    }

    #[test]
    fn lines_and_codes_arrive() {
        let (result, lines) = collect("echo one; printf two; exit 3", None);
        let finished = result.unwrap();
        assert_eq!((finished.code, finished.signal), (Some(3), None));
        assert_eq!(finished.stdout, b"one\ntwo");
        assert_eq!(
            lines,
            [
                (Stream::Stdout, "one".to_owned()),
                (Stream::Stdout, "two".to_owned())
            ]
        );
        assert_eq!(collect("kill -9 $$", None).0.unwrap().signal, Some(9));
        assert_eq!(
            collect("cat; echo done", None).0.unwrap().stdout,
            b"done\n",
            "standard input is at its end"
        );
    }

    #[test]
    fn endless_output_is_bounded() {
        let (result, _) = collect("head -c 3000000 /dev/zero | tr '\\0' x; echo end", None);
        let finished = result.unwrap();
        assert_eq!(finished.stdout.len(), KEPT_OUTPUT);
        assert!(finished.stdout.ends_with(b"xend\n"));
    }

    #[test]
    fn the_time_limit_holds() {
        let start = Instant::now();
        let (result, _) = collect("exec sleep 60", Some(Duration::from_millis(100)));
        assert!(matches!(result, Err(CommandError::Timeout { .. })));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_request_to_stop_ends_it() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let result = run(
            &CommandLine::shell("echo up; exec sleep 60"),
            &cancel,
            &mut |_, _| {
                other.request(CancelCause::Terminate);
            },
        );
        assert!(matches!(result, Err(CommandError::Cancelled { .. })));
    }

    #[test]
    fn what_a_command_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid_file.display());
        let (result, _) = collect(&script, Some(Duration::from_millis(300)));
        assert!(matches!(result, Err(CommandError::Timeout { .. })));
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let start = Instant::now();
        // An orphan may stay a zombie until somebody reaps it: it must only have ended.
        let alive =
            || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let command = CommandLine {
            program: "/nonexistent/program".into(),
            ..CommandLine::default()
        };
        let error = run(&command, &Cancel::new(), &mut |_, _| ()).unwrap_err();
        assert!(matches!(error, CommandError::Start { .. }), "{error}");
    }
}
