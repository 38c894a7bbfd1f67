//! Runs a command of the user's own between a file and a reader: standard input is the file, what comes out is read as a
//! stream. For `custom_compression_filter` and `custom_decompression_filter`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

/// How much of what it says on standard error is kept: the end of it, bytes.
const KEPT: usize = 4096;
/// How often a wait looks whether to stop.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How long its standard error is waited for once it has ended: what it started may keep that open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why a filter gave no complete output.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It could not be started.
    #[error("cannot run {option}: {source}")]
    Start {
        /// The option that has its text.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It ended with a failure. What it had put out is worth nothing.
    #[error("{option} {how}{}", said(stderr))]
    Failed {
        /// The option that has its text.
        option: &'static str,
        /// Its exit code or signal.
        how: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// The operation was asked to stop; it was ended.
    #[error("interrupted while {option} was running")]
    Cancelled {
        /// The option that has its text.
        option: &'static str,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}

impl From<FilterError> for io::Error {
    fn from(error: FilterError) -> Self {
        Self::other(error)
    }
}

/// A running filter, as a reader of what it puts out. The end is reported only when it has exited with 0; anything
/// else is an error that holds a [`FilterError`]. Dropped before, it and what it started are ended.
pub struct Filter<'a> {
    option: &'static str,
    child: Child,
    stdout: ChildStdout,
    stderr: Arc<Mutex<Vec<u8>>>,
    listener: Option<JoinHandle<()>>,
    cancelled: &'a dyn Fn() -> bool,
    /// How it has ended.
    ended: Option<ExitStatus>,
}

impl<'a> Filter<'a> {
    /// Starts `/bin/sh -c script` with the content of `input` from its beginning, whose position does not change.
    /// `option` names the script in errors; `path` is its `PATH`, unless it is to be ours; `cancelled` is asked several
    /// times a second.
    ///
    /// # Errors
    /// [`FilterError::Start`].
    pub fn start(
        option: &'static str,
        script: &str,
        path: Option<OsString>,
        input: &File,
        cancelled: &'a dyn Fn() -> bool,
    ) -> Result<Self, FilterError> {
        let failed = |source| FilterError::Start { option, source };
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(script)
            // A group of its own: what it started ends with it.
            .process_group(0)
            .stdin(from_the_beginning(input).map_err(failed)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().map_err(failed)?;
        let Some(stdout) = child.stdout.take() else {
            end(&mut child);
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let pipe = child.stderr.take();
        // Somebody must read it: a filter whose standard error is full would wait for ever.
        let listener = thread::Builder::new()
            .name("filter-stderr".to_owned())
            .spawn(move || pipe.into_iter().for_each(|pipe| listen(pipe, &kept)));
        let listener = match listener {
            Ok(listener) => Some(listener),
            Err(source) => {
                end(&mut child);
                return Err(failed(source));
            }
        };
        Ok(Self {
            option,
            child,
            stdout,
            stderr,
            listener,
            cancelled,
            ended: None,
        })
    }

    /// Waits for its end, and judges it.
    fn finish(&mut self) -> Result<(), FilterError> {
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = self.ended {
                break status;
            }
            self.ended = self.reap().map_err(|source| FilterError::Failed {
                option: self.option,
                how: format!("cannot be waited for: {source}"),
                stderr: String::new(),
            })?;
            if self.ended.is_none() {
                self.look()?;
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        };
        if status.success() {
            return Ok(());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("failed with exit code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "failed".to_owned(),
        };
        Err(FilterError::Failed {
            option: self.option,
            how,
            stderr: self.last_words(),
        })
    }

    /// Its status, if it has ended. What a failed one has left running is ended first: until it is reaped, nobody else
    /// can have its number.
    fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if let Some(pid) = pid_of(&self.child) {
            match waitid(WaitId::Pid(pid), options) {
                Ok(None) | Err(rustix::io::Errno::INTR) => return Ok(None),
                Ok(Some(status)) if status.exit_status() == Some(0) => {}
                Ok(Some(_)) => kill_group(pid),
                Err(error) => return Err(error.into()),
            }
        }
        self.child.try_wait()
    }

    fn last_words(&self) -> String {
        let start = Instant::now();
        while self
            .listener
            .as_ref()
            .is_some_and(|listener| !listener.is_finished())
            && start.elapsed() < LAST_WORDS
        {
            thread::sleep(Duration::from_millis(2));
        }
        let bytes = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    fn look(&mut self) -> Result<(), FilterError> {
        if (self.cancelled)() {
            return Err(FilterError::Cancelled { option: self.option });
        }
        Ok(())
    }
}

impl Read for Filter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.look()?;
            let mut waiting = [PollFd::new(&self.stdout, PollFlags::IN)];
            match poll(&mut waiting, Some(&GLANCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.stdout.read(buffer)? {
                0 => {
                    self.finish()?;
                    return Ok(0);
                }
                count => return Ok(count),
            }
        }
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        if self.ended.is_none() {
            end(&mut self.child);
        }
    }
}

impl std::fmt::Debug for Filter<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Filter")
            .field("option", &self.option)
            .finish_non_exhaustive()
    }
}

/// The same file with a position of its own, where the system allows that.
fn from_the_beginning(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).or_else(|_| {
        let mut same = file.try_clone()?;
        same.rewind()?;
        Ok(same)
    })
}

/// Ends it and what it started, and reaps it: it has nothing to put in order.
fn end(child: &mut Child) {
    if let Some(pid) = pid_of(child) {
        kill_group(pid);
    }
    let _ = child.wait();
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// The process is the leader of its group.
fn kill_group(leader: Pid) {
    let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
}

fn listen(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn through(script: &str, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        Filter::start("the_option", script, None, &file(content), &|| false)?.read_to_end(&mut output)?;
        Ok(output)
    }

    #[test]
    fn content_goes_through() {
        let content: Vec<u8> = (0..3_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
        assert!(through("cat", &content).unwrap() == content);
        assert_eq!(through("tr a b | rev", b"abc").unwrap(), b"cbb");
        assert_eq!(through("true", &content).unwrap(), b"");
        assert_eq!(through("head -c 3", &content).unwrap(), &content[..3]);
        // More on standard error than a pipe holds.
        assert_eq!(through("head -c 1000000 /dev/zero >&2; cat", b"x").unwrap(), b"x");
    }

    #[test]
    fn failures_have_reasons() {
        for (script, text) in [
            ("cat; exit 3", "the_option failed with exit code 3"),
            (
                "cat; echo bad input >&2; exit 1",
                "the_option failed with exit code 1: bad input",
            ),
            ("kill -9 $$", "the_option was ended by signal 9"),
        ] {
            assert_eq!(through(script, b"content").unwrap_err().to_string(), text);
        }
        let text = through("/nonexistent/filter", b"").unwrap_err().to_string();
        assert!(
            text.starts_with("the_option failed with exit code 127: "),
            "{text}"
        );
    }

    #[test]
    fn the_path_is_that_of_the_option() {
        let mut output = Vec::new();
        Filter::start(
            "o",
            "echo $PATH",
            Some("/prefix:/bin".into()),
            &file(b""),
            &|| false,
        )
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
        assert_eq!(output, b"/prefix:/bin\n");
    }

    fn alive(pid: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Waits until they are.
    fn gone(pids: &[i32]) {
        let start = Instant::now();
        for pid in pids {
            while alive(*pid) {
                assert!(start.elapsed() < Duration::from_secs(50));
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn it_ends_when_nobody_wants_it() {
        let input = file(b"");
        let mut filter =
            Filter::start("o", "echo $$; sleep 60 & echo $!; wait", None, &input, &|| false).unwrap();
        let mut text = String::new();
        while text.lines().count() < 2 || !text.ends_with('\n') {
            let mut buffer = [0; 100];
            let count = filter.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        drop(filter);
        gone(&text.lines().map(|line| line.parse().unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn a_filter_that_does_not_care_ends_all_the_same() {
        // Ignores what a closed pipe and polite requests say, and fills the pipe.
        let script = "trap '' PIPE TERM INT HUP; echo $$; while :; do echo more; done 2>/dev/null";
        let input = file(b"");
        let mut filter = Filter::start("o", script, None, &input, &|| false).unwrap();
        let mut text = String::new();
        while !text.contains('\n') {
            let mut buffer = [0; 100];
            let count = filter.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        drop(filter);
        gone(&[text.lines().next().unwrap().parse().unwrap()]);
    }

    #[test]
    fn what_a_failed_one_has_started_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let script = format!("sleep 60 >/dev/null 2>&1 & echo $! > {}; exit 1", path.display());
        through(&script, b"").unwrap_err();
        gone(&[std::fs::read_to_string(&path).unwrap().trim().parse().unwrap()]);
    }

    #[test]
    fn the_last_words_are_kept_whatever_else_is_said() {
        let noise = "head -c 3000000 /dev/urandom >&2; echo >&2; echo the reason >&2; exit 2";
        let text = through(noise, b"").unwrap_err().to_string();
        assert!(text.starts_with("the_option failed with exit code 2: "));
        assert!(
            text.ends_with("the reason") && text.len() < 4 * KEPT,
            "{}",
            text.len()
        );
        // An error stays one, whoever asks again.
        let input = file(b"x");
        let mut filter = Filter::start("o", "cat; exit 1", None, &input, &|| false).unwrap();
        let mut buffer = [0; 10];
        assert_eq!(filter.read(&mut buffer).unwrap(), 1);
        assert!(filter.read(&mut buffer).is_err());
        assert!(filter.read(&mut buffer).is_err());
    }

    #[test]
    fn a_request_to_stop_is_seen_while_it_is_silent() {
        for script in ["sleep 60", "exec >&-; sleep 60"] {
            let asked = AtomicBool::new(false);
            let cancelled = || asked.swap(true, Ordering::Relaxed);
            let error = Filter::start("o", script, None, &file(b""), &cancelled)
                .unwrap()
                .read(&mut [0; 10])
                .unwrap_err();
            assert_eq!(error.to_string(), "interrupted while o was running");
        }
    }
}
