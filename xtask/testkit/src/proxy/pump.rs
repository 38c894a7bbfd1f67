//! The two threads of a connection: each takes units from one side, does to them what the faults say, and gives them to the other.

use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, shutdown, sockopt};

use super::fault::{Action, Direction, Pace};
use super::frames::{Kind, Splitter, Unit, startup_parameters};
use super::{Conn, Ready, Shared, Upstream, readable, wait_for};

/// How much a [`Action::StallForAcks`] takes from the sender.
const HELD: usize = 64 << 20;

/// How often a throttled direction passes something.
const TICK: Duration = Duration::from_millis(50);

/// The connection is over for this thread.
struct Over;

/// Connects to the server and passes traffic until both sides are done.
pub(super) fn run(shared: &Arc<Shared>, conn: &Arc<Conn>) {
    if let Ok(server) = connect(&shared.upstream) {
        let server = Arc::new(server);
        let back = {
            let (shared, conn, server) = (Arc::clone(shared), Arc::clone(conn), Arc::clone(&server));
            thread::spawn(move || Pump::new(&shared, &conn, &server, Direction::ToClient).run())
        };
        Pump::new(shared, conn, &server, Direction::ToServer).run();
        let _ = back.join();
        if conn.reset.load(Ordering::SeqCst) {
            linger_nothing(&server);
        }
    }
    if conn.reset.load(Ordering::SeqCst) {
        linger_nothing(&conn.client);
    }
    let mut state = shared.state();
    conn.info().open = false;
    let info = conn.info().clone();
    state.past.push(info);
    // With the last reference the socket is closed.
    state.connections.retain(|other| other.id != conn.id);
}

fn connect(upstream: &Upstream) -> std::io::Result<OwnedFd> {
    match upstream {
        Upstream::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, Duration::from_secs(10))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream.into())
        }
        Upstream::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            Ok(stream.into())
        }
    }
}

/// Makes closing this socket a reset. A Unix socket knows no reset.
fn linger_nothing(socket: impl AsFd) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

