//! The inside of a record: references to blocks, images of them, data (PostgreSQL, `xlogrecord.h`).

use super::bytes::Bytes;

/// Above it block ids stand for something else (`XLR_MAX_BLOCK_ID`).
const MAX_BLOCK_ID: u8 = 32;
const BLOCK_ID_DATA_SHORT: u8 = 255;
const BLOCK_ID_DATA_LONG: u8 = 254;
const BLOCK_ID_ORIGIN: u8 = 253;
/// Since 14.
const BLOCK_ID_TOPLEVEL_XID: u8 = 252;

const BKPBLOCK_FORK_MASK: u8 = 0x0F;
const BKPBLOCK_HAS_IMAGE: u8 = 0x10;
const BKPBLOCK_HAS_DATA: u8 = 0x20;
const BKPBLOCK_WILL_INIT: u8 = 0x40;
const BKPBLOCK_SAME_REL: u8 = 0x80;

const BKPIMAGE_HAS_HOLE: u8 = 0x01;

/// A relation on disk (`RelFileLocator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RelationFile {
    /// OID of its tablespace.
    pub tablespace: u32,
    /// OID of its database; 0 for shared relations.
    pub database: u32,
    /// The number that its files are called by.
    pub number: u32,
}

/// How an image is compressed in the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageCompression {
    /// Not at all.
    None,
    /// PostgreSQL's own.
    Pglz,
    /// Since 15.
    Lz4,
    /// Since 15.
    Zstd,
    /// By a method that did not exist in 18.
    Unknown,
}

impl ImageCompression {
    /// As `pg_waldump` calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pglz => "pglz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Unknown => "unknown",
        }
    }
}

/// The image of a whole block, without the unused room in its middle (the hole).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockImage<'a> {
    /// As it is in the WAL; not expanded when compressed.
    pub bytes: &'a [u8],
    /// Where the hole begins; 0 when there is none.
    pub hole_offset: u16,
    /// How long the hole is; known when the image is compressed, else it is what is missing to a block.
    pub hole_length: Option<u16>,
    /// How `bytes` are compressed.
    pub compression: ImageCompression,
    /// Whether replay writes it (otherwise it is there for `wal_consistency_checking`).
    pub apply: bool,
}

/// A block that a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockReference<'a> {
    /// The number of the reference within the record.
    pub id: u8,
    /// The relation.
    pub relation: RelationFile,
    /// 0 main, 1 free space map, 2 visibility map, 3 init.
    pub fork: u8,
    /// The number of the block in its fork.
    pub block: u32,
    /// Whether replay makes the block anew.
    pub will_init: bool,
    /// The block as a whole.
    pub image: Option<BlockImage<'a>>,
    /// What the resource manager wrote for this block.
    pub data: &'a [u8],
}

/// What the headers inside a record tell, checked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    /// How many bytes of headers follow the record header.
    headers: usize,
    /// How long the main data is, which ends the record.
    main: usize,
    pub blocks: u8,
    pub images: u8,
    /// Sum of the lengths of the images, bytes.
    pub image_bytes: u32,
    pub origin: Option<u16>,
    pub toplevel_xid: Option<u32>,
}

struct ImageHeader {
    length: u16,
    hole_offset: u16,
    hole_length: Option<u16>,
    compression: ImageCompression,
    apply: bool,
}

struct BlockHeader {
    id: u8,
    flags: u8,
    data_length: u16,
    image: Option<ImageHeader>,
    relation: RelationFile,
    block: u32,
}

/// Reads a header of an image.
fn image_header(bytes: &mut Bytes<'_>, major: u8) -> Option<ImageHeader> {
    let length = bytes.u16()?;
    let hole_offset = bytes.u16()?;
    let info = bytes.u8()?;
    let (compression, apply) = if major >= 15 {
        let compression = match info & 0x1C {
            0 => ImageCompression::None,
            4 => ImageCompression::Pglz,
            8 => ImageCompression::Lz4,
            16 => ImageCompression::Zstd,
            _ => ImageCompression::Unknown,
        };
        (compression, info & 2 != 0)
    } else if info & 2 != 0 {
        (ImageCompression::Pglz, info & 4 != 0)
    } else {
        (ImageCompression::None, info & 4 != 0)
    };
    let hole_length = match compression {
        ImageCompression::None => None,
        _ if info & BKPIMAGE_HAS_HOLE != 0 => Some(bytes.u16()?),
        _ => Some(0),
    };
    ((info & BKPIMAGE_HAS_HOLE != 0) == (hole_offset != 0)).then_some(ImageHeader {
        length,
        hole_offset,
        hole_length,
        compression,
        apply,
    })
}

/// Reads the header of a block reference after its id.
fn block_header(
    bytes: &mut Bytes<'_>,
    id: u8,
    before: Option<RelationFile>,
    major: u8,
) -> Option<BlockHeader> {
    let flags = bytes.u8()?;
    let data_length = bytes.u16()?;
    let image = if flags & BKPBLOCK_HAS_IMAGE == 0 {
        None
    } else {
        Some(image_header(bytes, major)?)
    };
    let relation = if flags & BKPBLOCK_SAME_REL == 0 {
        RelationFile {
            tablespace: bytes.u32()?,
            database: bytes.u32()?,
            number: bytes.u32()?,
        }
    } else {
        before?
    };
    let block = bytes.u32()?;
    ((flags & BKPBLOCK_HAS_DATA != 0) == (data_length != 0)).then_some(BlockHeader {
        id,
        flags,
        data_length,
        image,
        relation,
        block,
    })
}

