//! Background children, as `cron` starts them, and the processes that hold a server's locks.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use barman_wal::lock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::context::Context;

/// Whether background children keep standard output and standard error (`cron --keep-descriptors`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Descriptors {
    /// Both go to `/dev/null`.
    #[default]
    Close,
    /// Both are inherited.
    Keep,
}

/// How to start ourselves again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCommand {
    /// Path of the `barman` program.
    pub program: PathBuf,
    /// Main configuration file, as this process was given it.
    pub config: PathBuf,
    /// What becomes of standard output and standard error.
    pub descriptors: Descriptors,
}

impl SelfCommand {
    /// Starts `<program> -c <config> -q <args>` in a session of its own, with standard input from `/dev/null`, and does
    /// not wait for it. Returns its process id.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self, args: &[&str]) -> io::Result<u32> {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(&self.config)
            .arg("-q")
            .args(args)
            .stdin(Stdio::null());
        if self.descriptors == Descriptors::Close {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        new_session(&mut command);
        // Every other descriptor of ours is close-on-exec. The child outlives us, so nobody waits for it.
        command.spawn().map(|child| child.id())
    }
}

/// Makes the child leader of a new session, so that a signal to our terminal's process group does not reach it.
#[allow(
    unsafe_code,
    reason = "pre_exec is the only way to call setsid between fork and exec"
)]
fn new_session(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec of a possibly multi-threaded process, where only
    // async-signal-safe calls are allowed. setsid(2) is one, and mapping its error allocates nothing.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(io::Error::from));
    }
}

/// A process that holds one of a server's locks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TaskProcess {
    /// Task name (`receive-wal`, `backup` ...).
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// The lock that it holds.
    #[serde(skip)]
    pub lock: PathBuf,
}

/// The tasks that processes are known by.
pub const TASKS: [&str; 6] = [
    "receive-wal",
    "sync-backup",
    "backup",
    "cron",
    "archive-wal",
    "sync-wal",
];

/// The task that a lock file name of this very server stands for. `pg` never matches the locks of `pg-standby`.
#[must_use]
pub fn task_of_lock(server: &str, file_name: &str) -> Option<&'static str> {
    let middle = file_name
        .strip_prefix('.')?
        .strip_prefix(server)?
        .strip_prefix('-')?
        .strip_suffix(".lock")?;
    if let Some(id) = middle.strip_suffix("-sync-backup") {
        return is_backup_id(id).then_some("sync-backup");
    }
    TASKS
        .into_iter()
        .find(|task| *task != "sync-backup" && *task == middle)
}

fn is_backup_id(text: &str) -> bool {
    text.len() == 15
        && text.bytes().enumerate().all(|(index, byte)| {
            if index == 8 {
                byte == b'T'
            } else {
                byte.is_ascii_digit()
            }
        })
}

/// The path of a task's lock.
#[must_use]
pub fn task_lock(lock_directory: &Path, server: &str, task: &str) -> PathBuf {
    lock_directory.join(format!(".{server}-{task}.lock"))
}

/// The processes that hold locks of this very server, in the order of the lock directory.
///
/// # Errors
/// The lock directory cannot be read.
pub fn list(lock_directory: &Path, server: &str) -> io::Result<Vec<TaskProcess>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(lock_directory)? {
        let entry = entry?;
        let Some(task) = task_of_lock(server, &entry.file_name().to_string_lossy()) else {
            continue;
        };
        found.extend(holder(task, entry.path()));
    }
    Ok(found)
}

/// The process that holds a task's lock, if there is one and the lock says who it is.
#[must_use]
pub fn find(lock_directory: &Path, server: &str, task: &str) -> Option<TaskProcess> {
    let lock = task_lock(lock_directory, server, task);
    let name = lock.file_name()?.to_string_lossy().into_owned();
    task_of_lock(server, &name).and_then(|task| holder(task, lock))
}

fn holder(task: &str, path: PathBuf) -> Option<TaskProcess> {
    match lock::probe(&path) {
        Ok(pid) => Some(TaskProcess {
            name: task.to_owned(),
            pid: pid?,
            lock: path,
        }),
        Err(error) => {
            log::warn!(target: "barman.process", "Skipping lock file: {error}");
            None
        }
    }
}

