//! Sockets: addresses of a host, a connect with a deadline that can be interrupted, and reads and writes that never
//! block longer than they are told.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::hosts::{Host, Place};
use super::{ConnectOptions, Deadline, LOOK, Plan, SocketSettings};
use crate::error::Error;

const DOING: &str = "connecting";

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A connected socket in non-blocking mode.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Read,
    Write,
}

impl Socket {
    /// Waits at most `slice` until the socket can be read from or written to; false if it cannot yet.
    pub(crate) fn wait(&self, ready: Ready, slice: Duration) -> io::Result<bool> {
        wait_fd(self.as_fd(), ready, slice)
    }
}

fn wait_fd(fd: BorrowedFd<'_>, ready: Ready, slice: Duration) -> io::Result<bool> {
    let flags = match ready {
        Ready::Read => PollFlags::IN,
        Ready::Write => PollFlags::OUT,
    };
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let timeout = Timespec {
        tv_sec: i64::try_from(slice.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(slice.subsec_nanos()),
    };
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        // A signal: the caller looks at its flag and comes back.
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buf),
            Self::Tcp(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buf),
            Self::Tcp(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The system's words for an error, without Rust's "(os error N)".
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// The addresses that a host stands for. Name resolution happens in a thread of its own because nothing can stop it.
pub(super) fn addresses(host: &Host, plan: &Plan, options: &ConnectOptions) -> Result<Vec<Address>, Error> {
    let (name, port) = match &host.place {
        Place::Unix { path, .. } => return Ok(vec![Address::Unix(path.clone())]),
        Place::Name(name) => (name.clone(), host.port),
        Place::Address { address, .. } => (address.clone(), host.port),
    };
    if let Ok(ip) = name.parse() {
        return Ok(vec![Address::Tcp(SocketAddr::new(ip, port))]);
    }
    let failed = |reason: String| Error::Connect {
        address: host.label(),
        reason,
        sqlstate: None,
    };
    if matches!(host.place, Place::Address { .. }) && !is_numeric(&name) {
        return Err(failed(format!("could not parse network address \"{name}\"")));
    }
    let query = name.clone();
    let resolve = move || (query.as_str(), port).to_socket_addrs().map(Iterator::collect);
    let deadline = Deadline::after(Some(plan.connect_timeout));
    match look_up(resolve, options, deadline)? {
        Ok(found) => Ok(found.into_iter().map(Address::Tcp).collect()),
        Err(reason) => Err(failed(format!(
            "could not translate host name \"{name}\" to address: {reason}"
        ))),
    }
}

/// Asks the resolver in a thread of its own; the reason if there is no answer.
fn look_up(
    resolve: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    options: &ConnectOptions,
    deadline: Deadline,
) -> Result<Result<Vec<SocketAddr>, String>, Error> {
    let (sender, receiver) = mpsc::channel();
    let spawned = std::thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            let _ = sender.send(resolve());
        });
    if let Err(error) = spawned {
        return Ok(Err(describe(&error)));
    }
    loop {
        let Some(slice) = deadline.slice() else {
            return Ok(Err("timeout expired".to_owned()));
        };
        match receiver.recv_timeout(slice) {
            Ok(Ok(found)) => return Ok(Ok(found)),
            Ok(Err(error)) => {
                return Ok(Err(
                    describe(&error).replace("failed to lookup address information: ", "")
                ));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Ok(Err("the resolver has failed".to_owned()));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if options.interrupted() {
            return Err(Error::Interrupted { doing: DOING.into() });
        }
    }
}

/// Whether the resolver takes it for an address without asking anybody: IPv6 with a zone (`fe80::1%eth0`), IPv4 in short
/// (`127.1`).
fn is_numeric(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, _)) => address.parse::<Ipv6Addr>().is_ok(),
        None => text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())),
    }
}

