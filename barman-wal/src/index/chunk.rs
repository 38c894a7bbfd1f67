//! The layout of an index file: which segments it is about, what lies in it, one slot for each segment.
//!
//! ```text
//!      0  identity: "BWALIDX\0", version u16, slot size u16, log2 of the segment size u8, 3 zeros, timeline u32,
//!         chunk u64, incarnation u64, zeros, CRC-32C u32 of the 60 bytes before
//!   1024  zone, or zeros: CRC-32C u32 of what follows and the incarnation; what is in all slots together
//!   4096  4096 slots of 320 bytes: CRC-32C u32 of what follows and the incarnation; kind u8 (1: the state is in the
//!         slot, 2: it is in the heap), zero u8, length u16 or 0, timeline u32, segment number u64; then the state, or
//!         its offset u64 in the heap, its length u32, its CRC-32C u32
//! ```
//!
//! All numbers are little-endian. The identity is written once, with the file, and renamed into place. The
//! *incarnation*, a random number, is in every checksum: blocks of a file that was removed, which a power cut may
//! bring back, are not taken for slots of this one. A slot is written at once; one that is torn, or lies in the wrong
//! place, is as good as none.
//!
//! The zone speaks for slots that nobody reads any more, so it must never say less than they do. It is there only
//! while nothing changes: it is written after the slots are synced, and wiped, and that synced, before one of them
//! changes. A file without it is read slot by slot.

use crate::record::WalTime;
use crate::segment::{SegmentName, SegmentNumber, SegmentSize};
use crate::timeline::TimelineId;

use super::border::Verdict;
use super::encode::{decode_state, encode_state};
use super::find::XidTarget;
use super::summary::{SegmentState, SegmentSummary};

/// How many segments one file is about.
pub(super) const SLOTS: u64 = 4096;
/// Bytes.
pub(super) const SLOT: usize = 320;
/// Before the state in a slot.
const SLOT_HEAD: usize = 20;
/// Where the slots begin.
pub(super) const SLOTS_AT: u64 = 4096;
/// Where the zone is, and its bytes.
pub(super) const ZONE_AT: u64 = 1024;
pub(super) const ZONE: usize = 3072;
const IDENTITY: usize = 64;
const MAGIC: &[u8; 8] = b"BWALIDX\0";
/// What this program writes.
const VERSION: u16 = 1;
/// A state of a segment in the heap, bytes at most: everything at its limits is less.
pub(super) const LONGEST: usize = 1 << 20;

/// Which segments a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub timeline: TimelineId,
    pub size: SegmentSize,
    /// The number of its first segment, divided by [`SLOTS`].
    pub chunk: u64,
    pub incarnation: u64,
}

/// What the beginning of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    Ours(Identity),
    /// A newer program wrote it.
    Newer,
    /// Anything else.
    Damaged,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk());
    four.copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(|rest| rest.first_chunk());
    eight.copied().map_or(0, u64::from_le_bytes)
}

impl Identity {
    /// The first [`SLOTS_AT`] bytes of a new file.
    pub fn new_file(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((SLOT as u16).to_le_bytes());
        bytes.push(self.size.bytes().trailing_zeros() as u8);
        bytes.extend([0; 3]);
        bytes.extend(self.timeline.get().to_le_bytes());
        bytes.extend(self.chunk.to_le_bytes());
        bytes.extend(self.incarnation.to_le_bytes());
        bytes.resize(IDENTITY - 4, 0);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(SLOTS_AT as usize, 0);
        bytes
    }

    /// Reads the beginning of a file.
    pub fn parse(bytes: &[u8]) -> Beginning {
        let Some((checked, crc)) = bytes
            .get(..IDENTITY)
            .and_then(|first| first.split_last_chunk::<4>())
        else {
            return Beginning::Damaged;
        };
        if !checked.starts_with(MAGIC) || crc32c::crc32c(checked).to_le_bytes() != *crc {
            return Beginning::Damaged;
        }
        let version = u32_at(checked, 8);
        let (version, slot) = (version as u16, version >> 16);
        if version > VERSION {
            return Beginning::Newer;
        }
        let log = u32::from(checked.get(12).copied().unwrap_or(0));
        let size = 1u64.checked_shl(log).and_then(|size| SegmentSize::new(size).ok());
        match (TimelineId::new(u32_at(checked, 16)), size) {
            (Some(timeline), Some(size)) if slot as usize == SLOT && version == VERSION => {
                Beginning::Ours(Self {
                    timeline,
                    size,
                    chunk: u64_at(checked, 20),
                    incarnation: u64_at(checked, 28),
                })
            }
            _ => Beginning::Damaged,
        }
    }

