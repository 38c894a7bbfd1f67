//! The WAL index (`barman-wal`).

use barman_wal::index::{self, SegmentState};
use barman_wal::{SegmentName, SegmentSize};

use crate::input::reached;

/// Bytes of the identity of an index file, and before its slots.
const IDENTITY: usize = 64;
const SLOTS_AT: usize = 4096;
const SLOT: usize = 320;

/// An index file as it comes; its first slots with checksums that fit; the state of one segment; a segment.
pub fn wal_index(bytes: &[u8]) {
    let _ = index::read_index_file(bytes, bytes);
    let (file, heap) = with_checksums(bytes);
    for (name, state) in index::read_index_file(&file, &heap) {
        assert_ne!(state, SegmentState::Unknown, "{name}");
        again(name, SegmentSize::DEFAULT, &state);
    }
    let name: SegmentName = "000000010000000000000003".parse().expect("a name");
    for size in [SegmentSize::DEFAULT, SegmentSize::new(1 << 20).expect("a size")] {
        if let Some(state) = index::decode_state(bytes, name, size) {
            again(name, size, &state);
        }
    }
    let state = index::summarize(name, bytes).expect("a slice has no errors");
    assert!(state.known().is_none(), "too few bytes for a segment");
    again(name, SegmentSize::DEFAULT, &state);
}

/// What was read is written and read again as the same, and can be asked and judged.
fn again(name: SegmentName, size: SegmentSize, state: &SegmentState) {
    let size = state.summary().map_or(size, |summary| summary.size);
    let written = index::encode_state(state).expect("a state");
    assert_eq!(index::decode_state(&written, name, size).as_ref(), Some(state));
    if let Some(summary) = state.summary() {
        reached();
        let mut judged = summary.clone();
        judged.judge(summary);
        let _ = (
            judged.all_end_times(),
            judged.ends_transaction(7),
            judged.all_checkpoints().count() + judged.all_restore_points().count(),
            judged.all_timeline_changes().count(),
            judged.ended.extent(),
        );
    }
}

/// An index file whose first slots have what `bytes` has: the kind, then the content in pieces.
fn with_checksums(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let incarnation = 7u64.to_le_bytes();
    let sum = |bytes: &[u8]| crc32c::crc32c_append(crc32c::crc32c(bytes), &incarnation).to_le_bytes();
    let mut file = b"BWALIDX\0\x01\0\x40\x01\x18\0\0\0\x01\0\0\0".to_vec();
    file.extend([0; 8]);
    file.extend(incarnation);
    file.resize(IDENTITY - 4, 0);
    let crc = crc32c::crc32c(&file).to_le_bytes();
    file.extend(crc);
    file.resize(SLOTS_AT, 0);
    for (number, content) in (0u64..4).zip(bytes.chunks(SLOT - 20)) {
        let mut slot = vec![1, 0];
        slot.extend(u16::try_from(content.len()).unwrap_or(0).to_le_bytes());
        slot.extend(1u32.to_le_bytes());
        slot.extend(number.to_le_bytes());
        slot.extend(content);
        slot.resize(SLOT - 4, 0);
        file.extend(sum(&slot));
        file.extend(slot);
    }
    // All of it, in the heap.
    let mut slot = vec![2, 0, 0, 0];
    slot.extend(1u32.to_le_bytes());
    slot.extend(4u64.to_le_bytes());
    slot.extend(0u64.to_le_bytes());
    slot.extend(u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
    slot.extend(sum(bytes));
    slot.resize(SLOT - 4, 0);
    file.resize(SLOTS_AT + 4 * SLOT, 0);
    file.extend(sum(&slot));
    file.extend(slot);
    (file, bytes.to_vec())
}
