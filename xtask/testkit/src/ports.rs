//! TCP ports on 127.0.0.1, leased so that tests of several processes never take the same one.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// First port of the range, and how many there are: below the range from which Linux takes the ports of outgoing connections.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port that belongs to the holder until dropped (or until the process dies).
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    /// Held for its lock.
    _lock: File,
}

impl PortLease {
    /// Leases a free port.
    ///
    /// # Errors
    /// The lock directory cannot be made, or no port is free.
    pub fn take() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = std::env::temp_dir().join("barman-rs-ports");
        if !dir.exists() {
            fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
            // Shared by all users, as /tmp is; whoever made it may set this.
            let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777));
        }
        // Processes start at different places, so that they rarely meet.
        let origin = std::process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = u16::try_from(FIRST + origin.wrapping_add(step) % COUNT).context("port range")?;
            let lock = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o666)
                .open(dir.join(port.to_string()));
            let Ok(lock) = lock else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(Self { port, _lock: lock });
            }
        }
        bail!("no port between {FIRST} and {} is free", FIRST + COUNT)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_distinct_while_they_live() {
        let leases: Vec<PortLease> = (0..20).map(|_| PortLease::take().unwrap()).collect();
        let mut ports: Vec<u16> = leases.iter().map(PortLease::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
