//! A proxy for tests that stalls, cuts, delays and corrupts PostgreSQL traffic at a chosen byte or message.
//!
//! It knows the protocol's framing and passes whole messages, so a fault can be put at "the third piece of WAL" as well as at "byte 12345".
//! Under TLS it passes bytes. Faults form a sequence: each is armed when the one before has struck. They can be changed while connections run, what passed
//! is counted, and everything ends when the proxy is dropped.
//!
//! ```no_run
//! use std::time::Duration;
//! use testkit::proxy::{Action, Direction, Fault, Proxy, What, Which};
//!
//! # fn main() -> anyhow::Result<()> {
//! let cluster = testkit::Cluster::start_new(18)?;
//! let proxy = Proxy::to(&cluster)?;
//! let conninfo = proxy.conninfo(&cluster.tcp_streaming_conninfo());
//! // The second piece of WAL never arrives...
//! proxy.set([Fault::to_client(What::CopyData(b'w'), 2, Action::Stall).on(Which::Replication)]);
//! // ... a program streams through `conninfo` ...
//! proxy.wait_fired(1, Duration::from_secs(10))?;
//! // ... until the network is well again.
//! proxy.clear();
//! proxy.wait_passed(Direction::ToClient, What::CopyData(b'w'), 100, Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```

mod fault;
mod frames;
mod pump;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::ports::PortLease;
use crate::{Cluster, wait_until};

pub use fault::{Action, BACKUP_DATA_OFFSET, Direction, Fault, WAL_DATA_OFFSET, What, When, Which};
pub use frames::Kind;

use fault::{Line, Sequence};
use frames::Encryption;

/// Where a proxy passes connections on to.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// A TCP address.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// They are passed on.
    Forward,
    /// Nobody listens: the client's attempt is refused.
    Refuse,
    /// They are accepted, and nothing is ever read or answered.
    Silent,
}

/// A connection through the proxy, past or present.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Number of the connection, from 1, in the order in which they came.
    pub id: u64,
    /// Parameters of the start-up packet (`user`, `replication`, `application_name` ...); empty before it, and under TLS.
    pub parameters: BTreeMap<String, String>,
    /// Whether any side is still connected, as far as the proxy has read.
    pub open: bool,
    /// Bytes passed to the server.
    pub to_server: u64,
    /// Bytes passed to the client.
    pub to_client: u64,
}

/// A proxy; see the module.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    lease: PortLease,
}

/// One connection.
#[derive(Debug)]
struct Conn {
    id: u64,
    client: OwnedFd,
    encryption: Encryption,
    /// Becomes readable, once and for all, when the connection is to be given up.
    wake: OwnedFd,
    cut: AtomicBool,
    /// When it is given up, both sides get a reset.
    reset: AtomicBool,
    /// No thread serves it: nothing is read from it.
    silent: bool,
    /// Both sides were told the end; what they send is thrown away.
    finished: AtomicBool,
    info: Mutex<ConnectionInfo>,
}

