//! WAL records (`barman-wal`).

use barman_wal::record::{DecodeError, Decoder, Ending, Record};

use crate::input::{choice, reached};

/// `XLOG_PAGE_MAGIC` of 10 to 18.
const MAGICS: [u16; 9] = [
    0xD097, 0xD098, 0xD101, 0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118,
];
const PAGE: usize = 8192;
const SEGMENT: u32 = 1 << 20;
const START: u64 = 0x100_0000;

/// WAL as it comes, from the start of a segment; and a record of any content whose checksum is right.
pub fn wal_records(bytes: &[u8]) {
    let (whole, ending) = decode(&[bytes]);
    for size in [1, 7, 4097] {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(
            decode(&pieces),
            (whole.clone(), ending.clone()),
            "pieces of {size}"
        );
    }
    if !whole.is_empty() {
        reached();
    }
    // No more records than bytes, no more content than came.
    let content: usize = whole.iter().map(|seen| seen.1).sum();
    assert!(content <= bytes.len());

    let (version, rest) = choice(bytes, MAGICS.len());
    let Some(([manager, info], body)) = rest.split_first_chunk() else {
        return;
    };
    let magic = MAGICS.get(version).copied().unwrap_or_default();
    let pages = around(magic, *manager, *info, body);
    let (found, ending) = decode(&[&pages]);
    match ending {
        Ok(Ending::AtRecord(_)) => assert_eq!(found.len(), 1),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(error.lsn.0 >= START && !error.is_unknown_format()),
    }
}

/// Position, length and content of a record, all as text.
type Seen = (u64, usize, String);

fn decode(pieces: &[&[u8]]) -> (Vec<Seen>, Result<Ending, DecodeError>) {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for piece in pieces {
        let mut feed = decoder.feed(piece);
        loop {
            match feed.next() {
                Ok(Some(record)) => seen.push(look(&record)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(feed.next().err(), Some(error.clone()), "an error is final");
                    return (seen, Err(error));
                }
            }
        }
    }
    (seen, Ok(decoder.ending()))
}

/// Everything that can be asked for.
fn look(record: &Record<'_>) -> Seen {
    assert_eq!(record.bytes().len(), record.total_length() as usize);
    assert!(record.lsn() < record.end() && record.previous() < record.lsn());
    let mut parts = record.main_data().len();
    let mut blocks = 0;
    let mut images = 0;
    for block in record.blocks() {
        blocks += 1;
        parts += block.data.len();
        if let Some(image) = block.image {
            images += 1;
            parts += image.bytes.len();
            assert!(image.hole_offset != 0 || image.hole_length.is_none_or(|hole| hole == 0));
        }
    }
    assert_eq!((record.block_count(), record.image_count()), (blocks, images));
    assert!(parts <= record.bytes().len());
    let payload = record.payload();
    if let Ok(payload) = &payload {
        let _ = (
            payload.timeline_change(),
            payload.target_time().map(|time| time.to_string()),
        );
    }
    let text = format!(
        "{} {} {:?} {:?} {:?} {:?}",
        record.resource_manager().name(),
        record.type_name(),
        record.origin(),
        record.toplevel_xid(),
        payload,
        crc32c::crc32c(record.bytes())
    );
    (record.lsn().0, record.bytes().len(), text)
}

/// The first pages of a segment with one record.
fn around(magic: u16, manager: u8, info: u8, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(24 + body.len());
    record.extend(u32::try_from(24 + body.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend(7u32.to_le_bytes());
    record.extend(8u64.to_le_bytes());
    record.extend([info, manager, 0, 0]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(body), &record);
    record.extend(crc.to_le_bytes());
    record.extend(body);

    let mut pages = Vec::new();
    let mut rest = record.as_slice();
    while !rest.is_empty() {
        let first = pages.is_empty();
        let flags: u16 = if first { 2 } else { 1 };
        let left = if first {
            0
        } else {
            u32::try_from(rest.len()).unwrap_or(u32::MAX)
        };
        let address = START + pages.len() as u64;
        pages.extend(magic.to_le_bytes());
        pages.extend(flags.to_le_bytes());
        pages.extend(1u32.to_le_bytes());
        pages.extend(address.to_le_bytes());
        pages.extend(left.to_le_bytes());
        pages.extend([0; 4]);
        if first {
            pages.extend(9u64.to_le_bytes());
            pages.extend(SEGMENT.to_le_bytes());
            pages.extend(u32::try_from(PAGE).unwrap_or(0).to_le_bytes());
        }
        let (now, later) = rest.split_at(rest.len().min(PAGE - pages.len() % PAGE));
        pages.extend(now);
        rest = later;
    }
    pages
}
