//! The files that hold relations: their names, and which blocks of a relation each has (PostgreSQL, `relpath.c`,
//! `md.c`).
//!
//! A relation is a number; each of its forks is a file `NUMBER`, `NUMBER_fsm`, `NUMBER_vm` or `NUMBER_init`, and where it
//! grows beyond a segment (1 GiB unless compiled otherwise) further files with `.1`, `.2`, ... behind that. Temporary
//! relations (`t3_NUMBER`) are not among them: nothing keeps those.
//!
//! ```
//! use barman_wal::data_file::{DataFileName, Fork, Geometry};
//!
//! let name: DataFileName = "16384_vm.2".parse()?;
//! assert_eq!((name.relation, name.fork, name.segment), (16384, Fork::VisibilityMap, 2));
//! assert_eq!(name.first_block(Geometry::DEFAULT), Some(262_144));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::FromStr;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map_opt, opt, value};
use nom::sequence::preceded;

use crate::control::ControlFile;
use crate::text::excerpt;

/// The sizes that a server was compiled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    block_size: u32,
    segment_blocks: u32,
}

/// Sizes that no server can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "data blocks of {block_size} bytes, {segment_blocks} in a file, are not possible (1 to 32 KiB, a power of two; at \
     least one, less than 2^31)"
)]
pub struct GeometryError {
    block_size: u32,
    segment_blocks: u32,
}

impl Geometry {
    /// Blocks of 8 KiB in files of 1 GiB.
    pub const DEFAULT: Self = Self {
        block_size: 8192,
        segment_blocks: 131_072,
    };

    /// `block_size` in bytes (`BLCKSZ`), `segment_blocks` as the number of blocks in a file (`RELSEG_SIZE`).
    ///
    /// # Errors
    /// No server can be compiled with these.
    pub fn new(block_size: u32, segment_blocks: u32) -> Result<Self, GeometryError> {
        let possible = block_size.is_power_of_two()
            && (1024..=32_768).contains(&block_size)
            && (1..1 << 31).contains(&segment_blocks);
        if possible {
            Ok(Self {
                block_size,
                segment_blocks,
            })
        } else {
            Err(GeometryError {
                block_size,
                segment_blocks,
            })
        }
    }

    /// That of the cluster with this control file.
    ///
    /// # Errors
    /// The control file has impossible sizes.
    pub fn of(control: &ControlFile) -> Result<Self, GeometryError> {
        Self::new(control.block_size, control.relation_segment_blocks)
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_size(self) -> u32 {
        self.block_size
    }

    /// Blocks of a file that is full.
    #[must_use]
    pub const fn segment_blocks(self) -> u32 {
        self.segment_blocks
    }
}

impl Default for Geometry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A fork of a relation (PostgreSQL, `ForkNumber`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    /// The rows.
    Main,
    /// `_fsm`.
    FreeSpaceMap,
    /// `_vm`.
    VisibilityMap,
    /// `_init`: what an unlogged relation begins with after a crash.
    Init,
}

/// The name of a file that holds blocks of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataFileName {
    /// The number of the relation's files (`relfilenode`).
    pub relation: u32,
    /// Which fork.
    pub fork: Fork,
    /// 0 for the first file.
    pub segment: u32,
}

/// A text that is not the name of a relation's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a file of a relation")]
pub struct DataFileNameError {
    text: String,
}

impl DataFileName {
    /// The number, in its relation, of the first block in the file; `None` beyond what a relation can have.
    #[must_use]
    pub fn first_block(self, geometry: Geometry) -> Option<u32> {
        // The highest number stands for "no block".
        self.segment
            .checked_mul(geometry.segment_blocks)
            .filter(|block| *block < u32::MAX)
    }
}

impl FromStr for DataFileName {
    type Err = DataFileNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As PostgreSQL writes numbers: no zero before others, no number 0.
        let number = || {
            map_opt(digit1::<&str, ()>, |digits: &str| {
                digits.parse::<u32>().ok().filter(|_| !digits.starts_with('0'))
            })
        };
        let fork = alt((
            value(Fork::FreeSpaceMap, tag("_fsm")),
            value(Fork::VisibilityMap, tag("_vm")),
            value(Fork::Init, tag("_init")),
        ));
        let (_, (relation, fork, segment)) =
            all_consuming((number(), opt(fork), opt(preceded(char('.'), number()))))
                .parse(text)
                .map_err(|_| DataFileNameError { text: excerpt(text) })?;
        Ok(Self {
            relation,
            fork: fork.unwrap_or(Fork::Main),
            segment: segment.unwrap_or(0),
        })
    }
}

impl fmt::Display for DataFileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fork = match self.fork {
            Fork::Main => "",
            Fork::FreeSpaceMap => "_fsm",
            Fork::VisibilityMap => "_vm",
            Fork::Init => "_init",
        };
        write!(formatter, "{}{fork}", self.relation)?;
        if self.segment > 0 {
            write!(formatter, ".{}", self.segment)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        for (text, relation, fork, segment, first) in [
            ("1", 1, Fork::Main, 0, Some(0)),
            ("16384.1", 16384, Fork::Main, 1, Some(131_072)),
            ("4294967295_fsm", u32::MAX, Fork::FreeSpaceMap, 0, Some(0)),
            (
                "2619_vm.32767",
                2619,
                Fork::VisibilityMap,
                32767,
                Some(0xFFFE_0000),
            ),
            ("2619_init", 2619, Fork::Init, 0, Some(0)),
            ("2619.32768", 2619, Fork::Main, 32768, None),
        ] {
            let name: DataFileName = text.parse().unwrap();
            assert_eq!(
                (name.relation, name.fork, name.segment),
                (relation, fork, segment)
            );
            assert_eq!(name.to_string(), text);
            assert_eq!(name.first_block(Geometry::DEFAULT), first, "{text}");
        }
        for bad in [
            "",
            "0",
            "007",
            "16384.",
            "16384.0",
            "16384.01",
            "16384_",
            "16384_xx",
            "16384_fsm_vm",
            "t3_16384",
            "16384.1.2",
            "4294967296",
            "PG_VERSION",
            "pg_filenode.map",
            "INCREMENTAL.16384",
            "16384 ",
            "+5",
            "16384.1_fsm",
        ] {
            assert!(bad.parse::<DataFileName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (block, segment) in [
            (0, 1),
            (512, 1),
            (8191, 1),
            (65_536, 1),
            (8192, 0),
            (8192, 1 << 31),
        ] {
            assert!(Geometry::new(block, segment).is_err(), "{block} {segment}");
        }
        assert_eq!(Geometry::new(8192, 131_072), Ok(Geometry::DEFAULT));
        let small = Geometry::new(1024, 16).unwrap();
        let name: DataFileName = "5.3".parse().unwrap();
        assert_eq!(name.first_block(small), Some(48));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "[0-9]{1,11}(_(fsm|vm|init))?(\\.[0-9]{1,11})?|.{0,20}") {
            if let Ok(name) = text.parse::<DataFileName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
