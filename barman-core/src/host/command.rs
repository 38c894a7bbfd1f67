//! Runs an external command: output line by line, a time limit, and a cancel flag that ends it.
//!
//! Memory stays bounded whatever the command prints: a line longer than [`MAX_LINE`] is handed over in pieces, and
//! only the last [`KEPT_OUTPUT`] bytes of each stream are kept.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::context::Cancel;

/// Longest line handed over in one piece, bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// How much of each stream is kept for the report, bytes.
pub const KEPT_OUTPUT: usize = 256 * 1024;
/// Time between SIGTERM and SIGKILL for a command that has to end.
const GRACE: Duration = Duration::from_secs(5);
/// How often a wait looks whether to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// The same while a command has to end.
const BRIEF: Duration = Duration::from_millis(20);
/// So often the pipes of a command that has ended are read: more than they hold.
const MAX_REST: usize = 16;
/// How long what a command that has ended left behind may keep its output open, with [`Orphans::Leave`].
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    /// Processes that it leaves in the background.
    pub orphans: Orphans,
}

/// What is done about processes that a command leaves in the background with its output open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphans {
    /// They are a part of it: it has ended when its output has.
    #[default]
    Await,
    /// It has ended when its own process has; what is said afterwards is not heard.
    Leave,
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

    /// Its status as a shell has it: the exit code, or 128 and the number of the signal.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        self.code
            .or_else(|| self.signal.and_then(|signal| signal.checked_add(128)))
    }

    /// The last line of its standard error that is not blank, fit to be shown: at most 300 characters, none of them a
    /// control character.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let said = String::from_utf8_lossy(&self.stderr);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(
            line.chars()
                .filter(|character| !character.is_control())
                .take(300)
                .collect(),
        )
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
/// A request to stop ends the command with SIGTERM, then SIGKILL; one that was made before keeps it from being started.
///
/// # Errors
/// [`CommandError`]: it did not start, ran out of time, or the operation was asked to stop.
pub fn run(
    command: &CommandLine,
    cancel: &Cancel,
    on_line: &mut dyn FnMut(Stream, &str),
) -> Result<Finished, CommandError> {
    let program = || command.program.to_string_lossy().into_owned();
    if cancel.is_requested() {
        return Err(CommandError::Cancelled { program: program() });
    }
    let mut process = Command::new(&command.program);
    // A group of its own: when it has to end, what it started ends with it.
    process.process_group(0);
    process
        .args(&command.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process.envs(command.env.iter().map(|(name, value)| (name, value)));
    let mut child = process.spawn().map_err(|source| CommandError::Start {
        program: program(),
        source,
    })?;
    let mut said = Said {
        sources: Vec::new(),
        finished: Finished::default(),
        on_line,
    };
    let ended = attend(&mut child, command, cancel, &mut said);
    if !matches!(ended, Ok(Ended::Itself(_))) {
        end(&mut child, &mut said);
    }
    match ended {
        Ok(Ended::Itself(finished)) => Ok(finished),
        Ok(Ended::Cancelled) => Err(CommandError::Cancelled { program: program() }),
        Ok(Ended::TimedOut(limit)) => Err(CommandError::Timeout {
            program: program(),
            limit,
        }),
        Err(source) => Err(CommandError::Wait {
            program: program(),
            source,
        }),
    }
}

/// How the wait for a command ended.
enum Ended {
    /// It has ended and is reaped.
    Itself(Finished),
    /// The operation is asked to stop.
    Cancelled,
    /// This limit is over.
    TimedOut(Duration),
}

/// Reads what it says until it has ended.
fn attend(
    child: &mut Child,
    command: &CommandLine,
    cancel: &Cancel,
    said: &mut Said<'_>,
) -> io::Result<Ended> {
    let deadline = command
        .timeout
        .and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
    for (stream, pipe) in [
        (Stream::Stdout, child.stdout.take().map(OwnedFd::from)),
        (Stream::Stderr, child.stderr.take().map(OwnedFd::from)),
    ] {
        if let Some(pipe) = pipe {
            said.sources.push(Source::new(stream, pipe)?);
        }
    }
    let mut pause = Duration::from_millis(1);
    let mut gone: Option<Instant> = None;
    loop {
        let silent = said.sources.is_empty() || !said.listen(GLANCE)?;
        // It stays a zombie until nothing more is heard: so its number, which is its group's, is not used again.
        if gone.is_none() && (silent || command.orphans == Orphans::Leave) && has_ended(child)? {
            gone = Some(Instant::now());
        }
        let heard = said.sources.is_empty()
            || (command.orphans == Orphans::Leave && gone.is_some_and(|gone| gone.elapsed() >= LAST_WORDS));
        if gone.is_some() && heard {
            said.rest();
            let status = child.wait()?;
            let mut finished = std::mem::take(&mut said.finished);
            finished.code = status.code();
            finished.signal = status.signal();
            cut(&mut finished.stdout);
            cut(&mut finished.stderr);
            return Ok(Ended::Itself(finished));
        }
        if cancel.is_requested() {
            return Ok(Ended::Cancelled);
        }
        if let Some((_, limit)) = deadline.filter(|(at, _)| Instant::now() >= *at) {
            return Ok(Ended::TimedOut(limit));
        }
        if said.sources.is_empty() {
            std::thread::sleep(pause);
            pause = (pause * 2).min(GLANCE);
        }
    }
}

/// Whether it has ended; it is not reaped by that.
fn has_ended(child: &Child) -> io::Result<bool> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(rustix::process::waitid(WaitId::Pid(pid), options)?.is_some())
}

