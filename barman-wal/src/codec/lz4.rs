//! Frames of lz4 in a row. The library decodes frames, but takes an end between two blocks for the end of the frame:
//! here the framing is followed along, so that a cut is told from an end. Each frame gets a decoder of its own, because
//! the library's cannot go on with blocks of another size.

use std::io::{self, Read};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::Algorithm;
use super::error::{DecodeError, Fault};
use super::input::{Input, is_skippable};

/// Magic number, flags, block descriptor.
const HEAD: usize = 6;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;
/// Of a block's length: the block is not compressed.
const UNCOMPRESSED: u32 = 1 << 31;

/// Begins a frame as `lz4` writes it, with a checksum over the content.
pub(super) fn encoder<W: io::Write>(output: W) -> FrameEncoder<W> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Independent)
        .content_checksum(true);
    FrameEncoder::with_frame_info(info, output)
}

/// Reads frame after frame.
pub(super) struct Lz4<R: Read> {
    /// Always there.
    decoder: Option<FrameDecoder<Frame<R>>>,
    failed: Option<DecodeError>,
    first: bool,
}

/// The bytes of one frame, and where it is in it.
struct Frame<R> {
    input: Input<R>,
    phase: Phase,
    flags: u8,
    /// How many bytes may be handed out before looking again.
    pass: u64,
    /// The input ended within the frame.
    cut: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No frame has begun.
    Outside,
    /// A block, or the end mark, comes behind what may be handed out.
    Blocks,
    /// The end of the frame does.
    End,
}

impl<R: Read> Lz4<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            decoder: Some(FrameDecoder::new(Frame {
                input: Input::new(input),
                phase: Phase::Outside,
                flags: 0,
                pass: 0,
                cut: false,
            })),
            failed: None,
            first: true,
        }
    }

    fn fail(&mut self, what: Fault) -> io::Error {
        let error = DecodeError {
            algorithm: Algorithm::Lz4,
            what,
        };
        self.failed = Some(error.clone());
        error.into()
    }
}

impl<R: Read> Read for Lz4<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        loop {
            let Some(decoder) = &mut self.decoder else {
                return Ok(0);
            };
            if decoder.get_ref().phase == Phase::Outside {
                match decoder.get_mut().begin(self.first)? {
                    Ok(true) => self.first = false,
                    Ok(false) => return Ok(0),
                    Err(what) => return Err(self.fail(what)),
                }
            }
            let result = decoder.read(output);
            let frame = decoder.get_mut();
            match result {
                Ok(0) if frame.cut => return Err(self.fail(Fault::Truncated)),
                Ok(0) if frame.phase == Phase::End && frame.pass == 0 => {
                    frame.phase = Phase::Outside;
                    let frame = self.decoder.take().map(FrameDecoder::into_inner);
                    self.decoder = frame.map(FrameDecoder::new);
                }
                // An empty block.
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(_) if frame.cut => return Err(self.fail(Fault::Truncated)),
                Err(error) => {
                    let own = error
                        .get_ref()
                        .and_then(|inner| inner.downcast_ref::<lz4_flex::frame::Error>())
                        .map(ToString::to_string);
                    return Err(match own {
                        Some(text) => self.fail(Fault::Corrupt(text)),
                        None => error,
                    });
                }
            }
        }
    }
}

impl<R: Read> Frame<R> {
    /// Goes to the next frame; `Ok(false)` if there is none. Skippable frames are skipped.
    fn begin(&mut self, first: bool) -> io::Result<Result<bool, Fault>> {
        let magic = Algorithm::Lz4.magic();
        let mut first = first;
        loop {
            let head = self.input.peek(HEAD.max(8))?;
            match head {
                [] => return Ok(if first { Err(Fault::Truncated) } else { Ok(false) }),
                [_, _, _, _, a, b, c, d, ..] if is_skippable(head) => {
                    let length = u32::from_le_bytes([*a, *b, *c, *d]);
                    self.input.consume(8);
                    if !self.input.skip(u64::from(length))? {
                        return Ok(Err(Fault::Truncated));
                    }
                    first = false;
                }
                [_, _, _, _, flags, _, ..] if head.starts_with(magic) => {
                    self.flags = *flags;
                    let size = if flags & CONTENT_SIZE > 0 { 8 } else { 0 };
                    let dictionary = if flags & DICTIONARY > 0 { 4 } else { 0 };
                    // The last byte is the checksum of the header.
                    self.pass = 7 + size + dictionary;
                    self.phase = Phase::Blocks;
                    return Ok(Ok(true));
                }
                _ if head.starts_with(magic) || magic.starts_with(head) || is_skippable(head) => {
                    return Ok(Err(Fault::Truncated));
                }
                _ if first => return Ok(Err(Fault::Corrupt("it does not begin like it".to_owned()))),
                _ => return Ok(Err(Fault::TrailingGarbage)),
            }
        }
    }

    /// Looks at what comes next in the frame; `false` if nothing may.
    fn advance(&mut self) -> io::Result<bool> {
        if self.phase != Phase::Blocks {
            return Ok(false);
        }
        let [a, b, c, d, ..] = self.input.peek(4)? else {
            self.cut = true;
            return Ok(false);
        };
        let length = u32::from_le_bytes([*a, *b, *c, *d]);
        let checksum = |flag| if self.flags & flag > 0 { 4 } else { 0 };
        if length == 0 {
            self.phase = Phase::End;
            self.pass = 4 + checksum(CONTENT_CHECKSUM);
        } else {
            self.pass = 4 + u64::from(length & !UNCOMPRESSED) + checksum(BLOCK_CHECKSUMS);
        }
        Ok(true)
    }
}

impl<R: Read> Read for Frame<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.pass == 0 && !self.advance()? {
            return Ok(0);
        }
        let most = usize::try_from(self.pass).unwrap_or(usize::MAX).min(output.len());
        let count = self.input.read(output.get_mut(..most).unwrap_or_default())?;
        if count == 0 && most > 0 {
            self.cut = true;
        }
        self.pass = self.pass.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}
