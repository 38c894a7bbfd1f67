//! Whether a file with the name of a complete segment is one.
//!
//! Only what is WAL beyond doubt and wrong beyond doubt is kept out of the archive: a segment that was allocated and
//! never written, cut off, or has another segment's content. What we do not recognise may be the user's own
//! compression or encryption, or the WAL of a newer server, and is archived.

use barman_wal::SegmentName;
use barman_wal::page::{self, SegmentHeaderError};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) enum Verdict {
    /// A segment of this name.
    Good,
    /// Not WAL that we know.
    Unrecognised,
    /// Useless for recovery; why, in words.
    Bad(String),
}

/// Judges the first bytes and the size of a file.
pub(in crate::ops) fn judge(name: SegmentName, first: &[u8], size: u64) -> Verdict {
    if size == 0 {
        return Verdict::Bad("it is empty".to_owned());
    }
    let header = page::check_segment_header(first);
    // Of a version that we do not know we know neither the header nor what it means.
    let is_known =
        page::PageHeader::parse(first).is_some_and(|header| page::postgres_major_of(header.magic).is_some());
    if !is_known && header != Err(SegmentHeaderError::Zeroed) {
        return Verdict::Unrecognised;
    }
    match header {
        Ok(header) => {
            if let Err(error) = header.check_name(name) {
                return Verdict::Bad(error.to_string());
            }
            let expected = u64::from(header.segment_size.bytes());
            if size == expected {
                Verdict::Good
            } else {
                Verdict::Bad(format!("it has {size} bytes instead of {expected}"))
            }
        }
        Err(error @ SegmentHeaderError::Zeroed) => Verdict::Bad(error.to_string()),
        Err(error @ SegmentHeaderError::Damaged { .. }) => Verdict::Bad(error.to_string()),
        Err(
            SegmentHeaderError::Short { .. }
            | SegmentHeaderError::Magic { .. }
            | SegmentHeaderError::Name { .. },
        ) => Verdict::Unrecognised,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(segment: u64) -> Vec<u8> {
        super::super::tests::segment_header(segment, 1 << 20)
    }

    #[test]
    fn verdicts() {
        let name: SegmentName = "000000010000000000000003".parse().unwrap();
        let size = 1 << 20;
        assert_eq!(judge(name, &header(3), size), Verdict::Good);
        assert_eq!(
            judge(name, b"some other content that nobody knows, 64 bytes long", 51),
            Verdict::Unrecognised
        );
        assert_eq!(judge(name, b"x", 1), Verdict::Unrecognised);
        // A newer PostgreSQL may have changed anything but where the magic number is.
        for (first, size) in [
            (header(3), size),
            (header(4), size - 1),
            (header(3)[..4].to_vec(), 4),
        ] {
            let mut first = first;
            first[..2].copy_from_slice(&0xD119u16.to_le_bytes());
            first.resize(64, 0);
            assert_eq!(judge(name, &first, size), Verdict::Unrecognised);
        }
        for (first, size, word) in [
            (header(4), size, "000000010000000000000004"),
            (header(3), size - 1, "1048575 bytes"),
            (header(3), 16 << 20, "16777216 bytes"),
            (vec![0; 64], size, "never written"),
            (Vec::new(), 0, "empty"),
            (
                header(3)[..4].iter().copied().chain([0; 60]).collect(),
                size,
                "damaged",
            ),
        ] {
            let verdict = judge(name, &first, size);
            assert!(
                matches!(&verdict, Verdict::Bad(reason) if reason.contains(word)),
                "{word}: {verdict:?}"
            );
        }
    }
}