/// One stream of a running command, and the line that is not whole yet.
struct Source {
    stream: Stream,
    pipe: File,
    line: Vec<u8>,
}

impl Source {
    /// Reading never waits: the command itself may open the pipe again and be quicker (`cat /dev/stdout`).
    fn new(stream: Stream, pipe: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self {
            stream,
            pipe: File::from(pipe),
            line: Vec::new(),
        })
    }

    /// Takes what has come; `false` at the end.
    fn read(&mut self, buffer: &mut [u8], hear: &mut dyn FnMut(Stream, &[u8])) -> io::Result<bool> {
        let length = match self.pipe.read(buffer) {
            Ok(0) => {
                self.flush(hear);
                return Ok(false);
            }
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        for piece in buffer
            .get(..length)
            .unwrap_or_default()
            .split_inclusive(|byte| *byte == b'\n')
        {
            if self.line.len().saturating_add(piece.len()) > MAX_LINE {
                self.flush(hear);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.flush(hear);
            }
        }
        Ok(true)
    }

    fn flush(&mut self, hear: &mut dyn FnMut(Stream, &[u8])) {
        if !self.line.is_empty() {
            hear(self.stream, &self.line);
            self.line.clear();
        }
    }
}

/// What a running command says, and where it goes.
struct Said<'l> {
    /// The streams that have not ended.
    sources: Vec<Source>,
    /// The end of both streams, not cut yet.
    finished: Finished,
    on_line: &'l mut dyn FnMut(Stream, &str),
}

impl Said<'_> {
    fn hear(&mut self, stream: Stream, line: &[u8]) {
        let kept = match stream {
            Stream::Stdout => &mut self.finished.stdout,
            Stream::Stderr => &mut self.finished.stderr,
        };
        kept.extend_from_slice(line);
        // Not for each line: all that is kept moves.
        if kept.len() > 2 * KEPT_OUTPUT {
            cut(kept);
        }
        let text = String::from_utf8_lossy(line);
        (self.on_line)(stream, text.trim_end_matches(['\n', '\r']));
    }

    /// Waits so long for what is said; streams that have ended are gone afterwards. `false` if nothing was.
    fn listen(&mut self, moment: Duration) -> io::Result<bool> {
        let sources = std::mem::take(&mut self.sources);
        let mut watched: Vec<PollFd<'_>> = sources
            .iter()
            .map(|source| PollFd::new(&source.pipe, PollFlags::IN))
            .collect();
        let moment = Timespec::try_from(moment).ok();
        match poll(&mut watched, moment.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {
                self.sources = sources;
                return Ok(false);
            }
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        let mut buffer = [0; 16 * 1024];
        let mut open = Vec::with_capacity(sources.len());
        for (mut source, ready) in sources.into_iter().zip(ready) {
            if !ready || source.read(&mut buffer, &mut |stream, line| self.hear(stream, line))? {
                open.push(source);
            }
        }
        self.sources = open;
        Ok(true)
    }

    /// Hears what is said in so long a time.
    fn listen_for(&mut self, time: Duration) {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            // Without streams, and when they cannot be read, this is a sleep.
            if self.listen(left).is_err() {
                self.sources.clear();
            }
        }
    }

    /// Hears what is in the pipes now that it has ended: more than pipes hold only if somebody else goes on talking.
    fn rest(&mut self) {
        for _ in 0..MAX_REST {
            if self.sources.is_empty() || !self.listen(Duration::ZERO).unwrap_or(false) {
                break;
            }
        }
        for mut source in std::mem::take(&mut self.sources) {
            source.flush(&mut |stream, line| self.hear(stream, line));
        }
    }
}

