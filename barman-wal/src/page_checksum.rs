//! Checksums of data pages (PostgreSQL, `checksum_impl.h`, `bufpage.h`), as `pg_checksums` checks them.
//!
//! A page is good when its checksum fits its content and the number of its block. A page that was allocated but never
//! written is all zeros, and good. A page that was copied while the server wrote it may be half old, half new; recovery
//! replaces it, so whoever checks an online backup lets pages pass whose [`BadPage::lsn`] is later than the
//! backup's start, as PostgreSQL does.
//!
//! ```
//! use barman_wal::data_file::{DataFileName, Geometry};
//! use barman_wal::page_checksum::{PageVerifier, set_checksum};
//!
//! let mut file = vec![0u8; 2 * 8192];
//! file[12..14].copy_from_slice(&100u16.to_le_bytes()); // pd_lower
//! file[14..16].copy_from_slice(&8000u16.to_le_bytes()); // pd_upper: the page is not new
//! set_checksum(&mut file[..8192], 0);
//!
//! let name: DataFileName = "16384".parse()?;
//! let mut verifier = PageVerifier::of_file(name, Geometry::DEFAULT).ok_or("no such segment")?;
//! verifier.feed(&file, |bad| println!("{bad:?}"));
//! let checked = verifier.finish();
//! assert_eq!((checked.pages, checked.new, checked.bad), (2, 1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read};

use crate::data_file::{DataFileName, Geometry};
use crate::lsn::Lsn;

/// `N_SUMS`: how many sums run side by side, each over every 32nd word.
const SUMS: usize = 32;
/// Bytes that give each sum one word.
const ROW: usize = 4 * SUMS;
/// `FNV_PRIME`.
const PRIME: u32 = 16_777_619;
/// `checksumBaseOffsets`.
const OFFSETS: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];
/// Where `pd_checksum` is.
const CHECKSUM: std::ops::Range<usize> = 8..10;
/// Where `pd_upper` is, which is 0 on new pages only.
const UPPER: std::ops::Range<usize> = 14..16;

/// The checksum that `page` must have as block `block` of its relation, counted over all its files. What the page has
/// as its checksum does not count. Bytes beyond the last multiple of 128 do not either: there are none in a page.
#[must_use]
pub fn checksum(page: &[u8], block: u32) -> u16 {
    let (first, rest) = page.split_first_chunk::<ROW>().unwrap_or((&[0; ROW], &[]));
    let mut first = *first;
    if let Some(field) = first.get_mut(CHECKSUM) {
        field.fill(0);
    }
    let mut sums = OFFSETS;
    mix(&mut sums, &first);
    for row in rest.as_chunks::<ROW>().0 {
        mix(&mut sums, row);
    }
    mix(&mut sums, &[0; ROW]);
    mix(&mut sums, &[0; ROW]);
    let folded = sums.iter().fold(0, |all, sum| all ^ sum);
    // Below 65536 by the arithmetic.
    u16::try_from((folded ^ block) % 65535 + 1).unwrap_or(0)
}

