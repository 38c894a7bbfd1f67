//! Running programs: with a deadline, tied to the life of the test process, their output kept.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};

use crate::dirs::MARK;
use crate::wait::check_interrupt;

/// How long a program may run unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(180);

struct Request {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// Starts `command` so that the kernel sends it `signal` when this process dies, however that happens.
///
/// Linux ties that to the life of the *thread* that started the child, so one thread that never ends starts them all.
///
/// # Errors
/// The program cannot be started.
pub fn spawn_tied(mut command: Command, signal: Signal) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let parent = std::process::id();
    let hook = move || {
        set_parent_process_death_signal(Some(signal))?;
        // The parent may have died before the line above.
        if rustix::process::getppid().map(|p| p.as_raw_nonzero().get().cast_unsigned()) == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::other("the test process is gone"))
        }
    };
    #[allow(
        unsafe_code,
        reason = "pre_exec is the only way to set the signal; the hook makes two system calls and allocates nothing unless it fails"
    )]
    // SAFETY: between fork and exec the hook calls prctl and getppid only, both async-signal-safe.
    unsafe {
        command.pre_exec(hook);
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            while let Ok(Request { mut command, reply }) = requests.recv() {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts programs is gone");
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send(Request { command, reply })
        .map_err(|_| gone(mpsc::RecvError))?;
    answer.recv().map_err(gone)?
}

/// The outcome of a program that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, as bytes.
    pub stdout_bytes: Vec<u8>,
    /// Standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, as bytes.
    pub stderr_bytes: Vec<u8>,
    /// Standard error, invalid UTF-8 replaced.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            code,
            signal,
            stdout,
            stderr,
            elapsed,
            ..
        } = self;
        write!(
            f,
            "`{command}` ended after {elapsed:.1?}, exit code {code:?}, signal {signal:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// A program with what is common to its runs: leading arguments, environment, deadline.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    timeout: Duration,
    stdin: Option<Vec<u8>>,
}

/// Variables that would let the surroundings of the test decide which server or configuration a program uses.
const SCRUBBED: [&str; 9] = [
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGDATABASE",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSSLMODE",
    "BARMAN_CONFIG_FILE",
];

impl Program {
    /// A program by its path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            stdin: None,
        }
    }

    /// An example program of the package whose test is running: cargo builds both, one beside the other.
    ///
    /// # Errors
    /// It was not built.
    pub fn example(package: &str, name: &str) -> Result<Self> {
        let test = std::env::current_exe().context("find the running test")?;
        let directory = test
            .parent()
            .and_then(Path::parent)
            .context("the running test is in no directory of cargo's")?;
        let program = directory.join("examples").join(name);
        ensure!(
            program.exists(),
            "{} is not there: cargo build -p {package} --examples",
            program.display()
        );
        Ok(Self::new(program))
    }

    /// Adds an argument before those of each run.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Marks what it starts as belonging to `dir`, so that removing the directory ends it.
    #[must_use]
    pub fn belonging_to(self, dir: &Path) -> Self {
        self.env(MARK, dir)
    }

    /// How long a run may take before it is killed and the run fails ([`DEFAULT_TIMEOUT`]).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What a run reads on standard input (nothing by default).
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// The same program run by another one, which gets `args` and then the program with its own arguments: `strace`,
    /// `timeout` and the like. Environment and deadline stay.
    #[must_use]
    pub fn wrapped<A: AsRef<OsStr>>(
        &self,
        wrapper: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut all: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        all.push(self.path.clone().into_os_string());
        all.extend(self.args.iter().cloned());
        Self {
            path: wrapper.into(),
            args: all,
            ..self.clone()
        }
    }

    /// The path of the program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it to its end, whatever the exit code.
    ///
    /// # Errors
    /// It cannot be started, or did not end in time.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Finished> {
        self.spawn(args)?.wait(self.timeout)
    }

    /// Runs it to its end and insists on exit code 0.
    ///
    /// # Errors
    /// As [`Program::run`], and when the exit code is not 0; the message has the output.
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Finished> {
        let finished = self.run(args)?;
        ensure!(finished.code == Some(0), "{finished}");
        Ok(finished)
    }

    /// Starts it in the background; it is killed when the handle is dropped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Background> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).args(args);
        for name in SCRUBBED {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        Background::spawn(command, self.stdin.as_deref())
    }
}

/// A running program. Its output goes to unnamed files, so neither a full pipe nor a grandchild that keeps one open can block anybody.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Child,
    stdout: File,
    stderr: File,
    start: Instant,
    status: Option<ExitStatus>,
}

