//! Decompresses formats whose libraries take one member (gzip), stream (bzip2, xz) or frame (zstd) at a time: goes
//! from one to the next, and tells an end from a cut.

use std::io::{self, Read};

use super::error::{DecodeError, Fault};
use super::input::{Input, is_skippable};
#[cfg(feature = "gzip")]
use super::parts::Parts;
use super::{Algorithm, CodecError};

/// Memory for the dictionary of one xz stream, bytes: twice what `xz -9` takes. The window of a zstd frame gets as much.
#[cfg(any(feature = "xz", feature = "zstd"))]
const MEMORY: u64 = 128 << 20;
#[cfg(feature = "zstd")]
const WINDOW_LOG: u32 = MEMORY.trailing_zeros();

/// Reads one member after the other.
pub(super) struct Members<R> {
    input: Input<R>,
    algorithm: Algorithm,
    engine: Engine,
    state: State,
    /// The number of the member that must follow: what was read is one of several.
    #[cfg(feature = "gzip")]
    awaited: Option<u32>,
    /// The members that were read as wholes; what is in them comes before what `state` tells.
    #[cfg(feature = "gzip")]
    parts: Parts,
    /// Of the input, while there are still members from before it.
    #[cfg(feature = "gzip")]
    late: Option<io::Error>,
}

enum State {
    /// Before the first member.
    Start,
    Inside,
    /// In a member of so many bytes that is read as a whole.
    #[cfg(feature = "gzip")]
    Part(usize),
    /// Behind a member.
    Between,
    Done,
    Failed(DecodeError),
}

enum Engine {
    #[cfg(feature = "gzip")]
    Gzip(flate2::Decompress),
    #[cfg(feature = "bzip2")]
    Bzip2(bzip2::Decompress),
    #[cfg(feature = "xz")]
    Xz(liblzma::stream::Stream),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::raw::Decoder<'static>),
}

/// What one step did.
struct Step {
    read: usize,
    written: usize,
    /// The member is complete.
    ended: bool,
}

impl Engine {
    fn new(algorithm: Algorithm) -> Result<Self, CodecError> {
        match algorithm.format() {
            #[cfg(feature = "gzip")]
            Algorithm::Gzip => Ok(Self::Gzip(flate2::Decompress::new_gzip(15))),
            #[cfg(feature = "bzip2")]
            Algorithm::Bzip2 => Ok(Self::Bzip2(bzip2::Decompress::new(false))),
            #[cfg(feature = "xz")]
            Algorithm::Xz => liblzma::stream::Stream::new_stream_decoder(MEMORY, 0)
                .map(Self::Xz)
                .map_err(|error| setup(algorithm, &error)),
            #[cfg(feature = "zstd")]
            Algorithm::Zstd => {
                use zstd::stream::raw::{DParameter, Decoder};
                let mut decoder = Decoder::new().map_err(|error| setup(algorithm, &error))?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
                    .map_err(|error| setup(algorithm, &error))?;
                Ok(Self::Zstd(decoder))
            }
            _ => Err(CodecError::NotAvailable(algorithm)),
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip(engine) => {
                let before = (engine.total_in(), engine.total_out());
                let status = engine
                    .decompress(input, output, flate2::FlushDecompress::None)
                    .map_err(corrupt)?;
                Ok(Step {
                    read: difference(engine.total_in(), before.0),
                    written: difference(engine.total_out(), before.1),
                    ended: status == flate2::Status::StreamEnd,
                })
            }
            #[cfg(feature = "bzip2")]
            Self::Bzip2(engine) => {
                let before = (engine.total_in(), engine.total_out());
                let status = engine.decompress(input, output).map_err(corrupt)?;
                Ok(Step {
                    read: difference(engine.total_in(), before.0),
                    written: difference(engine.total_out(), before.1),
                    ended: matches!(status, bzip2::Status::StreamEnd),
                })
            }
            #[cfg(feature = "xz")]
            Self::Xz(engine) => {
                use liblzma::stream::{Action, Error, Status};
                let before = (engine.total_in(), engine.total_out());
                let status = engine
                    .process(input, output, Action::Run)
                    .map_err(|error| match error {
                        Error::MemLimit | Error::Mem => too_big(),
                        other => corrupt(other),
                    })?;
                Ok(Step {
                    read: difference(engine.total_in(), before.0),
                    written: difference(engine.total_out(), before.1),
                    ended: matches!(status, Status::StreamEnd),
                })
            }
            #[cfg(feature = "zstd")]
            Self::Zstd(engine) => {
                use zstd::stream::raw::Operation;
                let status = engine.run_on_buffers(input, output).map_err(|error| {
                    // The library gives its error as text only.
                    if error.to_string().contains("too much memory") {
                        too_big()
                    } else {
                        corrupt(error)
                    }
                })?;
                Ok(Step {
                    read: status.bytes_read,
                    written: status.bytes_written,
                    ended: status.remaining == 0,
                })
            }
        }
    }
}

