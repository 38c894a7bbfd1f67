//! A connection to a server, in clear or encrypted, that never blocks.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

use super::{Ready, Socket};
use crate::tls::TlsSession;

/// How much is decrypted in one go; a record of TLS is at most this long.
const RECORD: usize = 16 * 1024;

/// Why nothing was read or written.
#[derive(Debug)]
pub(crate) enum Stuck {
    /// It is possible when the socket is ready for this. An encrypted read may have to wait for a write.
    Until(Ready),
    /// The connection is broken.
    Failed(io::Error),
}

impl From<io::Error> for Stuck {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The connection.
pub(crate) enum Channel {
    Plain(Socket),
    Tls(Box<TlsSession>),
}

impl Channel {
    /// The socket under it.
    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => session.socket(),
        }
    }

    /// Whether everything on it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Waits at most `slice` until the socket is ready; false if it is not yet.
    pub(crate) fn wait(&self, ready: Ready, slice: Duration) -> io::Result<bool> {
        self.socket().wait(ready, slice)
    }

    /// Appends what is there to the buffer, up to its capacity; nothing is there any more if the answer is 0.
    pub(crate) fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Stuck> {
        match self {
            Self::Plain(socket) => loop {
                return match rustix::net::recv(
                    socket.as_fd(),
                    rustix::buffer::spare_capacity(buffer),
                    RecvFlags::empty(),
                ) {
                    Ok((count, _)) => Ok(count),
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => Err(Stuck::Until(Ready::Read)),
                    Err(error) => Err(Stuck::Failed(error.into())),
                };
            },
            Self::Tls(session) => {
                // The cipher writes into memory that must hold something before.
                let (before, mut total) = (buffer.len(), 0);
                loop {
                    let at = before + total;
                    let room = (buffer.capacity() - at).min(RECORD);
                    buffer.resize(at + room, 0);
                    let outcome = session.read(buffer.get_mut(at..).unwrap_or_default());
                    let count = *outcome.as_ref().unwrap_or(&0);
                    total += count;
                    buffer.truncate(before + total);
                    match outcome {
                        Ok(0) => return Ok(total),
                        Ok(_) if buffer.capacity() - buffer.len() >= RECORD => {}
                        Err(stuck) if total == 0 => return Err(stuck),
                        // What went wrong after something has come is seen again by the next call.
                        _ => return Ok(total),
                    }
                }
            }
        }
    }

    /// Reads what is there into `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stuck> {
        match self {
            Self::Plain(socket) => retried(Ready::Read, || socket.read(buffer)),
            Self::Tls(session) => session.read(buffer),
        }
    }

    /// Sends what can be sent at once.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Stuck> {
        match self {
            Self::Plain(socket) => retried(Ready::Write, || socket.write(bytes)),
            Self::Tls(session) => session.write(bytes),
        }
    }

    /// Ends the sending side, as far as that is possible without waiting.
    pub(crate) fn close(&mut self) {
        if let Self::Tls(session) = self {
            session.close();
        }
        let _ = rustix::net::shutdown(self.socket().as_fd(), Shutdown::Write);
    }
}

fn retried(ready: Ready, mut operation: impl FnMut() -> io::Result<usize>) -> Result<usize, Stuck> {
    loop {
        return match operation() {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Stuck::Until(ready)),
            Err(error) => Err(Stuck::Failed(error)),
        };
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