impl Background {
    /// Starts a prepared command in a process group of its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(mut command: Command, stdin: Option<&[u8]>) -> Result<Self> {
        let text = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|a| a.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        let in_temporary = |what| {
            let place = std::env::temp_dir();
            move || format!("make a file for {what} in {}", place.display())
        };
        let stdout = tempfile::tempfile().with_context(in_temporary("output"))?;
        let stderr = tempfile::tempfile().with_context(in_temporary("output"))?;
        match stdin {
            None => command.stdin(Stdio::null()),
            Some(bytes) => {
                let mut file = tempfile::tempfile().with_context(in_temporary("input"))?;
                file.write_all(bytes)
                    .and_then(|()| file.seek(SeekFrom::Start(0)))
                    .context("write the input")?;
                command.stdin(file)
            }
        };
        command
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .process_group(0);
        let start = Instant::now();
        let child = spawn_tied(command, Signal::KILL).with_context(|| format!("start `{text}`"))?;
        Ok(Self {
            command: text,
            child,
            stdout,
            stderr,
            start,
            status: None,
        })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Its state cannot be asked for.
    pub fn is_running(&mut self) -> Result<bool> {
        if self.status.is_none() {
            self.status = self
                .child
                .try_wait()
                .with_context(|| format!("look at `{}`", self.command))?;
        }
        Ok(self.status.is_none())
    }

    /// Sends a signal to the process (not to its children). Nothing happens when it has ended.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.is_running()? {
            kill_process(pid(&self.child)?, signal).with_context(|| format!("signal `{}`", self.command))?;
        }
        Ok(())
    }

    /// What it has written to standard error so far.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stderr_so_far(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&contents(&self.stderr)?).into_owned())
    }

    /// What it has written to standard output so far.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stdout_so_far(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&contents(&self.stdout)?).into_owned())
    }

    /// Waits for its end; kills it and its process group when it does not end in time.
    ///
    /// # Errors
    /// It did not end within `timeout`; the message has the output.
    pub fn wait(mut self, timeout: Duration) -> Result<Finished> {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_micros(500);
        while self.is_running()? {
            if Instant::now() >= deadline {
                self.kill();
                bail!("killed after {timeout:?}: {}", self.finished()?);
            }
            check_interrupt()?;
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.finished()
    }

    fn finished(&self) -> Result<Finished> {
        let (stdout_bytes, stderr_bytes) = (contents(&self.stdout)?, contents(&self.stderr)?);
        Ok(Finished {
            command: self.command.clone(),
            code: self.status.and_then(|s| s.code()),
            signal: self.status.and_then(|s| s.signal()),
            stdout: String::from_utf8_lossy(&stdout_bytes).into_owned(),
            stdout_bytes,
            stderr: String::from_utf8_lossy(&stderr_bytes).into_owned(),
            stderr_bytes,
            elapsed: self.start.elapsed(),
        })
    }

    fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        if let Ok(pid) = pid(&self.child) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.status = self.child.wait().ok();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid(child: &Child) -> Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("process id out of range")
}

/// Reads a file from its start through a descriptor of its own offset, because the writer shares ours.
fn contents(file: &File) -> Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let mut bytes = Vec::new();
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .and_then(|mut f| f.read_to_end(&mut bytes))
        .context("read the output of a program")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;

    fn sh() -> Program {
        Program::new("/bin/sh").arg("-c")
    }

    #[test]
    fn keeps_output_and_exit_code() {
        let done = sh()
            .stdin("in")
            .run(["cat; echo out; echo err >&2; exit 3"])
            .unwrap();
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str(), done.code),
            ("inout\n", "err\n", Some(3))
        );
        assert!(sh().ok(["exit 3"]).is_err());
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_open_does_not_block() {
        let dir = crate::TestDir::new().unwrap();
        let done = sh()
            .belonging_to(dir.path())
            .run(["sleep 600 & echo started"])
            .unwrap();
        assert_eq!(done.stdout, "started\n");
        // It may not have become `sleep` yet.
        wait_until("the grandchild is seen", Duration::from_secs(60), || {
            Ok(crate::dirs::marked(dir.path()) == ["sleep 600"])
        })
        .unwrap();
    }

    #[test]
    fn a_late_program_is_killed_and_its_output_shown() {
        let running = sh().spawn(["echo be''fore; sleep 600"]).unwrap();
        wait_until("it has said something", Duration::from_secs(60), || {
            Ok(!running.stdout_so_far()?.is_empty())
        })
        .unwrap();
        let error = running.wait(Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("\nbefore\n"), "{error}");
    }

    #[test]
    fn survives_the_thread_that_asked_for_it() {
        let mut sleeper = thread::spawn(|| Program::new("/bin/sleep").spawn(["600"]))
            .join()
            .unwrap()
            .unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(sleeper.is_running().unwrap());
        sleeper.signal(Signal::TERM).unwrap();
        wait_until("the sleeper is gone", Duration::from_secs(60), || {
            Ok(!sleeper.is_running()?)
        })
        .unwrap();
    }
}