/// How asking a process to end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// It is gone.
    Stopped,
    /// It is still there after ten seconds, or the waiting was interrupted.
    StillRunning,
    /// The process of that id does not have the lock open: the id in the lock file is out of date, and belongs to
    /// somebody else by now. Nothing was done to it.
    Stranger,
    /// It belongs to another user.
    Denied,
}

impl Termination {
    /// The line that says so where there is no place for a hint; what Barman knows of is told in its words alone.
    #[must_use]
    pub fn refusal(self, process: &TaskProcess) -> String {
        let text = format!("Cannot terminate process {}({})", process.name, process.pid);
        match self.explained(process) {
            Some(why) if self != Self::StillRunning => format!("{text}: {why}"),
            _ => text,
        }
    }

    /// Why `process` still runs, and what to do about it; nothing if it does not.
    #[must_use]
    pub fn explained(self, process: &TaskProcess) -> Option<String> {
        match self {
            Self::Stopped => None,
            Self::StillRunning => Some(
                "it was asked to end (SIGINT) and is still there after ten seconds; \
                 'barman list-processes' shows when it has gone"
                    .to_owned(),
            ),
            Self::Denied => Some(format!("process {} belongs to another user", process.pid)),
            Self::Stranger => Some(format!(
                "process {} does not have the lock {} open, so it was left alone; try again in a moment",
                process.pid,
                process.lock.display()
            )),
        }
    }
}

/// How long a process may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the request to stop is looked at meanwhile.
const SLICE: Duration = Duration::from_millis(50);

/// Sends SIGINT and waits up to ten seconds for the process to go.
///
/// The process is held by a descriptor (`pidfd_open(2)`) before it is looked at, so the one that gets the signal is the
/// one that was found to have the lock open, even if process ids are used again meanwhile.
pub fn terminate(process: &TaskProcess, ctx: &Context<'_>) -> Termination {
    let Some(pid) = i32::try_from(process.pid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw)
    else {
        return Termination::Stranger;
    };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return gone_or_stranger(process),
        Err(error) => {
            log::warn!(target: "barman.process", "cannot hold process {}: {error}", process.pid);
            return Termination::StillRunning;
        }
    };
    match has_open(process.pid, &process.lock) {
        Ok(true) => {}
        Ok(false) => return gone_or_stranger(process),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Termination::Denied,
        Err(_) => return gone_or_stranger(process),
    }
    match pidfd_send_signal(&handle, Signal::INT) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Termination::Stopped,
        Err(_) => return Termination::Denied,
    }
    if has_ended(&handle, ctx) {
        Termination::Stopped
    } else {
        Termination::StillRunning
    }
}

/// A process that is not there, or does not have the lock: all is well unless somebody holds the lock in its name.
fn gone_or_stranger(process: &TaskProcess) -> Termination {
    match lock::probe(&process.lock) {
        Ok(Some(holder)) if holder == process.pid => Termination::Stranger,
        _ => Termination::Stopped,
    }
}

