//! A stream that watches the framing of what a server sends, because the driver behind it believes every length: a
//! message of an impossible length ends the connection before anything is reserved for it, and so does an answer that
//! does not end, which the driver would collect.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest message, and the longest answer to one statement, that is let through. The longest that is ever asked
/// for are a few hundred rows of settings.
const LIMIT: u32 = 16 * 1024 * 1024;

/// The watching stream.
pub(super) struct Guarded<S> {
    inner: S,
    /// Bytes of the message at hand that are still to come.
    remaining: u32,
    header: [u8; 5],
    header_length: usize,
    /// Bytes that have come since we last sent something.
    answered: u64,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            remaining: 0,
            header: [0; 5],
            header_length: 0,
            answered: 0,
        }
    }

    /// Follows the bytes; false if they cannot be a server's messages.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        self.answered = self.answered.saturating_add(bytes.len() as u64);
        if self.answered > u64::from(LIMIT) {
            return false;
        }
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let skip = usize::try_from(self.remaining)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.remaining -= u32::try_from(skip).unwrap_or(self.remaining);
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            let Some((first, rest)) = bytes.split_first() else {
                break;
            };
            if let Some(slot) = self.header.get_mut(self.header_length) {
                *slot = *first;
            }
            self.header_length += 1;
            bytes = rest;
            if self.header_length == self.header.len() {
                let [_, a, b, c, d] = self.header;
                let length = u32::from_be_bytes([a, b, c, d]);
                if !(4..=LIMIT).contains(&length) {
                    return false;
                }
                self.remaining = length - 4;
                self.header_length = 0;
            }
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = outcome
            && !self.follow(buf.filled().get(before..).unwrap_or_default())
        {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "message or answer of impossible length",
            )));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.answered = 0;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(chunks: &[&[u8]]) -> bool {
        let mut guard = Guarded::new(());
        chunks.iter().all(|chunk| guard.follow(chunk))
    }

    #[test]
    fn whole_and_cut_messages_pass_and_impossible_lengths_do_not() {
        assert!(accepts(&[b"Z\0\0\0\x05I", b"R\0\0\0\x08\0\0\0\0"]));
        assert!(accepts(&[b"Z\0\0", b"\0\x05I", b"D\0\0\x10\0"]));
        assert!(!accepts(&[b"Z\0\0\0\x05I", b"D\x7f\xff\xff", b"\xff"]));
        assert!(!accepts(&[b"Z\0\0\0\x03"]));
        let mut row = b"D\0\x10\0\0".to_vec();
        row.resize((1 << 20) + 1, 0);
        assert!(accepts(&vec![row.as_slice(); 15]));
        assert!(!accepts(&vec![row.as_slice(); 17]));
    }
}