/// One round of all sums: plain loops over arrays, of which the compiler makes vectors.
#[inline]
fn mix(sums: &mut [u32; SUMS], row: &[u8; ROW]) {
    for (sum, word) in sums.iter_mut().zip(row.as_chunks::<4>().0) {
        let mixed = *sum ^ u32::from_le_bytes(*word);
        *sum = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}

/// Writes the right checksum into a page; one that is too short for it stays as it is.
pub fn set_checksum(page: &mut [u8], block: u32) {
    let computed = checksum(page, block);
    if let Some(field) = page.get_mut(CHECKSUM) {
        field.copy_from_slice(&computed.to_le_bytes());
    }
}

fn u16_at(page: &[u8], at: std::ops::Range<usize>) -> u16 {
    page.get(at)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// `pd_lsn`: where the WAL record ends that changed the page last.
#[must_use]
pub fn page_lsn(page: &[u8]) -> Lsn {
    let Some(([high, low], _)) = page
        .first_chunk::<8>()
        .map(|bytes| bytes.as_chunks::<4>())
        .and_then(|(halves, rest)| Some((halves.first_chunk::<2>()?, rest)))
    else {
        return Lsn::INVALID;
    };
    Lsn(u64::from(u32::from_le_bytes(*high)) << 32 | u64::from(u32::from_le_bytes(*low)))
}

/// What is to be said of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// The checksum is right.
    Good,
    /// All zeros: allocated and not written.
    New,
    /// Its header says that it is new (`pd_upper` is 0), but it is not all zeros. `pg_checksums` lets such pages pass; a
    /// server refuses them.
    NotEmpty,
    /// The checksum is wrong.
    Mismatch {
        /// `pd_checksum`.
        found: u16,
        /// Computed.
        expected: u16,
    },
}

/// Judges `page` as block `block` of its relation.
#[must_use]
pub fn check_page(page: &[u8], block: u32) -> PageState {
    if u16_at(page, UPPER) == 0 {
        return if page.iter().fold(0, |all, byte| all | byte) == 0 {
            PageState::New
        } else {
            PageState::NotEmpty
        };
    }
    let (found, expected) = (u16_at(page, CHECKSUM), checksum(page, block));
    if found == expected {
        PageState::Good
    } else {
        PageState::Mismatch { found, expected }
    }
}

/// A page that is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPage {
    /// Its number in the relation, counted over all its files.
    pub block: u32,
    /// Where in the file it begins, bytes.
    pub offset: u64,
    /// [`page_lsn`]: what the page says; it may be as wrong as the rest.
    pub lsn: Lsn,
    /// What is wrong: [`PageState::NotEmpty`] or [`PageState::Mismatch`].
    pub state: PageState,
}

/// What a file had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Whole pages.
    pub pages: u64,
    /// Those that are all zeros.
    pub new: u64,
    /// Those that are not good.
    pub bad: u64,
    /// Bytes after the last whole page: the file was being extended, or is cut.
    pub rest: u32,
}

/// Checks the pages of one file of a relation, fed in pieces of any size.
#[derive(Debug, Clone)]
pub struct PageVerifier {
    geometry: Geometry,
    /// Of the next page; `None` beyond what a relation can have.
    block: Option<u32>,
    /// The beginning of a page that is not complete.
    partial: Vec<u8>,
    checked: Checked,
}

impl PageVerifier {
    /// For a file whose first page is block `first_block` of its relation.
    #[must_use]
    pub const fn new(first_block: u32, geometry: Geometry) -> Self {
        Self {
            geometry,
            block: Some(first_block),
            partial: Vec::new(),
            checked: Checked {
                pages: 0,
                new: 0,
                bad: 0,
                rest: 0,
            },
        }
    }

    /// For a file of this name; `None` when no relation can have one.
    #[must_use]
    pub fn of_file(name: DataFileName, geometry: Geometry) -> Option<Self> {
        name.first_block(geometry)
            .map(|first_block| Self::new(first_block, geometry))
    }