    fn crc(&self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(bytes), &self.incarnation.to_le_bytes())
    }

    /// The name of the segment with this number.
    pub fn name(&self, number: SegmentNumber) -> Option<SegmentName> {
        number.name(self.timeline, self.size)
    }

    /// The first segment.
    pub fn first(&self) -> SegmentNumber {
        SegmentNumber(self.chunk.saturating_mul(SLOTS))
    }

    /// A slot with the state `encoded`, or with what tells where it is in the heap.
    pub fn slot(&self, number: SegmentNumber, content: SlotContent<'_>) -> [u8; SLOT] {
        let mut bytes = Vec::with_capacity(SLOT);
        match content {
            SlotContent::Inline(state) => {
                bytes.extend([1, 0]);
                bytes.extend((state.len() as u16).to_le_bytes());
                self.which(number, &mut bytes);
                bytes.extend_from_slice(state);
            }
            SlotContent::Heap(place) => {
                bytes.extend([2, 0, 0, 0]);
                self.which(number, &mut bytes);
                bytes.extend(place.offset.to_le_bytes());
                bytes.extend(place.length.to_le_bytes());
                bytes.extend(place.crc.to_le_bytes());
            }
        }
        bytes.resize(SLOT - 4, 0);
        let mut slot = [0; SLOT];
        let (crc, rest) = slot.split_at_mut(4);
        crc.copy_from_slice(&self.crc(&bytes).to_le_bytes());
        rest.copy_from_slice(&bytes);
        slot
    }

    fn which(&self, number: SegmentNumber, bytes: &mut Vec<u8>) {
        bytes.extend(self.timeline.get().to_le_bytes());
        bytes.extend(number.0.to_le_bytes());
    }

    /// What the slot of segment `number` has; `None` for nothing, a torn one, and another segment's.
    pub fn read_slot<'a>(&self, number: SegmentNumber, slot: &'a [u8]) -> Option<SlotContent<'a>> {
        let (crc, rest) = slot.get(..SLOT)?.split_first_chunk::<4>()?;
        if *crc == [0; 4] && rest.starts_with(&[0; 16]) {
            return None;
        }
        let ours = self.crc(rest).to_le_bytes() == *crc
            && u32_at(rest, 4) == self.timeline.get()
            && u64_at(rest, 8) == number.0;
        if !ours {
            return None;
        }
        let content = rest.get(SLOT_HEAD - 4..)?;
        match rest.first()? {
            1 => {
                let length = u32_at(rest, 0) >> 16;
                content.get(..length as usize).map(SlotContent::Inline)
            }
            2 => Some(SlotContent::Heap(Place {
                offset: u64_at(content, 0),
                length: u32_at(content, 8),
                crc: u32_at(content, 12),
            })),
            _ => None,
        }
    }

    /// The bytes of a zone.
    pub fn zone(&self, zone: &Zone) -> Vec<u8> {
        let mut bytes = vec![
            1,
            u8::from(zone.xids.is_some()),
            u8::from(zone.any_xid),
            u8::from(zone.points),
        ];
        let (low, high) = zone.times.unwrap_or((WalTime(i64::MAX), WalTime(i64::MIN)));
        bytes.extend(low.0.to_le_bytes());
        bytes.extend(high.0.to_le_bytes());
        let (first, last) = zone.xids.unwrap_or_default();
        bytes.extend(first.to_le_bytes());
        bytes.extend(last.to_le_bytes());
        bytes.extend_from_slice(&zone.kinds);
        bytes.push(u8::from(zone.borders));
        bytes.resize(ZONE - 4, 0);
        let mut all = self.crc(&bytes).to_le_bytes().to_vec();
        all.extend(bytes);
        all
    }

    /// Reads a zone; `None` when there is none.
    pub fn read_zone(&self, bytes: &[u8]) -> Option<Zone> {
        let (crc, rest) = bytes.get(..ZONE)?.split_first_chunk::<4>()?;
        if self.crc(rest).to_le_bytes() != *crc || rest.first() != Some(&1) {
            return None;
        }
        let flag = |at: usize| rest.get(at) == Some(&1);
        let time = |at| WalTime(u64_at(rest, at).cast_signed());
        Some(Zone {
            times: (time(4) <= time(12)).then(|| (time(4), time(12))),
            xids: flag(1).then(|| (u64_at(rest, 20), u64_at(rest, 28))),
            any_xid: flag(2),
            points: flag(3),
            borders: flag(36 + KINDS),
            kinds: rest.get(36..36 + KINDS)?.to_vec(),
        })
    }
}

