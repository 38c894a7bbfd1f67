//! Background children, as `cron` starts them, and the processes that hold a server's locks.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        command.arg("-c").arg(&self.config).arg("-q").args(args).stdin(Stdio::null());
        if self.descriptors == Descriptors::Close {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        new_session(&mut command);
        // Every other descriptor of ours is close-on-exec. The child outlives us, so nobody waits for it.
        command.spawn().map(|child| child.id())
    }
}

/// Makes the child leader of a new session, so that a signal to our terminal's process group does not reach it.
#[allow(unsafe_code, reason = "pre_exec is the only way to call setsid between fork and exec")]
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

/// The task that a lock file name of this very server stands for. `pg` never matches the locks of `pg-standby`.
#[must_use]
pub fn task_of_lock(server: &str, file_name: &str) -> Option<&'static str> {
    let middle = file_name.strip_prefix('.')?.strip_prefix(server)?.strip_prefix('-')?.strip_suffix(".lock")?;
    if let Some(id) = middle.strip_suffix("-sync-backup") {
        return is_backup_id(id).then_some("sync-backup");
    }
    ["receive-wal", "backup", "cron", "archive-wal", "sync-wal"].into_iter().find(|task| *task == middle)
}

fn is_backup_id(text: &str) -> bool {
    text.len() == 15
        && text.bytes().enumerate().all(|(index, byte)| if index == 8 { byte == b'T' } else { byte.is_ascii_digit() })
}

/// The path of a task's lock.
#[must_use]
pub fn task_lock(lock_directory: &Path, server: &str, task: &str) -> PathBuf {
    lock_directory.join(format!(".{server}-{task}.lock"))
}