/// What the header of a block reference announces; everything that [`block_header`] reads can be had.
struct BlockLengths {
    data: u16,
    image: Option<u16>,
}

impl BlockLengths {
    /// Checks the header after its id; `follows`: there was one before it, whose relation it may share.
    #[inline]
    fn read(bytes: &mut Bytes<'_>, follows: bool, major: u8) -> Option<Self> {
        let flags = bytes.u8()?;
        let data = bytes.u16()?;
        if (flags & BKPBLOCK_HAS_DATA != 0) != (data != 0) {
            return None;
        }
        let image = if flags & BKPBLOCK_HAS_IMAGE == 0 {
            None
        } else {
            Some(image_header(bytes, major)?.length)
        };
        let same = flags & BKPBLOCK_SAME_REL != 0;
        if same && !follows {
            return None;
        }
        // The relation, if it is another one, and the number of the block.
        bytes.take(if same { 4 } else { 16 })?;
        Some(Self { data, image })
    }
}

impl Parts {
    /// Reads and checks the headers in `body`, which is the record without its own header.
    ///
    /// # Errors
    /// What does not fit.
    #[expect(
        clippy::inline_always,
        reason = "else the short way of the decoder takes half as long again"
    )]
    #[inline(always)]
    pub fn read(body: &[u8], major: u8) -> Result<Self, &'static str> {
        let mut parts = Self::default();
        let mut bytes = Bytes(body);
        // The sum of what the headers announce.
        let mut announced = 0usize;
        let mut last_id = None;
        while bytes.0.len() > announced {
            let Some(id) = bytes.u8() else { break };
            match id {
                BLOCK_ID_DATA_SHORT => {
                    parts.main = usize::from(bytes.u8().ok_or("the length of the main data is cut")?);
                    announced += parts.main;
                    break;
                }
                BLOCK_ID_DATA_LONG => {
                    let length = bytes.u32().ok_or("the length of the main data is cut")?;
                    parts.main = usize::try_from(length).map_err(|_| "the main data is too long")?;
                    announced = announced.saturating_add(parts.main);
                    break;
                }
                BLOCK_ID_ORIGIN => {
                    parts.origin = Some(bytes.u16().ok_or("the replication origin is cut")?);
                }
                BLOCK_ID_TOPLEVEL_XID if major >= 14 => {
                    parts.toplevel_xid = Some(bytes.u32().ok_or("the top-level transaction is cut")?);
                }
                0..=MAX_BLOCK_ID => {
                    if last_id.is_some_and(|last| id <= last) {
                        return Err("the block references are out of order");
                    }
                    let lengths = BlockLengths::read(&mut bytes, last_id.is_some(), major)
                        .ok_or("a block reference is damaged")?;
                    last_id = Some(id);
                    parts.blocks += 1;
                    announced += usize::from(lengths.data);
                    if let Some(image) = lengths.image {
                        parts.images += 1;
                        parts.image_bytes += u32::from(image);
                        announced += usize::from(image);
                    }
                }
                _ => return Err("there is no block reference of this number"),
            }
        }
        if bytes.0.len() != announced {
            return Err("the lengths of its parts are not that of the whole");
        }
        parts.headers = body.len() - announced;
        Ok(parts)
    }

    /// The main data.
    pub fn main<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.len()
            .checked_sub(self.main)
            .and_then(|start| body.get(start..))
            .unwrap_or_default()
    }

    /// The block references of the same `body`.
    pub fn blocks<'a>(&self, body: &'a [u8], major: u8) -> Blocks<'a> {
        let (headers, data) = body.split_at_checked(self.headers).unwrap_or_default();
        Blocks {
            headers: Bytes(headers),
            data: Bytes(data),
            relation: None,
            major,
        }
    }
}

/// The block references of a record, in the order of their ids. See [`super::Record::blocks`].
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    headers: Bytes<'a>,
    data: Bytes<'a>,
    relation: Option<RelationFile>,
    major: u8,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = BlockReference<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.headers.u8()? {
                BLOCK_ID_ORIGIN => drop(self.headers.u16()?),
                BLOCK_ID_TOPLEVEL_XID => drop(self.headers.u32()?),
                id @ 0..=MAX_BLOCK_ID => {
                    let header = block_header(&mut self.headers, id, self.relation, self.major)?;
                    self.relation = Some(header.relation);
                    let image = match header.image {
                        None => None,
                        Some(image) => Some(BlockImage {
                            bytes: self.data.take(usize::from(image.length))?,
                            hole_offset: image.hole_offset,
                            hole_length: image.hole_length,
                            compression: image.compression,
                            apply: image.apply,
                        }),
                    };
                    return Some(BlockReference {
                        id: header.id,
                        relation: header.relation,
                        fork: header.flags & BKPBLOCK_FORK_MASK,
                        block: header.block,
                        will_init: header.flags & BKPBLOCK_WILL_INIT != 0,
                        image,
                        data: self.data.take(usize::from(header.data_length))?,
                    });
                }
                _ => return None,
            }
        }
    }
}