impl Conn {
    fn info(&self) -> MutexGuard<'_, ConnectionInfo> {
        lock(&self.info)
    }

    fn line(&self) -> Line {
        let info = self.info();
        let replication = info.parameters.get("replication");
        Line {
            id: self.id,
            replication: (!info.parameters.is_empty()).then(|| {
                replication.is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false" | "off" | "no"))
            }),
        }
    }

    /// Gives the connection up: both its threads end, and with them its sockets.
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        signal(&self.wake);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct State {
    faults: Sequence,
    /// Changes with the faults: what a fault holds back goes on then.
    generation: u64,
    admission: Admission,
    /// What the accepting thread has made of `admission`.
    in_force: Admission,
    ending: bool,
    passed: BTreeMap<(Direction, Kind), u64>,
    bytes: BTreeMap<Direction, u64>,
    connections: Vec<Arc<Conn>>,
    past: Vec<ConnectionInfo>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    state: Mutex<State>,
    changed: Condvar,
    /// Wakes the accepting thread.
    wake: OwnedFd,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signal(event: &OwnedFd) {
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

fn event() -> Result<OwnedFd> {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).context("make an event descriptor")
}

impl Proxy {
    /// A proxy to a cluster's TCP port.
    ///
    /// # Errors
    /// There is no free port.
    pub fn to(cluster: &Cluster) -> Result<Self> {
        Self::new(Upstream::Tcp(SocketAddr::from(([127, 0, 0, 1], cluster.port()))))
    }

    /// A proxy to a cluster's Unix socket, over which its users need no password.
    ///
    /// # Errors
    /// There is no free port.
    pub fn to_socket(cluster: &Cluster) -> Result<Self> {
        let socket = cluster.socket_dir().join(format!(".s.PGSQL.{}", cluster.port()));
        Self::new(Upstream::Unix(socket))
    }

    /// A proxy to any server. It listens on a leased port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no free port.
    pub fn new(upstream: Upstream) -> Result<Self> {
        let lease = PortLease::take()?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::new(State {
                faults: Sequence::default(),
                generation: 0,
                admission: Admission::Forward,
                in_force: Admission::Forward,
                ending: false,
                passed: BTreeMap::new(),
                bytes: BTreeMap::new(),
                connections: Vec::new(),
                past: Vec::new(),
                threads: Vec::new(),
            }),
            changed: Condvar::new(),
            wake: event()?,
        });
        let listener = listen(lease.port())?;
        let acceptor = {
            let (shared, port) = (Arc::clone(&shared), lease.port());
            thread::spawn(move || accept(&shared, listener, port))
        };
        Ok(Self {
            shared,
            acceptor: Some(acceptor),
            lease,
        })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.lease.port()
    }

    /// A connection string of the kit with host and port replaced by the proxy's.
    pub fn conninfo(&self, direct: &str) -> String {
        let kept = direct.split_whitespace().filter(|word| {
            !["host=", "port=", "hostaddr="]
                .iter()
                .any(|key| word.starts_with(key))
        });
        let mut text = format!("host=127.0.0.1 port={}", self.port());
        for word in kept {
            text.push(' ');
            text.push_str(word);
        }
        text
    }

    /// Replaces the faults by this sequence, of which each is armed when the one before has struck. What former faults hold back goes on.
    pub fn set(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.shared.state();
        state.faults = Sequence::new(faults.into_iter().collect());
        state.generation = state.generation.wrapping_add(1);
        self.shared.changed.notify_all();
    }

    /// Ends all faults; what they hold back goes on.
    pub fn clear(&self) {
        self.set([]);
    }

    /// How many of the faults of the last [`Proxy::set`] have struck.
    pub fn fired(&self) -> usize {
        self.shared.state().faults.fired()
    }

    /// Waits until so many faults have struck.
    ///
    /// # Errors
    /// The time is up.
    pub fn wait_fired(&self, count: usize, timeout: Duration) -> Result<()> {
        wait_until(&format!("{count} fault(s) have struck"), timeout, || {
            Ok(self.fired() >= count)
        })
    }

    /// How many messages have passed since the proxy began. Whoever has received one finds it counted.
    pub fn passed(&self, direction: Direction, what: What) -> u64 {
        let state = self.shared.state();
        let counts = state.passed.iter();
        counts
            .filter(|((way, kind), _)| *way == direction && what.matches(*kind))
            .map(|(_, count)| count)
            .sum()
    }

    /// How many bytes have passed since the proxy began.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared
            .state()
            .bytes
            .get(&direction)
            .copied()
            .unwrap_or_default()
    }

    /// Waits until so many messages have passed since the proxy began.
    ///
    /// # Errors
    /// The time is up.
    pub fn wait_passed(&self, direction: Direction, what: What, count: u64, timeout: Duration) -> Result<()> {
        wait_until(
            &format!("{count} of {what:?} have passed {direction:?}"),
            timeout,
            || Ok(self.passed(direction, what) >= count),
        )
    }

    /// All connections so far, in the order in which they came.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let state = self.shared.state();
        let mut all = state.past.clone();
        all.extend(state.connections.iter().map(|conn| conn.info().clone()));
        all.sort_by_key(|info| info.id);
        all
    }

    /// Decides about new connections; in force when this returns.
    ///
    /// # Errors
    /// The proxy cannot listen on its port any more.
    pub fn admit(&self, admission: Admission) -> Result<()> {
        self.shared.state().admission = admission;
        signal(&self.shared.wake);
        wait_until("the proxy listens as it is told", Duration::from_secs(60), || {
            Ok(self.shared.state().in_force == admission)
        })
    }

    /// Drops every connection at once, as a machine that loses its network card would: both sides get a reset.
    pub fn reset_all(&self) {
        let mut state = self.shared.state();
        for conn in &state.connections {
            conn.reset.store(true, Ordering::SeqCst);
            conn.cut();
        }
        let (silent, served): (Vec<_>, Vec<_>) = std::mem::take(&mut state.connections)
            .into_iter()
            .partition(|conn| conn.silent);
        state.connections = served;
        for conn in silent {
            conn.info().open = false;
            let info = conn.info().clone();
            state.past.push(info);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.shared.state();
            state.ending = true;
            state.connections.clone()
        };
        signal(&self.shared.wake);
        for conn in connections {
            conn.cut();
        }
        self.shared.changed.notify_all();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let threads = std::mem::take(&mut self.shared.state().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port)).context("listen for the proxy")?;
    listener
        .set_nonblocking(true)
        .context("set the proxy's listener up")?;
    Ok(listener)
}