/// What is in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotContent<'a> {
    /// The state.
    Inline(&'a [u8]),
    /// It is too long.
    Heap(Place),
}

/// Where in the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: u64,
    pub length: u32,
    pub crc: u32,
}

/// How long a state in a slot can be, bytes.
pub(super) const INLINE: usize = SLOT - SLOT_HEAD;

/// Two bits for each segment.
const KINDS: usize = (SLOTS / 4) as usize;

/// What kind of state a segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unknown,
    Known,
    Unreadable,
    UnknownFormat,
}

impl Kind {
    pub const fn of(state: &SegmentState) -> Self {
        match state {
            SegmentState::Unknown => Self::Unknown,
            SegmentState::Known(_) => Self::Known,
            SegmentState::Unreadable(_) => Self::Unreadable,
            SegmentState::UnknownFormat { .. } => Self::UnknownFormat,
        }
    }
}

/// What all slots of a file say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    /// The earliest and the latest time of commits and aborts.
    pub times: Option<(WalTime, WalTime)>,
    /// The oldest and the newest transaction that ended, in 64 bits.
    pub xids: Option<(u64, u64)>,
    /// Whether transactions ended whose 64 bits are not known: then each can be here.
    pub any_xid: bool,
    /// Whether there are restore points, or there can be.
    pub points: bool,
    /// Whether a record over a border is broken or still to be judged.
    pub borders: bool,
    kinds: Vec<u8>,
}

impl Zone {
    /// Of all states of the file; epochs that neighbours tell have been filled in.
    pub fn of<'a>(states: impl Iterator<Item = (SegmentNumber, &'a SegmentState)>) -> Self {
        let mut zone = Self {
            times: None,
            xids: None,
            any_xid: false,
            points: false,
            borders: false,
            kinds: vec![0; KINDS],
        };
        for (number, state) in states {
            let index = (number.0 % SLOTS) as usize;
            if let Some(byte) = zone.kinds.get_mut(index / 4) {
                *byte |= (Kind::of(state) as u8) << (index % 4 * 2);
            }
            if let Some(summary) = state.summary() {
                zone.add(summary);
            }
        }
        zone
    }

    fn add(&mut self, summary: &SegmentSummary) {
        if let Some((low, high)) = summary.all_end_times() {
            let (lowest, highest) = self.times.unwrap_or((low, high));
            self.times = Some((lowest.min(low), highest.max(high)));
        }
        self.borders |= summary
            .head
            .as_ref()
            .is_some_and(|head| matches!(head.verdict, Verdict::Pending | Verdict::Broken(_)));
        self.points |= summary.more || summary.all_restore_points().next().is_some();
        let spanning = summary.spanning_end();
        self.any_xid |= spanning.is_some_and(|end| end.xid.is_none());
        let own = summary.ended.extent().map(|(first, last)| [first, last]);
        let ends = own.into_iter().flatten().chain(spanning.and_then(|end| end.xid));
        for xid in ends {
            match summary.xid_base.full(xid) {
                None => self.any_xid = true,
                Some(full) => {
                    let (first, last) = self.xids.unwrap_or((full, full));
                    self.xids = Some((first.min(full), last.max(full)));
                }
            }
        }
    }

    /// Whether the transaction can be among those whose 64 bits are known.
    pub fn may_end(&self, target: XidTarget) -> bool {
        let Some((first, last)) = self.xids else {
            return false;
        };
        match target {
            XidTarget::Full(full) => (first..=last).contains(&full),
            // The first one from `first` on with this lower half.
            XidTarget::Low(low) => {
                let distance = low.wrapping_sub((first & 0xFFFF_FFFF) as u32);
                first
                    .checked_add(u64::from(distance))
                    .is_some_and(|full| full <= last)
            }
        }
    }

    /// What kind of state the segment has.
    pub fn kind(&self, number: SegmentNumber) -> Kind {
        let index = (number.0 % SLOTS) as usize;
        let byte = self.kinds.get(index / 4).copied().unwrap_or(0);
        match byte >> (index % 4 * 2) & 3 {
            0 => Kind::Unknown,
            1 => Kind::Known,
            2 => Kind::Unreadable,
            _ => Kind::UnknownFormat,
        }
    }
}

