//! The rest of a record that began before the first page.

/// How many bytes of it are kept.
const KEPT: usize = 4096;

/// The rest of a record that began before the first page that a [`Decoder`](super::Decoder) was fed with. Nothing is
/// known of that record there; whoever has its beginning can judge it with this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRest {
    remaining: u32,
    length: u32,
    crc: u32,
    bytes: Vec<u8>,
}

impl RecordRest {
    pub(super) const fn new(remaining: u32) -> Self {
        Self {
            remaining,
            length: 0,
            crc: 0,
            bytes: Vec::new(),
        }
    }

    /// The bytes of one page.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.length = self
            .length
            .saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.crc = crate::crc::append(self.crc, bytes);
        let room = KEPT.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// `xlp_rem_len` of the first page: how many bytes of the record the page and those after it have.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// How many of them came.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// CRC-32C of those that came.
    #[must_use]
    pub const fn crc(&self) -> u32 {
        self.crc
    }

    /// The first 4096 of those that came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