struct Pump<'a> {
    shared: &'a Shared,
    conn: &'a Conn,
    server: &'a OwnedFd,
    direction: Direction,
    from: &'a OwnedFd,
    to: &'a OwnedFd,
    splitter: Splitter,
    /// The sender has sent its last.
    ended: bool,
    /// What comes is thrown away.
    deaf: bool,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, conn: &'a Conn, server: &'a OwnedFd, direction: Direction) -> Self {
        let (from, to) = match direction {
            Direction::ToServer => (&conn.client, server),
            Direction::ToClient => (server, &conn.client),
        };
        Self {
            shared,
            conn,
            server,
            direction,
            from,
            to,
            splitter: Splitter::new(direction),
            ended: false,
            deaf: false,
        }
    }

    fn run(mut self) {
        if self.pass_all().is_err() {
            // A side that is gone, or an order to give up: the other direction has nothing left to do.
            self.conn.cut();
        }
    }

    fn pass_all(&mut self) -> Result<(), Over> {
        while !self.ended {
            self.take_in(None)?;
            while let Some(unit) = self.splitter.take(&self.conn.encryption) {
                self.pass(unit)?;
            }
        }
        if let Some(unit) = self.splitter.rest() {
            self.pass(unit)?;
        }
        let _ = shutdown(self.to, Shutdown::Write);
        Ok(())
    }

    /// Reads once, waiting `timeout` at most.
    fn take_in(&mut self, timeout: Option<Duration>) -> Result<(), Over> {
        match readable(self.from, &self.conn.wake, timeout) {
            Ready::Woken => return Err(Over),
            Ready::TimedOut => return Ok(()),
            Ready::Yes => {}
        }
        let mut chunk = [0; 64 << 10];
        match rustix::io::read(self.from, &mut chunk) {
            Ok(0) => self.ended = true,
            Ok(read) => self.splitter.feed(chunk.get(..read).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                // A reset of one side is one for the other.
                self.conn.reset.store(true, Ordering::SeqCst);
                return Err(Over);
            }
        }
        Ok(())
    }

    /// Passes one unit on, with what the faults do to it.
    fn pass(&mut self, mut unit: Unit) -> Result<(), Over> {
        if self.deaf || self.conn.finished.load(Ordering::SeqCst) {
            return Ok(());
        }
        if unit.kind == Kind::Startup {
            self.conn.info().parameters = startup_parameters(&unit.bytes);
        }
        let line = self.conn.line();
        let (strike, generation, pace) = {
            let mut state = self.shared.state();
            let pace = state.faults.pace(line, self.direction);
            (
                state.faults.look(line, self.direction, &unit),
                state.generation,
                pace,
            )
        };
        let Some((before, action)) = strike else {
            self.count(unit.kind);
            return self.give_at(pace, &unit.bytes);
        };
        let before = before.min(unit.bytes.len());
        let rest = unit.bytes.split_off(before);
        self.give_at(pace, &unit.bytes)?;
        match action {
            Action::Stall => self.wait_for_change(generation)?,
            Action::StallForAcks => self.hold(generation)?,
            Action::CloseGracefully => return self.finish(),
            Action::Reset => {
                self.conn.reset.store(true, Ordering::SeqCst);
                return Err(Over);
            }
            Action::HalfClose => {
                let _ = shutdown(self.to, Shutdown::Write);
                self.deaf = true;
                return Ok(());
            }
            Action::Truncate => {
                self.give(rest.get(..rest.len() / 2).unwrap_or_default())?;
                return self.finish();
            }
            Action::Flip(bit) => {
                self.count(unit.kind);
                return self.give(&flipped(rest, bit));
            }
            Action::Duplicate => self.give(&rest)?,
            Action::Delay(_) | Action::Throttle(_) => {}
        }
        self.count(unit.kind);
        self.give(&rest)
    }

    /// Tells both sides the end; from now on both threads throw away what comes.
    fn finish(&self) -> Result<(), Over> {
        self.conn.finished.store(true, Ordering::SeqCst);
        let _ = shutdown(&self.conn.client, Shutdown::Write);
        let _ = shutdown(self.server, Shutdown::Write);
        Ok(())
    }

    /// Waits until the faults change.
    fn wait_for_change(&self, generation: u64) -> Result<(), Over> {
        let mut state = self.shared.state();
        while state.generation == generation {
            if state.ending || self.conn.is_cut() {
                return Err(Over);
            }
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Takes what comes, without passing it on, until the faults change.
    fn hold(&mut self, generation: u64) -> Result<(), Over> {
        while self.shared.state().generation == generation {
            if self.ended || self.splitter.waiting() >= HELD {
                return self.wait_for_change(generation);
            }
            self.take_in(Some(TICK))?;
        }
        Ok(())
    }

    /// Writes bytes to the receiver, as fast as the faults allow.
    fn give(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let pace = self.shared.state().faults.pace(self.conn.line(), self.direction);
        self.give_at(pace, bytes)
    }

    fn give_at(&mut self, Pace { delay, rate }: Pace, bytes: &[u8]) -> Result<(), Over> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.pause(delay)?;
        let Some(rate) = rate else {
            return self.write(bytes);
        };
        let generation = self.shared.state().generation;
        let ticks = 1000 / u64::try_from(TICK.as_millis()).unwrap_or(1).max(1);
        let piece = usize::try_from(rate.div_ceil(ticks)).unwrap_or(usize::MAX).max(1);
        let mut left = bytes;
        while !left.is_empty() {
            if self.shared.state().generation != generation {
                return self.give(left);
            }
            let (part, rest) = left.split_at(piece.min(left.len()));
            left = rest;
            self.write(part)?;
            let share = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.pause(Duration::from_secs_f64(share as f64 / rate as f64))?;
        }
        Ok(())
    }

    /// Waits, unless the faults change or the connection is given up.
    fn pause(&self, duration: Duration) -> Result<(), Over> {
        if duration.is_zero() {
            return Ok(());
        }
        let end = Instant::now() + duration;
        let mut state = self.shared.state();
        let generation = state.generation;
        while state.generation == generation {
            if state.ending || self.conn.is_cut() {
                return Err(Over);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left.min(TICK));
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Over> {
        while !bytes.is_empty() {
            match self.send(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if wait_for(self.to, PollFlags::OUT, &self.conn.wake, None) == Ready::Woken {
                        return Err(Over);
                    }
                }
                // The receiver is gone: what the sender still sends is read and lost, as with a real peer, while the other direction has its end.
                Err(_) => {
                    self.deaf = true;
                    let _ = shutdown(self.from, Shutdown::Write);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends what the receiver takes at once. Whoever asks for the counts after he has received it finds it in them.
    fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut state = self.shared.state();
        let sent = rustix::net::send(self.to, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        let count = u64::try_from(sent).unwrap_or(u64::MAX);
        *state.bytes.entry(self.direction).or_default() += count;
        let mut info = self.conn.info();
        match self.direction {
            Direction::ToServer => info.to_server += count,
            Direction::ToClient => info.to_client += count,
        }
        Ok(sent)
    }

    /// Counts a message, before its last byte goes: an answer to it may be seen before this thread runs again.
    fn count(&self, kind: Kind) {
        *self
            .shared
            .state()
            .passed
            .entry((self.direction, kind))
            .or_default() += 1;
    }
}

fn flipped(mut bytes: Vec<u8>, bit: u64) -> Vec<u8> {
    let last = bytes.len().saturating_sub(1);
    let (at, mask) = match usize::try_from(bit / 8) {
        Ok(at) if at <= last => (at, 1 << (bit % 8)),
        _ => (last, 1 << 7),
    };
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= mask;
    }
    bytes
}