/// Takes connections until the proxy ends.
fn accept(shared: &Arc<Shared>, listener: TcpListener, port: u16) {
    let mut listener = Some(listener);
    let mut next_id = 1;
    loop {
        let admission = {
            let state = shared.state();
            if state.ending {
                return;
            }
            state.admission
        };
        if admission == Admission::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = listen(port).ok();
        }
        if (admission == Admission::Refuse) == listener.is_none() {
            shared.state().in_force = admission;
        }
        let mut watched = vec![PollFd::new(&shared.wake, PollFlags::IN)];
        if let Some(listener) = &listener {
            watched.push(PollFd::new(listener, PollFlags::IN));
        }
        let _ = poll(&mut watched, None);
        drop(watched);
        let mut count = [0; 8];
        let _ = rustix::io::read(&shared.wake, &mut count);
        let Some(Ok((client, _))) = listener.as_ref().map(TcpListener::accept) else {
            continue;
        };
        let _ = client.set_nodelay(true);
        let _ = client.set_nonblocking(true);
        let Ok(wake) = event() else { continue };
        let conn = Arc::new(Conn {
            id: next_id,
            client: client.into(),
            encryption: Encryption::default(),
            wake,
            cut: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            silent: admission == Admission::Silent,
            finished: AtomicBool::new(false),
            info: Mutex::new(ConnectionInfo {
                id: next_id,
                parameters: BTreeMap::new(),
                open: true,
                to_server: 0,
                to_client: 0,
            }),
        });
        next_id += 1;
        let mut state = shared.state();
        if state.ending {
            return;
        }
        state.connections.push(Arc::clone(&conn));
        if admission != Admission::Silent {
            let shared = Arc::clone(shared);
            state
                .threads
                .push(thread::spawn(move || pump::run(&shared, &conn)));
        }
    }
}

/// Whether `fd` became readable (or its peer hung up) rather than `wake`.
fn readable(fd: impl AsFd, wake: &OwnedFd, timeout: Option<Duration>) -> Ready {
    wait_for(fd, PollFlags::IN, wake, timeout)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Yes,
    TimedOut,
    Woken,
}

fn wait_for(fd: impl AsFd, what: PollFlags, wake: &OwnedFd, timeout: Option<Duration>) -> Ready {
    let mut watched = [PollFd::new(&fd, what), PollFd::new(wake, PollFlags::IN)];
    let limit = timeout.and_then(|t| t.try_into().ok());
    match poll(&mut watched, limit.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ready::TimedOut,
        Err(_) => Ready::Woken,
        Ok(0) => Ready::TimedOut,
        Ok(_) if watched[1].revents().is_empty() => Ready::Yes,
        Ok(_) => Ready::Woken,
    }
}

#[cfg(test)]
mod tests;