    /// Takes the next bytes of the file; `bad` is called for each page that is not good.
    pub fn feed(&mut self, mut bytes: &[u8], mut bad: impl FnMut(BadPage)) {
        let size = self.geometry.block_size() as usize;
        if !self.partial.is_empty() {
            let missing = size.saturating_sub(self.partial.len());
            let (more, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if self.partial.len() < size {
                return;
            }
            let page = std::mem::take(&mut self.partial);
            self.page(&page, &mut bad);
            self.partial = page;
            self.partial.clear();
        }
        let pages = bytes.chunks_exact(size);
        let rest = pages.remainder();
        for page in pages {
            self.page(page, &mut bad);
        }
        self.partial.extend_from_slice(rest);
    }

    fn page(&mut self, page: &[u8], bad: &mut impl FnMut(BadPage)) {
        // Pages that no relation can have are judged with the last number, which is none of theirs.
        let block = self.block.unwrap_or(u32::MAX);
        let offset = self
            .checked
            .pages
            .saturating_mul(u64::from(self.geometry.block_size()));
        self.checked.pages += 1;
        self.block = self.block.and_then(|block| block.checked_add(1));
        match check_page(page, block) {
            PageState::Good => {}
            PageState::New => self.checked.new += 1,
            state => {
                self.checked.bad += 1;
                bad(BadPage {
                    block,
                    offset,
                    lsn: page_lsn(page),
                    state,
                });
            }
        }
    }

    /// The sums, after the last bytes.
    #[must_use]
    pub fn finish(self) -> Checked {
        Checked {
            rest: u32::try_from(self.partial.len()).unwrap_or(u32::MAX),
            ..self.checked
        }
    }

    /// Checks all that `file` gives, from its beginning on.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(mut self, file: &mut impl Read, mut bad: impl FnMut(BadPage)) -> io::Result<Checked> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(self.finish()),
                Ok(count) => self.feed(buffer.get(..count).unwrap_or_default(), &mut bad),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(seed: u8) -> Vec<u8> {
        (0..8192u32)
            .map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(u32::from(seed)) >> 11) as u8)
            .collect()
    }

    /// The definition, word by word.
    fn slow(page: &[u8], block: u32) -> u16 {
        let mut sums = OFFSETS;
        let words = page.chunks_exact(4).enumerate().map(|(index, word)| {
            let word = u32::from_le_bytes(word.try_into().unwrap());
            (index % SUMS, if index == 2 { word & 0xFFFF_0000 } else { word })
        });
        for (sum, word) in words.chain((0..2 * SUMS).map(|index| (index % SUMS, 0))) {
            let mixed = sums[sum] ^ word;
            sums[sum] = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
        }
        ((sums.iter().fold(0, |all, sum| all ^ sum) ^ block) % 65535 + 1) as u16
    }

    #[test]
    fn any_single_change_is_seen() {
        let mut good = page(1);
        set_checksum(&mut good, 77);
        assert_eq!(check_page(&good, 77), PageState::Good);
        assert!(matches!(check_page(&good, 78), PageState::Mismatch { .. }));
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            assert_ne!(check_page(&changed, 77), PageState::Good, "{at}");
        }
    }

    #[test]
    fn new_pages() {
        let mut zeros = vec![0; 8192];
        assert_eq!(check_page(&zeros, 5), PageState::New);
        zeros[8191] = 1;
        assert_eq!(check_page(&zeros, 5), PageState::NotEmpty);
        assert_eq!(page_lsn(&[1, 0, 0, 0, 0x28, 0, 0, 5]), Lsn(0x1_0500_0028));
        assert_eq!(page_lsn(&[1, 0]), Lsn::INVALID);
    }

    #[test]
    fn pieces_and_ends() {
        let mut file = Vec::new();
        for block in 0..5u8 {
            let mut page = page(block);
            set_checksum(&mut page, 131_072 + u32::from(block));
            file.extend(page);
        }
        file[8192 * 3 + 4000] ^= 0x10;
        file.extend([0; 8192]);
        file.extend([9; 100]);
        let name: DataFileName = "5.1".parse().unwrap();
        for size in [1, 100, 8192, 8193, 100_000] {
            let mut verifier = PageVerifier::of_file(name, Geometry::DEFAULT).unwrap();
            let mut found = Vec::new();
            for piece in file.chunks(size) {
                verifier.feed(piece, |bad| found.push((bad.block, bad.offset)));
            }
            let checked = verifier.finish();
            assert_eq!(found, [(131_075, 3 * 8192)], "{size}");
            assert_eq!(
                checked,
                Checked {
                    pages: 6,
                    new: 1,
                    bad: 1,
                    rest: 100
                },
                "{size}"
            );
        }
    }

    proptest! {
        #[test]
        fn as_defined(bytes in proptest::collection::vec(any::<u8>(), 1024), block: u32) {
            prop_assert_eq!(checksum(&bytes, block), slow(&bytes, block));
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300), block: u32) {
            let _ = (checksum(&bytes, block), check_page(&bytes, block), page_lsn(&bytes));
        }
    }
}
