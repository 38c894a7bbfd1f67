//! The framing of snappy ("framing_format.txt" of the snappy project). The library decodes it; here the chunks are
//! followed along, because the framing lets one changed bit make any chunk one that is passed over.

use std::io::{self, Read};

use super::Algorithm;
use super::error::{DecodeError, Fault};
use super::input::Input;

/// Kind and length.
const HEAD: usize = 4;
const PADDING: u8 = 0xFE;
/// To be passed over, says the format, and to be defined later. Nobody has; nobody writes them.
const RESERVED: std::ops::RangeInclusive<u8> = 0x80..=0xFD;

/// Reads chunk after chunk; the library goes on with further streams by itself.
pub(super) struct Snappy<R: Read> {
    decoder: snap::read::FrameDecoder<Chunks<R>>,
    failed: Option<DecodeError>,
}

/// The bytes of the chunks that have content.
struct Chunks<R> {
    input: Input<R>,
    begun: bool,
    /// How many bytes may be handed out before looking again.
    pass: u64,
    /// Why nothing is handed out any more.
    fault: Option<Fault>,
}

impl<R: Read> Snappy<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            decoder: snap::read::FrameDecoder::new(Chunks {
                input: Input::new(input),
                begun: false,
                pass: 0,
                fault: None,
            }),
            failed: None,
        }
    }

    fn fail(&mut self, what: Fault) -> io::Error {
        let error = DecodeError {
            algorithm: Algorithm::Snappy,
            what,
        };
        self.failed = Some(error.clone());
        error.into()
    }
}

impl<R: Read> Read for Snappy<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let result = self.decoder.read(output);
        if let Some(fault) = self.decoder.get_mut().fault.take() {
            return Err(self.fail(fault));
        }
        result.map_err(|error| {
            let own = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<snap::Error>())
                .map(ToString::to_string);
            match own {
                Some(text) => self.fail(Fault::Corrupt(text)),
                None if error.kind() == io::ErrorKind::UnexpectedEof => self.fail(Fault::Truncated),
                None => error,
            }
        })
    }
}

impl<R: Read> Chunks<R> {
    /// Goes to the next chunk with content. An error is what is wrong with what comes instead.
    fn advance(&mut self) -> io::Result<Result<(), Fault>> {
        loop {
            let magic = Algorithm::Snappy.magic();
            let head = self.input.peek(magic.len())?;
            if !self.begun {
                return Ok(if head.starts_with(magic) {
                    self.begun = true;
                    self.pass = u64::try_from(magic.len()).unwrap_or(u64::MAX);
                    Ok(())
                } else if magic.starts_with(head) {
                    Err(Fault::Truncated)
                } else {
                    Err(Fault::Corrupt("it does not begin like it".to_owned()))
                });
            }
            let [kind, a, b, c, ..] = head else {
                return Ok(if head.is_empty() {
                    Ok(())
                } else {
                    Err(Fault::Truncated)
                });
            };
            let (kind, length) = (*kind, u32::from_le_bytes([*a, *b, *c, 0]));
            if RESERVED.contains(&kind) {
                return Ok(Err(Fault::Corrupt(format!(
                    "it has a chunk of kind 0x{kind:02X}"
                ))));
            }
            if kind != PADDING {
                self.pass = u64::from(length).saturating_add(4);
                return Ok(Ok(()));
            }
            self.input.consume(HEAD);
            if let Err(fault) = self.pad(length)? {
                return Ok(Err(fault));
            }
        }
    }

    /// Passes over padding, which is zeros.
    fn pad(&mut self, length: u32) -> io::Result<Result<(), Fault>> {
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            let bytes = self.input.peek(1)?;
            let bytes = bytes.get(..left).unwrap_or(bytes);
            if bytes.is_empty() {
                return Ok(Err(Fault::Truncated));
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(Err(Fault::Corrupt(
                    "there is something in its padding".to_owned(),
                )));
            }
            let count = bytes.len();
            left -= count;
            self.input.consume(count);
        }
        Ok(Ok(()))
    }
}

impl<R: Read> Read for Chunks<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.pass == 0
            && let Err(fault) = self.advance()?
        {
            self.fault = Some(fault);
            return Ok(0);
        }
        let most = usize::try_from(self.pass).unwrap_or(usize::MAX).min(output.len());
        let count = self.input.read(output.get_mut(..most).unwrap_or_default())?;
        self.pass = self.pass.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}
