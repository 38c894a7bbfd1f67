//! WAL that is cut off, or not as it was written.

use barman_wal::Lsn;
use barman_wal::page::{BKP_REMOVABLE, FIRST_IS_OVERWRITE_CONTRECORD, PageHeader};
use barman_wal::record::{DecodeError, Decoder, Ending};

use crate::decoded::{Seen, Segments, decode};
use crate::fixtures;

const PAGE: usize = 8192;

/// Seeded numbers (PCG).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A file that ends anywhere, or is zeros from anywhere on, gives the records before that and not one more.
pub fn cut(segments: &Segments, all: &[Seen]) {
    let (name, bytes) = &segments.files[0];
    let start = name.start_lsn(segments.size);
    let mut random = Random::new(7);
    for turn in 0..60 {
        let length = match turn {
            0 => 0,
            1 => PAGE,
            2 => PAGE + 12,
            _ => random.below(bytes.len()),
        };
        let end = Lsn(start.0 + length as u64);
        let whole: Vec<&Seen> = all
            .iter()
            .filter(|record| record.lsn.0 + u64::from(record.length) <= end.0 && record.lsn < end)
            .collect();
        let (records, ending) = decode(segments.decoder(*name), &[&bytes[..length]]);
        assert!(records.len() <= whole.len());
        // A record over several pages is longer than it seems by their headers.
        assert!(whole.len() - records.len() <= 1, "{length}");
        assert!(records.iter().eq(whole[..records.len()].iter().copied()));
        match ending.unwrap() {
            Ending::Nothing => assert!(length < 40),
            Ending::AtRecord(at) => assert_eq!(at, end),
            Ending::InRecord { start: Some(at) } => assert!(at < end),
            Ending::InRecord { start: None } => assert!(records.is_empty()),
            other @ Ending::Zeros { .. } => {
                assert!(whole.last().is_none_or(|last| last.end < end), "{other:?}");
            }
        }

        let mut zeroed = bytes[..length].to_vec();
        zeroed.resize(bytes.len(), 0);
        let (partial, ending) = decode(segments.decoder(*name), &[&zeroed]);
        assert!(partial.len() >= records.len() && partial.len() <= records.len() + 1);
        assert!(partial.iter().eq(all.iter().take(partial.len())), "{length}");
        match ending {
            // The bytes that are missing may have been zeros anyway; those of a record that began before the
            // file are not looked at.
            Ok(Ending::Zeros { end: zeros, .. }) => assert!(
                zeros <= Lsn(end.0.next_multiple_of(8))
                    || partial.last().is_none_or(|last| last.end == zeros),
                "{zeros} {end}"
            ),
            // Within a record, or within a page header.
            Err(error) => assert!(error.lsn <= end, "{error} {end}"),
            // A switch, whose rest of the segment is zeros anyway.
            Ok(Ending::AtRecord(_)) => assert_eq!(partial.last().unwrap().kind, "SWITCH"),
            Ok(other) => panic!("{length}: {other:?}"),
        }
    }
}

/// Whether PostgreSQL looks at this byte at all. `records`: those of the segment, in order.
fn unseen(bytes: &[u8], start: Lsn, at: usize, records: &[(Lsn, Lsn, u64, bool)]) -> Option<&'static str> {
    let lsn = Lsn(start.0 + at as u64);
    let index = records.partition_point(|(begin, ..)| *begin <= lsn);
    if let Some((_, end, bytes_end, switch)) = index.checked_sub(1).and_then(|index| records.get(index))
        && *switch
        && lsn < *end
        && lsn.0 >= *bytes_end
    {
        return Some("after a switch");
    }
    let in_page = at % PAGE;
    if (20..24).contains(&in_page) {
        return Some("the unused end of a page header");
    }
    let header = PageHeader::parse(&bytes[at - in_page..]).unwrap();
    let size = if header.long.is_some() { 40 } else { 24 };
    if in_page < size {
        // The flags; which bit is for the caller.
        return (in_page == 2).then_some("a flag of the page");
    }
    let Some(before) = index.checked_sub(1) else {
        // Only whoever has the segment before can judge it.
        return Some("a record that began before the first segment");
    };
    let (_, end, bytes_end, _) = records.get(before)?;
    (lsn.0 >= *bytes_end && lsn < *end).then_some("between two records")
}

/// Flags that PostgreSQL does not look at on this page: on the first one, where it has nothing of a record that began
/// before, also whether one was overwritten.
fn unseen_flags(at: usize) -> u16 {
    if at < PAGE {
        BKP_REMOVABLE | FIRST_IS_OVERWRITE_CONTRECORD
    } else {
        BKP_REMOVABLE
    }
}

/// Where records begin, where the next can be, where their bytes end, whether it is a switch.
fn spans(decoder: &Decoder, bytes: &[u8]) -> Vec<(Lsn, Lsn, u64, bool)> {
    let mut decoder = decoder.clone();
    let mut spans = Vec::new();
    let mut feed = decoder.feed(bytes);
    while let Ok(Some(record)) = feed.next() {
        let (lsn, end, switch) = (record.lsn(), record.end(), record.type_name() == "SWITCH");
        // The decoder has not read further than the record yet.
        let bytes_end = feed.decoder().position().unwrap();
        spans.push((lsn, end, bytes_end.0, switch));
    }
    spans
}

