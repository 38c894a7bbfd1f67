//! Where a backup ends: which file its last LSN lies in.

use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};

/// The file that must be archived before a backup that ends at `lsn` is consistent, and the offset that goes with it
/// in `backup.info`.
///
/// An LSN on a border belongs to the segment before it, with offset 0: nothing of the segment that begins there is
/// needed, and it may stay unfilled for a long time. Servers up to 16 say so themselves; later ones, and arithmetic on
/// a standby, would name the next file.
#[must_use]
pub fn end(timeline: TimelineId, lsn: Lsn, size: SegmentSize) -> (SegmentName, u32) {
    let offset = lsn.offset(size);
    let plain = SegmentName::from_lsn(timeline, lsn, size);
    if offset == 0 {
        (
            SegmentName::holding_last_byte_before(timeline, lsn, size).unwrap_or(plain),
            0,
        )
    } else {
        (plain, offset)
    }
}

/// A position as the begin and end lines show it: with the file it lies in, if that is known.
#[must_use]
pub fn shown(lsn: Option<Lsn>, file: Option<(SegmentName, u32)>) -> String {
    let lsn = lsn.map_or_else(|| "None".to_owned(), |lsn| lsn.to_string());
    match file {
        Some((name, offset)) => format!("{lsn} ({name}, {offset:08X})"),
        None => lsn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_belongs_to_the_segment_before_it() {
        let timeline = TimelineId::new(2).unwrap();
        let small = SegmentSize::new(1 << 20).unwrap();
        for (lsn, size, wal, offset) in [
            (
                "0/3000138",
                SegmentSize::DEFAULT,
                "000000020000000000000003",
                0x138,
            ),
            ("0/B000000", SegmentSize::DEFAULT, "00000002000000000000000A", 0),
            ("5/0", SegmentSize::DEFAULT, "0000000200000004000000FF", 0),
            ("5/0", small, "000000020000000400000FFF", 0),
            ("0/A00100", small, "00000002000000000000000A", 0x100),
        ] {
            let (name, at) = end(timeline, lsn.parse().unwrap(), size);
            assert_eq!((name.to_string().as_str(), at), (wal, offset), "{lsn}");
        }
    }

    #[test]
    fn a_position_without_a_file_is_the_lsn() {
        let lsn: Lsn = "0/3000028".parse().unwrap();
        let name = SegmentName::from_lsn(TimelineId::new(1).unwrap(), lsn, SegmentSize::DEFAULT);
        assert_eq!(
            shown(Some(lsn), Some((name, 40))),
            "0/3000028 (000000010000000000000003, 00000028)"
        );
        assert_eq!(shown(Some(lsn), None), "0/3000028");
    }
}