/// Leaves the last [`KEPT_OUTPUT`] bytes.
fn cut(kept: &mut Vec<u8>) {
    let surplus = kept.len().saturating_sub(KEPT_OUTPUT);
    kept.drain(..surplus);
}

/// SIGTERM to the command and what it started, some time to obey, SIGKILL; reaps.
///
/// What it says meanwhile is heard: a script that cleans up and tells so would be ended by SIGPIPE in the middle of it,
/// and one whose pipe is full would never come to its end.
fn end(child: &mut Child, said: &mut Said<'_>) {
    use rustix::process::{Signal, kill_process_group};

    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Nothing is reaped before, so the number of the group cannot be given to anybody else.
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, signal);
        }
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if has_ended(child).unwrap_or(true) && !pid.is_some_and(group_lives) {
                said.rest();
                let _ = child.wait();
                return;
            }
            said.listen_for(BRIEF);
        }
    }
    // Of another user (`sudo`), or asleep in the kernel: no signal ends it, and waiting would have no end either.
    log::warn!(target: "barman.command", "process {} could not be ended and is left behind", child.id());
}

/// Whether any process of the group still runs. Those that have ended and wait for somebody to reap them (init takes its
/// time in some containers) do not.
fn group_lives(group: Pid) -> bool {
    if rustix::process::test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    processes.flatten().any(|process| {
        // Behind the name, which may hold anything: state, parent, group.
        let stat = std::fs::read(process.path().join("stat")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace();
        let state = fields.next();
        let of_group =
            fields.nth(1).and_then(|field| field.parse().ok()) == Some(group.as_raw_nonzero().get());
        of_group && !matches!(state, Some("Z" | "X"))
    })
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

    /// Asks it to stop as soon as it has said something.
    fn stopped_once_it_speaks(script: &str) {
        let cancel = Cancel::new();
        let result = run(&CommandLine::shell(script), &cancel, &mut |_, _| {
            cancel.request(CancelCause::Terminate);
        });
        assert!(
            matches!(result, Err(CommandError::Cancelled { .. })),
            "{result:?}"
        );
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
        assert!(start.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn many_short_lines_are_not_moved_for_each() {
        let (result, lines) = collect("seq 1 1000000", None);
        let finished = result.unwrap();
        assert_eq!(finished.stdout.len(), KEPT_OUTPUT);
        assert!(finished.stdout.ends_with(b"\n999999\n1000000\n"));
        assert_eq!(lines.len(), 1_000_000);
    }

    #[test]
    fn the_last_words_of_a_command_that_has_to_end_are_heard() {
        let dir = tempfile::tempdir().unwrap();
        let done = dir.path().join("done");
        // Says more than the pipe holds, then does its last duty.
        let script = format!(
            "trap 'seq 1 100000; echo cleaning >&2; touch {}; exit 1' TERM; echo up; while :; do sleep 0.01; done",
            done.display()
        );
        let cancel = Cancel::new();
        let (mut last, mut errors) = (String::new(), Vec::new());
        let result = run(
            &CommandLine::shell(&script),
            &cancel,
            &mut |stream, line| match stream {
                Stream::Stdout => {
                    cancel.request(CancelCause::Terminate);
                    line.clone_into(&mut last);
                }
                Stream::Stderr => errors.push(line.to_owned()),
            },
        );
        assert!(matches!(result, Err(CommandError::Cancelled { .. })));
        assert!(done.exists(), "it was ended in the middle of its cleaning up");
        assert_eq!(last, "100000");
        // The shell may tell first that the signal, which the whole group gets, ended its `sleep`.
        assert_eq!(errors.last().map(String::as_str), Some("cleaning"));
    }

    #[test]
    fn one_that_does_not_obey_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!(
            "trap '' TERM; echo $$ > {}; while :; do echo no; sleep 0.01; done",
            pid.display()
        );
        stopped_once_it_speaks(&script);
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn reading_never_waits() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut source = Source::new(Stream::Stdout, reader.into()).unwrap();
        let mut read = || source.read(&mut [0; 16], &mut |_, _| ()).unwrap();
        assert!(read());
        drop(writer);
        assert!(!read());
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
        let script = format!("sleep 600 & echo $! > {}; echo up; wait", pid_file.display());
        stopped_once_it_speaks(&script);
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        // An orphan may stay a zombie until somebody reaps it: it must only have ended.
        testkit::wait_until("what it started has ended", Duration::from_secs(60), || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            Ok(!stat.is_ok_and(|stat| !stat.contains(") Z ")))
        })
        .unwrap();
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