#[cfg(any(feature = "xz", feature = "zstd"))]
fn setup(algorithm: Algorithm, error: &dyn std::error::Error) -> CodecError {
    CodecError::Setup {
        algorithm,
        reason: error.to_string(),
    }
}

fn corrupt(error: impl std::error::Error) -> Fault {
    Fault::Corrupt(error.to_string())
}

#[cfg(any(feature = "xz", feature = "zstd"))]
const fn too_big() -> Fault {
    Fault::TooBig { limit: MEMORY >> 20 }
}

#[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz"))]
fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

impl<R: Read> Members<R> {
    pub(super) fn new(algorithm: Algorithm, threads: usize, input: R) -> Result<Self, CodecError> {
        #[cfg(not(feature = "gzip"))]
        let _ = threads;
        Ok(Self {
            input: Input::new(input),
            algorithm: algorithm.format(),
            engine: Engine::new(algorithm)?,
            state: State::Start,
            #[cfg(feature = "gzip")]
            awaited: None,
            #[cfg(feature = "gzip")]
            parts: Parts::new(threads),
            #[cfg(feature = "gzip")]
            late: None,
        })
    }

    /// Looks whether a member begins here, at `first` or later.
    fn begin(&mut self, first: bool) -> io::Result<Result<State, Fault>> {
        if !first && let Some(fault) = self.skip_padding()? {
            return Ok(Err(fault));
        }
        #[cfg(feature = "gzip")]
        if self.algorithm == Algorithm::Gzip {
            match self.follow_labels()? {
                Ok(Some(length)) => return Ok(Ok(State::Part(length))),
                Ok(None) => {}
                Err(fault) => return Ok(Err(fault)),
            }
        }
        let magic = self.algorithm.magic();
        let head = self.input.peek(magic.len())?;
        if head.is_empty() {
            return Ok(if first {
                Err(Fault::Truncated)
            } else {
                Ok(State::Done)
            });
        }
        let is_zstd = self.algorithm == Algorithm::Zstd;
        if head.starts_with(magic) || (is_zstd && is_skippable(head)) {
            // One that is not at its beginning cannot be used again, but for zstd's, which starts over by itself.
            if !first && !is_zstd {
                match Engine::new(self.algorithm) {
                    Ok(engine) => self.engine = engine,
                    Err(error) => return Err(io::Error::new(io::ErrorKind::OutOfMemory, error)),
                }
            }
            return Ok(Ok(State::Inside));
        }
        Ok(Err(if magic.starts_with(head) {
            Fault::Truncated
        } else if first {
            Fault::Corrupt("it does not begin like it".to_owned())
        } else {
            Fault::TrailingGarbage
        }))
    }

    /// Passes over what may stand behind a member. Tapes and block devices fill up with zeros, which `gzip` allows at
    /// the end; the xz format has padding of four zeros each between streams and at the end.
    fn skip_padding(&mut self) -> io::Result<Option<Fault>> {
        let unit = match self.algorithm {
            Algorithm::Gzip => 1,
            Algorithm::Xz => 4,
            _ => return Ok(None),
        };
        let zeros = self.input.skip_zeros()?;
        let at_end = self.input.peek(1)?.is_empty();
        Ok(match zeros % unit {
            0 if zeros == 0 || at_end || self.algorithm == Algorithm::Xz => None,
            _ if at_end => Some(Fault::Truncated),
            _ => Some(Fault::TrailingGarbage),
        })
    }