/// All states of the file whose bytes are `chunk`, where `heap` reads its heap. What cannot be read is left out.
pub(super) fn states(
    identity: &Identity,
    chunk: &[u8],
    heap: &mut dyn FnMut(Place) -> Option<Vec<u8>>,
) -> Vec<(SegmentNumber, SegmentState)> {
    let slots = chunk.get(SLOTS_AT as usize..).unwrap_or_default();
    let mut found = Vec::new();
    for (slot, index) in slots.chunks_exact(SLOT).zip(0..SLOTS) {
        let number = SegmentNumber(identity.first().0.saturating_add(index));
        let Some(content) = identity.read_slot(number, slot) else {
            continue;
        };
        if let Some(state) = state(identity, number, content, heap) {
            found.push((number, state));
        }
    }
    found
}

/// The state that a slot tells.
pub(super) fn state(
    identity: &Identity,
    number: SegmentNumber,
    content: SlotContent<'_>,
    heap: &mut dyn FnMut(Place) -> Option<Vec<u8>>,
) -> Option<SegmentState> {
    let name = identity.name(number)?;
    match content {
        SlotContent::Inline(bytes) => decode_state(bytes, name, identity.size),
        SlotContent::Heap(place) => {
            let bytes = heap(place).filter(|bytes| identity.crc(bytes) == place.crc)?;
            decode_state(&bytes, name, identity.size)
        }
    }
}

/// What is to be written for a state: a slot, and what comes to `offset` in the heap. `None` for
/// [`SegmentState::Unknown`].
pub(super) fn written(
    identity: &Identity,
    number: SegmentNumber,
    state: &SegmentState,
    offset: u64,
) -> Option<([u8; SLOT], Option<Vec<u8>>)> {
    let bytes = encode_state(state)?;
    if bytes.len() <= INLINE {
        return Some((identity.slot(number, SlotContent::Inline(&bytes)), None));
    }
    let place = Place {
        offset,
        length: u32::try_from(bytes.len()).ok()?,
        crc: identity.crc(&bytes),
    };
    Some((identity.slot(number, SlotContent::Heap(place)), Some(bytes)))
}

/// Reads an index file that is in memory, with its heap: the state of every segment that it knows, ascending. Damaged
/// or misplaced slots are left out; a file that is none, or of a newer version, knows nothing.
#[must_use]
pub fn read_index_file(chunk: &[u8], heap: &[u8]) -> Vec<(SegmentName, SegmentState)> {
    let Beginning::Ours(identity) = Identity::parse(chunk) else {
        return Vec::new();
    };
    let mut from_heap = |place: Place| {
        let start = usize::try_from(place.offset).ok()?;
        let bytes = heap.get(start..)?.get(..place.length as usize)?;
        (bytes.len() <= LONGEST).then(|| bytes.to_vec())
    };
    states(&identity, chunk, &mut from_heap)
        .into_iter()
        .filter_map(|(number, state)| Some((identity.name(number)?, state)))
        .collect()
}