/// Whether a process has a file open, by the list of its descriptors. A process that has ended has none.
fn has_open(pid: u32, path: &Path) -> io::Result<bool> {
    let wanted = std::fs::metadata(path)?;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // Descriptors come and go while they are listed.
        let Ok(found) = entry.and_then(|entry| std::fs::metadata(entry.path())) else {
            continue;
        };
        if (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits for the process to end. One that nobody reaps has ended too.
fn has_ended(handle: &OwnedFd, ctx: &Context<'_>) -> bool {
    let start = Instant::now();
    let slice = Timespec::try_from(SLICE).ok();
    loop {
        match poll(&mut [PollFd::new(handle, PollFlags::IN)], slice.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            Err(error) => {
                log::warn!(target: "barman.process", "cannot wait for a process: {error}");
                return false;
            }
        }
        if start.elapsed() >= PATIENCE || ctx.cancel.is_requested() {
            return false;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::context::{Cancel, Silent, SystemClock};
    use barman_wal::lock::Lock;

    #[test]
    fn locks_belong_to_exactly_one_server() {
        for (server, file, task) in [
            ("pg", ".pg-receive-wal.lock", Some("receive-wal")),
            ("pg", ".pg-standby-receive-wal.lock", None),
            ("pg-standby", ".pg-standby-receive-wal.lock", Some("receive-wal")),
            ("pg", ".pg-backup.lock", Some("backup")),
            ("pg", ".pg-cron.lock", Some("cron")),
            ("pg", ".pg-sync-wal.lock", Some("sync-wal")),
            ("pg", ".pg-20261121T044724-sync-backup.lock", Some("sync-backup")),
            ("pg", ".pg-20261121T044724.lock", None),
            ("pg", ".pg-xlogdb.lock", None),
            ("pg", ".pg-x-sync-backup.lock", None),
            ("pg", "pg-cron.lock", None),
        ] {
            assert_eq!(task_of_lock(server, file), task, "{server}: {file}");
        }
    }

    #[test]
    fn holders_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(list(dir.path(), "pg").unwrap(), []);
        let _other = Lock::try_acquire(&task_lock(dir.path(), "pg-standby", "cron")).unwrap();
        let held = Lock::try_acquire(&task_lock(dir.path(), "pg", "cron")).unwrap();
        drop(Lock::try_acquire(&task_lock(dir.path(), "pg", "backup")).unwrap());
        let processes = list(dir.path(), "pg").unwrap();
        assert_eq!(processes.len(), 1);
        assert_eq!(
            (processes[0].name.as_str(), processes[0].pid),
            ("cron", std::process::id())
        );
        assert_eq!(find(dir.path(), "pg", "cron").as_ref(), processes.first());
        assert_eq!(
            serde_json::to_value(&processes[0])
                .unwrap()
                .as_object()
                .unwrap()
                .len(),
            2
        );
        drop(held);
        assert_eq!(find(dir.path(), "pg", "cron"), None);
    }

    fn stop(process: &TaskProcess) -> Termination {
        let cancel = Cancel::new();
        terminate(
            process,
            &Context {
                progress: &Silent,
                cancel: &cancel,
                clock: &SystemClock,
            },
        )
    }

    /// A process whose standard input is the lock file, locked, with its id in it; as `script` of the shell.
    pub(crate) fn holder_of(lock: &Path, script: &str) -> std::process::Child {
        let file = std::fs::File::create(lock).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let mut child = Command::new("/bin/sh")
            .args([
                "-c",
                &format!("{script}; echo ready; while :; do sleep 0.05; done"),
            ])
            .stdin(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::write(lock, format!("{}\n", child.id())).unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        child
    }

    #[test]
    fn a_process_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let lock = task_lock(dir.path(), "pg", "backup");
        let mut child = holder_of(&lock, "trap 'exit 0' INT");
        let process = find(dir.path(), "pg", "backup").unwrap();
        assert_eq!(process.pid, child.id());
        // Not reaped yet, and gone all the same.
        assert_eq!(stop(&process), Termination::Stopped);
        child.wait().unwrap();
        assert_eq!(stop(&process), Termination::Stopped, "it is gone already");
    }

    #[test]
    fn a_process_that_uses_the_number_again_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = task_lock(dir.path(), "pg", "backup");
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let _held = Lock::try_acquire(&lock).unwrap();
        std::fs::write(&lock, format!("{}\n", stranger.id())).unwrap();
        let process = find(dir.path(), "pg", "backup").unwrap();
        assert_eq!(process.pid, stranger.id());
        assert_eq!(stop(&process), Termination::Stranger);
        assert!(stranger.try_wait().unwrap().is_none(), "it was killed");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(
            stop(&process),
            Termination::Stranger,
            "the lock is held in the name of the dead"
        );
        for pid in [0, 1, u32::MAX] {
            let process = TaskProcess {
                pid,
                ..process.clone()
            };
            assert_eq!(stop(&process), Termination::Stranger);
        }
    }

    #[test]
    fn children_get_a_session_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("barman");
        let out = dir.path().join("out");
        let script = format!(
            "#!/bin/sh\necho \"$@\" > {0}.tmp\nps -o sid= -p $$ >> {0}.tmp\necho $$ >> {0}.tmp\nmv {0}.tmp {0}\n",
            out.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let barman = SelfCommand {
            program,
            config: "/c.conf".into(),
            descriptors: Descriptors::Close,
        };
        let pid = barman.spawn(&["archive-wal", "s"]).unwrap();
        let start = std::time::Instant::now();
        while !out.exists() {
            assert!(start.elapsed().as_secs() < 60);
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = std::fs::read_to_string(&out).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            ["-c /c.conf -q archive-wal s", &pid.to_string(), &pid.to_string()]
        );
    }
}