/// A Unix socket's address: a leading `@` stands for the zero byte of one that is not in the file system.
fn unix_address(path: &Path) -> io::Result<socket2::SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    let name = match bytes.strip_prefix(b"@") {
        Some(rest) => OsString::from_vec([b"\0", rest].concat()),
        None => path.as_os_str().to_owned(),
    };
    socket2::SockAddr::unix(&name).map_err(|_| {
        let what = format!(
            "Unix-domain socket path \"{}\" is too long (maximum 107 bytes)",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// Opens a connection to one address.
pub(super) fn connect(
    address: &Address,
    settings: &SocketSettings,
    options: &ConnectOptions,
    deadline: Deadline,
) -> Result<Socket, Error> {
    use socket2::{Domain, SockAddr, Type};

    let broken = |source: io::Error| Error::Io {
        doing: DOING.into(),
        address: String::new(),
        source,
    };
    let (domain, target) = match address {
        Address::Unix(path) => (Domain::UNIX, unix_address(path).map_err(broken)?),
        Address::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
    };
    let socket = socket2::Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None).map_err(broken)?;
    if domain != Domain::UNIX {
        socket.set_tcp_nodelay(true).map_err(broken)?;
        if let Some(keepalive) = settings.keepalive {
            let keepalive = socket2::TcpKeepalive::new()
                .with_time(keepalive.idle)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.retries);
            socket.set_tcp_keepalive(&keepalive).map_err(broken)?;
        }
        if settings.user_timeout.is_some() {
            socket
                .set_tcp_user_timeout(settings.user_timeout)
                .map_err(broken)?;
        }
    }
    loop {
        match socket.connect(&target) {
            Ok(()) => break,
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
                wait_connected(&socket, options, deadline)?;
                break;
            }
            // A Unix socket whose backlog is full says so instead of waiting.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let Some(slice) = deadline.slice() else {
                    return Err(expired());
                };
                std::thread::sleep(slice.min(LOOK / 10));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                wait_connected(&socket, options, deadline)?;
                break;
            }
            Err(error) => return Err(broken(error)),
        }
        if options.interrupted() {
            return Err(Error::Interrupted { doing: DOING.into() });
        }
    }
    Ok(match address {
        Address::Unix(_) => Socket::Unix(UnixStream::from(std::os::fd::OwnedFd::from(socket))),
        Address::Tcp(_) => Socket::Tcp(TcpStream::from(socket)),
    })
}

/// Looks whether the server at a Unix socket runs as this role of the system (`requirepeer`).
pub(super) fn check_peer(stream: &UnixStream, wanted: &str) -> Result<(), String> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)
        .map_err(|error| format!("could not get peer credentials: {}", describe(&error.into())))?;
    let uid = nix::unistd::Uid::from_raw(credentials.uid.as_raw());
    let actual = nix::unistd::User::from_uid(uid)
        .ok()
        .flatten()
        .map(|user| user.name)
        .ok_or_else(|| format!("local user with ID {uid} does not exist"))?;
    if actual == wanted {
        return Ok(());
    }
    Err(format!(
        "requirepeer specifies \"{wanted}\", but actual peer user name is \"{actual}\""
    ))
}

fn expired() -> Error {
    Error::Timeout {
        doing: DOING.into(),
        address: String::new(),
        after: Duration::ZERO,
    }
}

fn wait_connected(
    socket: &socket2::Socket,
    options: &ConnectOptions,
    deadline: Deadline,
) -> Result<(), Error> {
    let broken = |source: io::Error| Error::Io {
        doing: DOING.into(),
        address: String::new(),
        source,
    };
    loop {
        if options.interrupted() {
            return Err(Error::Interrupted { doing: DOING.into() });
        }
        let Some(slice) = deadline.slice() else {
            return Err(expired());
        };
        if wait_fd(socket.as_fd(), Ready::Write, slice).map_err(broken)? {
            return match socket.take_error().map_err(broken)? {
                None => Ok(()),
                Some(error) => Err(broken(error)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_resolver_that_hangs_is_left() {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let hangs = || {
            let ended = Arc::clone(&ended);
            move || {
                let _ = ended.lock().unwrap().recv();
                Ok(Vec::new())
            }
        };
        let begin = Instant::now();
        let options = ConnectOptions::default();
        let short = Deadline::after(Some(Duration::from_millis(100)));
        let outcome = look_up(hangs(), &options, short).unwrap();
        assert_eq!(outcome, Err("timeout expired".to_owned()));
        let stopped = options.with_interrupt(Arc::new(AtomicBool::new(true)));
        let long = Deadline::after(Some(Duration::from_secs(60)));
        assert!(look_up(hangs(), &stopped, long).unwrap_err().is_interrupted());
        assert!(begin.elapsed() < Duration::from_secs(20));
        drop(end);
    }

    #[test]
    fn addresses_are_told_from_names() {
        for text in ["127.1", "2130706433", "fe80::1%lo", "::1%1"] {
            assert!(is_numeric(text), "{text}");
        }
        for text in ["localhost", "a.b", "1.2.x", "lo%0", "", "1..2", "::1"] {
            assert!(!is_numeric(text), "{text}");
        }
    }
}
