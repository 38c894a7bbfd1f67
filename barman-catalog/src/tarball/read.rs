//! Reading a tar archive that anybody may have written: POSIX with extended headers, GNU with long names, and what
//! came before. Member after member, in bounded memory; no name is trusted here, and none is changed.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::{BLOCK, pax};

/// An extended header, or the long name of a GNU archive, is no longer.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else (hard links, devices, sparse files ...), by its type byte.
    Other(u8),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, as written: it may be absolute or lead anywhere.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content that follow.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Where a link leads.
    pub link: Vec<u8>,
}

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// What it comes from cannot be read, or decompressed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ends in the middle.
    #[error("unexpected end of data")]
    Truncated,
    /// It is no tar archive, or a damaged one.
    #[error("{what} at byte {offset}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Where the header of the member begins, in bytes of the uncompressed archive.
        offset: u64,
    },
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<(i64, u32)>,
    sparse: bool,
}

/// Reads an archive. Between [`next`](Self::next) and the following one it gives the content of the member; what is
/// not read is skipped.
#[derive(Debug)]
pub struct TarReader<R> {
    input: R,
    /// Content of the current member still to come.
    remaining: u64,
    /// Filling up to a whole block still to come.
    padding: u64,
    /// Bytes taken from the input.
    offset: u64,
    ended: bool,
    marked: bool,
}

impl<R: Read> TarReader<R> {
    /// Begins with an uncompressed archive. `input` should be buffered.
    pub fn new(input: R) -> Self {
        Self {
            input,
            remaining: 0,
            padding: 0,
            offset: 0,
            ended: false,
            marked: false,
        }
    }

    /// Whether the archive has ended with the blocks that mark its end, and not just ended.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// What it reads from, to read what comes behind the archive.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The next member; `None` at the end.
    ///
    /// # Errors
    /// The input; an archive that ends in the middle or is none.
    #[allow(clippy::should_implement_trait, reason = "an iterator could not be read from")]
    pub fn next(&mut self) -> Result<Option<Member>, TarError> {
        self.skip()?;
        let mut extensions = Extensions::default();
        // An extended header for every member, and one or two of GNU's.
        for _ in 0..16 {
            if self.ended {
                return Ok(None);
            }
            let offset = self.offset;
            let invalid = |what| TarError::Invalid { what, offset };
            let mut block = [0; BLOCK];
            if !self.fill(&mut block)? {
                self.ended = true;
                return Ok(None);
            }
            if block.iter().all(|byte| *byte == 0) {
                self.ended = true;
                self.marked = true;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return Err(invalid("a header with a wrong checksum"));
            }
            let size = header
                .entry_size()
                .map_err(|_| invalid("a member without a size"))?;
            let kind = header.entry_type();
            match kind {
                EntryType::XHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XGlobalHeader => {
                    let content = self.extension(size, offset)?;
                    match kind {
                        EntryType::GNULongName => extensions.name = Some(until_nul(&content)),
                        EntryType::GNULongLink => extensions.link = Some(until_nul(&content)),
                        // Of the whole archive: times, comments. What names and sizes members is not believed there.
                        EntryType::XGlobalHeader => {
                            pax::parse(&content).ok_or_else(|| invalid("a malformed global header"))?;
                        }
                        _ => extensions
                            .take(&content)
                            .ok_or_else(|| invalid("a malformed extended header"))?,
                    }
                    self.skip()?;
                }
                _ => return self.member(header, size, extensions, offset).map(Some),
            }
        }
        Err(TarError::Invalid {
            what: "too many extended headers",
            offset: self.offset,
        })
    }

    fn member(
        &mut self,
        header: &Header,
        size: u64,
        extensions: Extensions,
        offset: u64,
    ) -> Result<Member, TarError> {
        let invalid = |what| TarError::Invalid { what, offset };
        let name = extensions
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let type_byte = header.entry_type().as_byte();
        let kind = match header.entry_type() {
            _ if extensions.sparse => Kind::Other(type_byte),
            // Before POSIX a directory was a file whose name ends with a slash.
            EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            _ => Kind::Other(type_byte),
        };
        let size = extensions.size.unwrap_or(size);
        // These have no content, whatever their size field says.
        let has_content = !matches!(kind, Kind::Directory | Kind::Symlink)
            && !matches!(
                header.entry_type(),
                EntryType::Link | EntryType::Char | EntryType::Block | EntryType::Fifo
            );
        let size = if has_content { size } else { 0 };
        self.begin(size);
        Ok(Member {
            name,
            kind,
            size,
            mode: header.mode().map_err(|_| invalid("a member without a mode"))? & 0o7777,
            modified: match extensions.modified {
                Some(modified) => modified,
                None => {
                    let seconds = header.mtime().map_err(|_| invalid("a member without a time"))?;
                    (i64::try_from(seconds).unwrap_or(0), 0)
                }
            },
            link: extensions
                .link
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
        })
    }

    /// The content of an extended header.
    fn extension(&mut self, size: u64, offset: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_LIMIT {
            return Err(TarError::Invalid {
                what: "an extended header of more than 1 MiB",
                offset,
            });
        }
        self.begin(size);
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }

    fn begin(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// To the next header.
    fn skip(&mut self) -> Result<(), TarError> {
        let mut scratch = [0; 16 << 10];
        // Ends with an error where there is nothing more.
        while self.read(&mut scratch)? > 0 {}
        while self.padding > 0 {
            let length = usize::try_from(self.padding).unwrap_or(BLOCK).min(BLOCK);
            let count = self.take(scratch.get_mut(..length).unwrap_or_default())?;
            if count == 0 {
                return Err(TarError::Truncated);
            }
            self.padding -= (count as u64).min(self.padding);
        }
        Ok(())
    }

    /// Fills a block; `false` when there is nothing more at all.
    fn fill(&mut self, block: &mut [u8]) -> Result<bool, TarError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.take(rest)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(TarError::Truncated),
                count => filled += count,
            }
        }
        Ok(true)
    }

    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    self.offset = self.offset.saturating_add(count as u64);
                    return Ok(count);
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl<R: Read> Read for TarReader<R> {
    /// The content of the current member.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(room) = buffer.get_mut(..length).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        let count = self.take(room)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "unexpected end of data",
            ));
        }
        self.remaining -= (count as u64).min(self.remaining);
        Ok(count)
    }
}

impl Extensions {
    /// Takes over what an extended header says.
    fn take(&mut self, content: &[u8]) -> Option<()> {
        for (keyword, value) in pax::parse(content)? {
            match keyword {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                b"mtime" => self.modified = Some(pax::time(value)?),
                // A file with holes left out: its content is a map and pieces.
                _ if keyword.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Some(())
    }
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default().to_vec()
}

/// The sum over a header with its checksum field taken as blanks.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let byte = |(at, b): (usize, &u8)| {
        if (148..156).contains(&at) {
            32
        } else {
            u32::from(*b)
        }
    };
    block.iter().enumerate().map(byte).sum()
}