    /// Whether the next member, or the end, is what the members before it ask for. The length of the member if its
    /// label tells it.
    #[cfg(feature = "gzip")]
    fn follow_labels(&mut self) -> io::Result<Result<Option<usize>, Fault>> {
        use super::gzip::Label;
        let head = self.input.peek(Label::HEADER)?;
        let cut = head.len() < Label::HEADER;
        let label = Label::of(head);
        let corrupt = |what: String| Ok(Err(Fault::Corrupt(what)));
        match (self.awaited, label) {
            (Some(_), None) if cut => return Ok(Err(Fault::Truncated)),
            (Some(number), label) if label.is_none_or(|label| label.number != number) => {
                return corrupt(format!("its part {number} is missing"));
            }
            (None, Some(label)) if label.number != 0 => {
                return corrupt("its beginning is missing".to_owned());
            }
            _ => {}
        }
        self.awaited = label
            .filter(|label| !label.last)
            .and_then(|label| label.number.checked_add(1));
        let Some(label) = label else {
            return Ok(Ok(None));
        };
        match label.possible_length() {
            Some(length) => Ok(Ok(Some(length))),
            None => corrupt(format!("no part can have {} bytes", label.length)),
        }
    }

    /// Goes on in the input up to where `read` must act; with several threads, some members further than what is read.
    #[cfg(feature = "gzip")]
    fn read_ahead(&mut self) -> io::Result<()> {
        while self.parts.has_room() {
            let found = match self.state {
                State::Part(length) => self.parts.fetch(&mut self.input, length).map(|whole| {
                    if whole {
                        Ok(State::Between)
                    } else {
                        Err(Fault::Truncated)
                    }
                }),
                State::Between if !self.parts.is_empty() => self.begin(false),
                _ => return Ok(()),
            };
            match found? {
                Ok(state) => self.state = state,
                Err(what) => drop(self.fail(what)),
            }
        }
        Ok(())
    }

    /// Content of the members that are read as wholes; 0: what comes next is not in them.
    #[cfg(feature = "gzip")]
    fn read_parts(&mut self, output: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.parts.give(output);
            if count > 0 {
                return Ok(count);
            }
            if self.late.is_none() {
                self.late = self.read_ahead().err();
            }
            if self.parts.is_empty() {
                return self.late.take().map_or(Ok(0), Err);
            }
            if let Err(what) = self.parts.advance() {
                self.late = None;
                return Err(self.fail(what));
            }
        }
    }

    fn fail(&mut self, what: Fault) -> io::Error {
        let error = DecodeError {
            algorithm: self.algorithm,
            what,
        };
        self.state = State::Failed(error.clone());
        error.into()
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        loop {
            #[cfg(feature = "gzip")]
            match self.read_parts(output)? {
                0 => {}
                count => return Ok(count),
            }
            match &self.state {
                State::Done => return Ok(0),
                #[cfg(feature = "gzip")]
                State::Part(_) => {}
                State::Failed(error) => return Err(error.clone().into()),
                State::Start | State::Between => {
                    let first = matches!(self.state, State::Start);
                    match self.begin(first)? {
                        Ok(state) => self.state = state,
                        Err(what) => return Err(self.fail(what)),
                    }
                }
                State::Inside => {
                    let input = self.input.peek(1)?;
                    let at_end = input.is_empty();
                    let step = match self.engine.step(input, output) {
                        Ok(step) => step,
                        Err(what) => return Err(self.fail(what)),
                    };
                    self.input.consume(step.read);
                    if step.ended {
                        self.state = State::Between;
                    }
                    if step.written > 0 {
                        return Ok(step.written);
                    }
                    if !step.ended && step.read == 0 {
                        return Err(self.fail(if at_end {
                            Fault::Truncated
                        } else {
                            Fault::Corrupt("it leads nowhere".to_owned())
                        }));
                    }
                }
            }
        }
    }
}
