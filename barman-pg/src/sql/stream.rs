//! An authenticated connection as the driver wants it: a stream on which it may run its own start-up. The connector has
//! done that already (with the encryption, the checks and the deadlines that the driver does not have), so the driver's
//! start-up packet is swallowed here, and the answer that it waits for is made of what the server had said.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::connect::{Channel, Ready, Socket, Stuck};

/// The stream.
pub(super) struct Established {
    channel: Channel,
    readiness: Readiness,
    /// What the driver reads first.
    greeting: Vec<u8>,
    greeted: usize,
    swallowing: Swallowing,
}

/// How much of the driver's start-up packet has been seen: it begins with its own length.
enum Swallowing {
    Length(Vec<u8>),
    Body(u32),
    Done,
}

impl Established {
    /// Takes over a connection that waits for its first command. `rest` is what has come and was not looked at. Must be
    /// called within a runtime.
    pub(super) fn new(
        channel: Channel,
        parameters: &BTreeMap<String, String>,
        rest: &[u8],
    ) -> io::Result<Self> {
        let mut greeting = Vec::new();
        message(&mut greeting, b'R', &[&[0; 4]]);
        for (name, value) in parameters {
            message(
                &mut greeting,
                b'S',
                &[name.as_bytes(), b"\0", value.as_bytes(), b"\0"],
            );
        }
        // The driver demands a key; the real one is with the connector.
        message(&mut greeting, b'K', &[&[0; 8]]);
        message(&mut greeting, b'Z', &[b"I"]);
        greeting.extend_from_slice(rest);
        Ok(Self {
            readiness: Readiness::of(channel.socket())?,
            channel,
            greeting,
            greeted: 0,
            swallowing: Swallowing::Length(Vec::new()),
        })
    }

    /// Takes off the front what belongs to the start-up packet; how many bytes that were.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        match &mut self.swallowing {
            Swallowing::Done => 0,
            Swallowing::Length(seen) => {
                let missing = 4_usize.saturating_sub(seen.len()).min(bytes.len());
                seen.extend_from_slice(bytes.get(..missing).unwrap_or_default());
                if let Ok(length) = <[u8; 4]>::try_from(seen.as_slice()) {
                    self.swallowing = Swallowing::Body(u32::from_be_bytes(length).saturating_sub(4));
                }
                missing
            }
            Swallowing::Body(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u32::try_from(taken).unwrap_or(*left);
                if *left == 0 {
                    self.swallowing = Swallowing::Done;
                }
                taken
            }
        }
    }

    /// Runs an operation as soon as the socket allows it. An encrypted read may have to wait for a write and the other
    /// way round, and may succeed without the socket being ready at all.
    fn poll_channel(
        &mut self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&mut Channel) -> Result<usize, Stuck>,
    ) -> Poll<io::Result<usize>> {
        let mut awaited = match operation(&mut self.channel) {
            Ok(count) => return Poll::Ready(Ok(count)),
            Err(Stuck::Failed(error)) => return Poll::Ready(Err(error)),
            Err(Stuck::Until(ready)) => ready,
        };
        loop {
            ready!(self.readiness.poll(cx, awaited))?;
            let mut other = None;
            let channel = &mut self.channel;
            let outcome = self.readiness.attempt(awaited, || match operation(channel) {
                Ok(count) => Ok(count),
                Err(Stuck::Failed(error)) => Err(error),
                Err(Stuck::Until(ready)) if ready == awaited => Err(io::ErrorKind::WouldBlock.into()),
                Err(Stuck::Until(ready)) => {
                    other = Some(ready);
                    Ok(0)
                }
            });
            match (outcome, other) {
                (_, Some(ready)) => awaited = ready,
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (outcome, None) => return Poll::Ready(outcome),
            }
        }
    }
}

/// The runtime's view of the socket: a second handle that is only waited on.
enum Readiness {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

impl Readiness {
    fn of(socket: &Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Unix(stream) => Self::Unix(tokio::net::UnixStream::from_std(stream.try_clone()?)?),
            Socket::Tcp(stream) => Self::Tcp(tokio::net::TcpStream::from_std(stream.try_clone()?)?),
        })
    }

    fn poll(&self, cx: &mut Context<'_>, ready: Ready) -> Poll<io::Result<()>> {
        match (self, ready) {
            (Self::Unix(stream), Ready::Read) => stream.poll_read_ready(cx),
            (Self::Unix(stream), Ready::Write) => stream.poll_write_ready(cx),
            (Self::Tcp(stream), Ready::Read) => stream.poll_read_ready(cx),
            (Self::Tcp(stream), Ready::Write) => stream.poll_write_ready(cx),
        }
    }

    /// Runs an operation on the other handle; the runtime waits anew if it would block.
    fn attempt<T>(&self, ready: Ready, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let interest = match ready {
            Ready::Read => Interest::READABLE,
            Ready::Write => Interest::WRITABLE,
        };
        match self {
            Self::Unix(stream) => stream.try_io(interest, operation),
            Self::Tcp(stream) => stream.try_io(interest, operation),
        }
    }
}

/// One message of a server.
fn message(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    out.push(tag);
    // Reported parameters are bounded: never near the limit.
    out.extend(u32::try_from(body + 4).unwrap_or(u32::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

impl AsyncRead for Established {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(greeting) = this.greeting.get(this.greeted..).filter(|rest| !rest.is_empty()) {
            let part = greeting.get(..buf.remaining()).unwrap_or(greeting);
            buf.put_slice(part);
            this.greeted += part.len();
            return Poll::Ready(Ok(()));
        }
        let room = buf.initialize_unfilled();
        let count = ready!(this.poll_channel(cx, |channel| channel.read(room)))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Established {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let swallowed = self.swallow(buf);
        if swallowed > 0 {
            return Poll::Ready(Ok(swallowed));
        }
        self.poll_channel(cx, |channel| channel.write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channel.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn the_start_up_is_played_to_the_driver_and_the_rest_goes_through() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let parameters = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            let channel = Channel::Plain(Socket::Unix(ours));
            let mut stream = Established::new(channel, &parameters, b"more").unwrap();
            // A start-up packet in pieces, with the first command behind it.
            for part in [&b"\0\0"[..], b"\0\x09abc", b"deQfirst"] {
                stream.write_all(part).await.unwrap();
            }
            let mut greeting = Vec::new();
            while !greeting.ends_with(b"more") {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                greeting.extend(byte);
            }
            assert_eq!(
                greeting,
                b"R\0\0\0\x08\0\0\0\0S\0\0\0\x08a\0b\0K\0\0\0\x0c\0\0\0\0\0\0\0\0Z\0\0\0\x05Imore"
            );
            let mut command = [0; 6];
            theirs.read_exact(&mut command).unwrap();
            assert_eq!(&command, b"Qfirst");
            let answering = std::thread::spawn(move || theirs.write_all(b"answer").unwrap());
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
            answering.join().unwrap();
        });
    }
}