/// Feeds pages from `page` on with one byte changed, until there is an error or the byte is far behind. Gives back the
/// record that the WAL ends in, if it does.
fn found(decoder: &Decoder, pages: &[u8], at: usize, value: u8) -> Result<Option<Lsn>, DecodeError> {
    let mut decoder = decoder.clone();
    for (number, page) in pages.chunks(PAGE).enumerate() {
        let mut copy = page.to_vec();
        if number == at / PAGE {
            copy[at % PAGE] = value;
        }
        let mut feed = decoder.feed(&copy);
        let mut after = false;
        while let Some(record) = feed.next()? {
            let _ = record.payload();
            after = true;
        }
        if number > at / PAGE && after {
            break;
        }
    }
    Ok(match decoder.ending() {
        Ending::InRecord { start } => start,
        Ending::Zeros { end, in_record: true } => Some(end),
        _ => None,
    })
}

/// Single changed bytes anywhere in the segments are found, or PostgreSQL would not look.
pub fn flips(segments: &Segments, count: usize, seed: u64) {
    let mut random = Random::new(seed);
    let (name, _) = &segments.files[0];
    let start = name.start_lsn(segments.size);
    let bytes: Vec<u8> = segments
        .files
        .iter()
        .flat_map(|(_, bytes)| bytes)
        .copied()
        .collect();
    let decoder = Decoder::new().of_segment(*name).of_system(segments.system);
    let spans = spans(&decoder, &bytes);
    // The decoder at the beginning of each page.
    let mut snapshots = vec![decoder];
    for page in bytes.chunks(PAGE) {
        let mut next = snapshots.last().unwrap().clone();
        let mut feed = next.feed(page);
        while let Ok(Some(_)) = feed.next() {}
        snapshots.push(next);
    }
    let complete = usize::try_from(spans.last().unwrap().2 - start.0).unwrap();
    for _ in 0..count {
        let at = random.below(complete);
        let value = bytes[at] ^ u8::try_from(1 + random.below(255)).unwrap();
        judge(&bytes, start, at, value, &snapshots, &spans);
    }
}

fn judge(
    bytes: &[u8],
    start: Lsn,
    at: usize,
    value: u8,
    snapshots: &[Decoder],
    spans: &[(Lsn, Lsn, u64, bool)],
) {
    let page = at / PAGE;
    let result = found(&snapshots[page], &bytes[page * PAGE..], at % PAGE, value);
    let unseen = unseen(bytes, start, at, spans);
    match (result, unseen) {
        (Err(_), _) => {}
        (Ok(_), Some("a flag of the page")) => {
            assert_eq!(
                u16::from(value ^ bytes[at]) & !unseen_flags(at),
                0,
                "flag at {at:#X} of {start}"
            );
        }
        (Ok(_), Some(_)) => {}
        // Its length leads behind the last record: the WAL seems to end in this one, and the decoder says so. One that
        // is torn looks the same, to PostgreSQL too.
        (Ok(Some(open)), None) if (open.0..open.0 + 4).contains(&(start.0 + at as u64)) => {}
        (Ok(_), None) => {
            let lsn = Lsn(start.0 + at as u64);
            let index = spans.partition_point(|(begin, ..)| *begin <= lsn);
            panic!(
                "{at:#X} of {start}: {:02X} became {value:02X} unnoticed; the records around it: {:?}",
                bytes[at],
                spans.get(index.saturating_sub(2)..spans.len().min(index + 2))
            )
        }
    }
}

/// Every byte of two whole pages, of three versions.
#[test]
fn every_byte_of_two_pages() {
    for major in [10, 15, 18] {
        let bytes = fixtures::start(major);
        let start = Lsn(0x200_0000);
        let system = PageHeader::parse(&bytes).unwrap().long.unwrap().system_identifier;
        let decoder = Decoder::new()
            .of_segment("000000010000000000000002".parse().unwrap())
            .of_system(system);
        let spans = spans(&decoder, &bytes);
        assert!(
            spans.last().unwrap().2 > start.0 + 2 * PAGE as u64,
            "{major}: too few pages"
        );
        let mut unseen_bytes = 0;
        for at in 0..2 * PAGE {
            // A checksum sees every change of a byte alike; the fields of a page header have none.
            let changes: Vec<u8> = if at % PAGE < 40 {
                (1..=255).collect()
            } else {
                vec![1 << (at % 8), 0xFF]
            };
            for change in changes {
                let result = found(&decoder, &bytes, at, bytes[at] ^ change);
                match (result, unseen(&bytes, start, at, &spans)) {
                    (Err(_), _) => {}
                    (Ok(_), Some("a flag of the page")) => {
                        assert_eq!(
                            u16::from(change) & !unseen_flags(at),
                            0,
                            "{major} {at:#X} {change:#X}"
                        );
                    }
                    (Ok(_), Some(_)) => unseen_bytes += usize::from(change == 0xFF),
                    (Ok(_), None) => panic!("{major}: {at:#X} changed by {change:#04X} unnoticed"),
                }
            }
        }
        assert!(unseen_bytes < 2 * PAGE / 20, "{major}: {unseen_bytes}");
    }
}
