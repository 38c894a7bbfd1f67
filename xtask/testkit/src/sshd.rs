//! A real SSH server on loopback that lets the current user in with a key made for the occasion: for everything remote.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::dirs::TestDir;
use crate::ports::PortLease;
use crate::process::{Background, Program};
use crate::{user, wait_until};

/// A running `sshd`; stopped and removed on drop.
#[derive(Debug)]
pub struct Sshd {
    // Dropped first: the server, then its port and files.
    server: Background,
    port: PortLease,
    dir: TestDir,
    user: String,
}

impl Sshd {
    /// Starts a server.
    ///
    /// # Errors
    /// OpenSSH is not installed, or the server does not start; the message has its log.
    pub fn start() -> Result<Self> {
        let program = Path::new("/usr/sbin/sshd");
        ensure!(
            program.exists(),
            "{} is missing: run `cargo xtask setup`",
            program.display()
        );
        let dir = TestDir::new()?;
        // Private keys are of no use to sshd and ssh when others could read them.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).context("chmod")?;
        for key in ["host_key", "user_key"] {
            Program::new("ssh-keygen").ok([
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                &dir.join(key).display().to_string(),
            ])?;
        }
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").context("create sshd's privilege separation directory")?;
        }
        let port = PortLease::take()?;
        let path = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
            port.port(),
            path("host_key"),
            path("user_key.pub"),
        );
        fs::write(dir.join("sshd_config"), config).context("write sshd_config")?;
        let mut command = Command::new(program);
        command
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(dir.join("sshd_config"))
            .env(crate::dirs::MARK, dir.path());
        let server = Background::spawn(command, None)?;
        let mut sshd = Self {
            server,
            port,
            dir,
            user: user::current_name()?,
        };
        let address = ("127.0.0.1", sshd.port.port());
        let started = wait_until("sshd listens", Duration::from_secs(60), || {
            Ok(!sshd.server.is_running()? || TcpStream::connect(address).is_ok())
        });
        if started.is_err() || !sshd.server.is_running()? {
            bail!("sshd did not start: {}", sshd.server.stderr_so_far()?);
        }
        Ok(sshd)
    }

    /// A command that logs in as the current user, fit for `--remote-ssh-command`, `ssh_command` and `rsync -e`.
    pub fn command(&self) -> String {
        format!("{} {}@127.0.0.1", self.command_without_host(), self.user)
    }

    /// The same without user and host.
    pub fn command_without_host(&self) -> String {
        format!(
            "ssh -q -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i {} -p {}",
            self.dir.join("user_key").display(),
            self.port.port()
        )
    }

    /// Ends the server and every session: the remote host is gone.
    pub fn stop(self) {}

    /// The server's log so far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log(&self) -> Result<String> {
        self.server.stderr_so_far()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_rsync_go_through() {
        let sshd = Sshd::start().unwrap();
        let shell = Program::new("/bin/sh").arg("-c");
        let done = shell
            .ok([format!("{} 'echo hello; exit 0'", sshd.command())])
            .unwrap();
        assert_eq!(done.stdout, "hello\n", "{done}\n{}", sshd.log().unwrap());
        let dir = TestDir::new().unwrap();
        fs::write(dir.join("from"), "content").unwrap();
        let (from, to) = (dir.join("from"), dir.join("to"));
        let rsync = format!(
            "rsync -a -e '{}' {} 127.0.0.1:{}",
            sshd.command_without_host(),
            from.display(),
            to.display()
        );
        shell.ok([rsync]).unwrap();
        assert_eq!(fs::read_to_string(to).unwrap(), "content");
    }
}
