//! WAL made by hand, for tests: pages, records with right checksums, over borders where they come to lie there.

use std::collections::BTreeMap;

use crate::lsn::Lsn;
use crate::record::WalTime;
use crate::segment::{SegmentName, SegmentNumber, SegmentSize};
use crate::timeline::TimelineId;

const PAGE: u64 = 8192;
pub const SYSTEM: u64 = 0x6B01_65EB_CB07_8E3C;

/// WAL of PostgreSQL 18 in segments of 1 MiB.
#[derive(Clone)]
pub struct WalMaker {
    pub timeline: u32,
    pub position: u64,
    previous: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

pub const SIZE: u64 = 1 << 20;

pub fn size() -> SegmentSize {
    SegmentSize::new(SIZE).unwrap()
}

pub fn name(timeline: u32, number: u64) -> SegmentName {
    SegmentNumber(number)
        .name(TimelineId::new(timeline).unwrap(), size())
        .unwrap()
}

impl WalMaker {
    /// From the start of segment `number` on.
    pub fn new(timeline: u32, number: u64) -> Self {
        Self {
            timeline,
            position: number * SIZE,
            previous: number * SIZE - 100,
            pages: BTreeMap::new(),
        }
    }

    fn page_header(&mut self, flags: u16, remaining: usize) {
        let long = self.position.is_multiple_of(SIZE);
        let mut header = Vec::new();
        header.extend(0xD118u16.to_le_bytes());
        let contrecord = u16::from(remaining > 0);
        header.extend((flags | contrecord | if long { 2 } else { 0 }).to_le_bytes());
        header.extend(self.timeline.to_le_bytes());
        header.extend(self.position.to_le_bytes());
        header.extend(u32::try_from(remaining).unwrap().to_le_bytes());
        header.extend([0; 4]);
        if long {
            header.extend(SYSTEM.to_le_bytes());
            header.extend(u32::try_from(SIZE).unwrap().to_le_bytes());
            header.extend(8192u32.to_le_bytes());
        }
        self.put(&header);
    }

    fn put(&mut self, bytes: &[u8]) {
        let page = self.pages.entry(self.position / PAGE).or_default();
        page.resize(usize::try_from(self.position % PAGE).unwrap(), 0);
        page.extend(bytes);
        self.position += bytes.len() as u64;
    }

    /// Any bytes as a record.
    fn raw(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.position.is_multiple_of(PAGE) {
                let remaining = if rest.len() < bytes.len() { rest.len() } else { 0 };
                self.page_header(0, remaining);
            }
            let room = usize::try_from(PAGE - self.position % PAGE).unwrap();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.put(now);
            rest = later;
        }
        self.position = self.position.next_multiple_of(8);
    }

    /// A record; gives where it starts.
    pub fn record(&mut self, manager: u8, info: u8, xid: u32, main: &[u8]) -> Lsn {
        if self.position.is_multiple_of(PAGE) {
            self.page_header(0, 0);
        }
        let start = self.position;
        let mut body = Vec::new();
        if main.len() > 255 {
            body.push(254);
            body.extend(u32::try_from(main.len()).unwrap().to_le_bytes());
        } else if !main.is_empty() {
            body.push(255);
            body.push(u8::try_from(main.len()).unwrap());
        }
        body.extend(main);
        let mut record = Vec::new();
        record.extend(u32::try_from(24 + body.len()).unwrap().to_le_bytes());
        record.extend(xid.to_le_bytes());
        record.extend(self.previous.to_le_bytes());
        record.extend([info, manager, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&body), &record);
        record.extend(crc.to_le_bytes());
        record.extend(body);
        self.raw(&record);
        self.previous = start;
        Lsn(start)
    }

    pub fn commit(&mut self, xid: u32, time: i64) -> Lsn {
        self.record(1, 0x00, xid, &time.to_le_bytes())
    }

    pub fn abort(&mut self, xid: u32, time: i64) -> Lsn {
        self.record(1, 0x20, xid, &time.to_le_bytes())
    }

    /// A commit of a prepared transaction with many sub-transactions.
    pub fn commit_prepared(&mut self, xid: u32, time: i64, parts: u32) -> Lsn {
        let mut main = time.to_le_bytes().to_vec();
        main.extend((2u32 | 16).to_le_bytes());
        main.extend(parts.to_le_bytes());
        main.extend((0..parts).flat_map(|part| (xid + 1 + part).to_le_bytes()));
        main.extend(xid.to_le_bytes());
        self.record(1, 0x30 | 0x80, 0, &main)
    }

    pub fn restore_point(&mut self, name: &str, time: i64) -> Lsn {
        let mut main = time.to_le_bytes().to_vec();
        main.extend(name.as_bytes());
        main.resize(8 + 64, 0);
        self.record(0, 0x70, 0, &main)
    }

    pub fn checkpoint(&mut self, next_xid: u64, timelines: (u32, u32)) -> Lsn {
        let mut main = self.position.to_le_bytes().to_vec();
        main.extend(timelines.1.to_le_bytes());
        main.extend(timelines.0.to_le_bytes());
        main.extend(1u32.to_le_bytes());
        main.extend(1u32.to_le_bytes());
        main.extend(next_xid.to_le_bytes());
        main.extend([0; 28]);
        main.extend([0; 4]);
        main.extend(1_800_000_000i64.to_le_bytes());
        main.extend([0; 12]);
        self.record(0, 0x00, 0, &main)
    }

    /// One record of no interest that leaves `left` bytes of the current segment.
    pub fn fill_to(&mut self, left: u64) {
        if self.position.is_multiple_of(PAGE) {
            self.page_header(0, 0);
        }
        let end = self.position.next_multiple_of(SIZE) - left;
        let headers = (end - 1) / PAGE - self.position / PAGE;
        let length = end - self.position - 24 * headers - 24 - 5;
        self.message(usize::try_from(length).unwrap());
        assert_eq!(self.position, end);
    }

    /// So many bytes in one record of no interest.
    pub fn message(&mut self, length: usize) -> Lsn {
        self.record(21, 0, 5, &vec![1; length])
    }

    /// A switch; the rest of the segment stays zero.
    pub fn switch(&mut self) -> Lsn {
        let lsn = self.record(0, 0x40, 0, &[]);
        self.position = self.position.next_multiple_of(SIZE);
        lsn
    }

    /// The timeline ends here; what follows is of another one, whose first segment has the pages up to here.
    pub fn branch(&self, timeline: u32) -> Self {
        Self {
            timeline,
            ..self.clone()
        }
    }

    /// A whole segment, with zeros where nothing was written.
    pub fn segment(&self, number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for page in number * SIZE / PAGE..(number + 1) * SIZE / PAGE {
            let start = bytes.len();
            bytes.extend(self.pages.get(&page).map(Vec::as_slice).unwrap_or_default());
            bytes.resize(start + usize::try_from(PAGE).unwrap(), 0);
        }
        bytes
    }
}

pub fn at(micros: i64) -> WalTime {
    WalTime(micros)
}
