//! Page headers: what they must be, and how records continue over them.

use super::super::error::{DecodeError, Reason};
use super::super::header;
use super::{Decoder, Format, RecordRest, State};
use crate::lsn::Lsn;
use crate::page::{
    self, FIRST_IS_CONTRECORD, FIRST_IS_OVERWRITE_CONTRECORD, LONG_HEADER, LONG_HEADER_SIZE, PageHeader,
    SHORT_HEADER_SIZE, SegmentHeaderError,
};
use crate::segment::SegmentName;
use crate::timeline::TimelineId;

/// All flags that a page can have (`XLP_ALL_FLAGS`).
const ALL_FLAGS: u16 = 0x000F;

impl Decoder {
    /// Takes what `rest` has of a page header; gives how much that is.
    pub(super) fn collect_header(&mut self, rest: &[u8]) -> Result<usize, DecodeError> {
        let long = match self.format {
            None => true,
            Some(format) => self.lsn().is_segment_start(format.segment),
        };
        let size = if long { LONG_HEADER_SIZE } else { SHORT_HEADER_SIZE };
        if self.header.is_empty()
            && let Some(whole) = rest.get(..size)
        {
            self.page(whole)?;
            return Ok(size);
        }
        let missing = size.saturating_sub(self.header.len());
        let more = rest.get(..missing).unwrap_or(rest);
        self.header.extend_from_slice(more);
        if self.header.len() == size {
            let header = std::mem::take(&mut self.header);
            self.page(&header)?;
            self.header = header;
            self.header.clear();
        }
        Ok(more.len())
    }

    /// A page begins with the header `bytes`, which is complete.
    fn page(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.format.is_some() && bytes.iter().all(|byte| *byte == 0) {
            let end = match self.pending_lsn {
                Some(record) => record,
                None if self.skip > 0 => self.first,
                None => self.lsn(),
            };
            self.state = State::Zeros { end };
            self.header_due = false;
            self.position = self.position.saturating_add(bytes.len() as u64);
            return Ok(());
        }
        let Some(header) = PageHeader::parse(bytes) else {
            // It says that it is longer than one at this place can be.
            return Err(self.error(Reason::PageHeader {
                field: "xlp_info",
                value: u64::from(LONG_HEADER),
            }));
        };
        let format = match self.format {
            Some(format) => format,
            None => self.first_header(&header, bytes)?,
        };
        let format = self.check_page(&header, format)?;
        self.format = Some(format);
        self.continue_record(&header)?;
        self.first_page = false;
        self.header_due = false;
        self.position = self.position.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// The first page of all.
    fn first_header(&mut self, header: &PageHeader, bytes: &[u8]) -> Result<Format, DecodeError> {
        let magic = header.magic;
        let wrong = |lsn, reason| Err(DecodeError { lsn, reason });
        let Some(major) = page::postgres_major_of(magic).and_then(|major| u8::try_from(major).ok()) else {
            let reason = if bytes.iter().all(|byte| *byte == 0) {
                Reason::Segment(SegmentHeaderError::Zeroed)
            } else {
                Reason::UnknownFormat { magic }
            };
            return wrong(Lsn::INVALID, reason);
        };
        let segment = match page::check_segment_header(bytes) {
            Ok(segment) => segment,
            Err(error) => return wrong(Lsn::INVALID, Reason::Segment(error)),
        };
        let checked = self.name.map_or(Ok(()), |name| {
            let content = SegmentName {
                timeline: name.timeline,
                ..segment.name()
            };
            if content == name {
                Ok(())
            } else {
                Err(SegmentHeaderError::Name {
                    content: segment.name(),
                    name,
                })
            }
        });
        if let Err(error) = checked {
            return wrong(segment.start_lsn, Reason::Segment(error));
        }
        self.first = segment.start_lsn;
        self.position = segment.start_lsn.0;
        Ok(Format {
            magic,
            major,
            segment: segment.segment_size,
            block: u64::from(segment.block_size),
            system: None,
        })
    }

    /// Checks what does not depend on records.
    fn check_page(&mut self, header: &PageHeader, format: Format) -> Result<Format, DecodeError> {
        let field = |field, value| Err(self.error(Reason::PageHeader { field, value }));
        if header.magic != format.magic {
            return field("xlp_magic", u64::from(header.magic));
        }
        let starts_segment = self.lsn().is_segment_start(format.segment);
        if header.info & !ALL_FLAGS != 0 || (header.info & LONG_HEADER != 0) != starts_segment {
            return field("xlp_info", u64::from(header.info));
        }
        let mut system = format.system;
        if let Some(long) = header.long {
            if long.segment_size != format.segment.bytes() {
                return field("xlp_seg_size", u64::from(long.segment_size));
            }
            if u64::from(long.block_size) != format.block {
                return field("xlp_xlog_blcksz", u64::from(long.block_size));
            }
            let found = long.system_identifier;
            if let Some(expected) = system.or(self.system)
                && expected != found
            {
                return Err(self.error(Reason::System { found, expected }));
            }
            system = Some(found);
        }
        if header.page_address != self.lsn() {
            return Err(self.error(Reason::PageAddress {
                found: header.page_address,
                expected: self.lsn(),
            }));
        }
        let timeline = TimelineId::new(header.timeline);
        let highest = self.name.map(|name| name.timeline);
        let limit = match (self.timeline, highest) {
            (Some(before), _) if timeline < Some(before) => Some(before),
            (_, Some(highest)) if timeline > Some(highest) => Some(highest),
            (None, _) if timeline.is_none() => Some(TimelineId::FIRST),
            _ => None,
        };
        if let Some(limit) = limit {
            return Err(self.error(Reason::Timeline {
                found: header.timeline,
                limit: limit.get(),
            }));
        }
        self.timeline = timeline;
        Ok(Format { system, ..format })
    }

    /// Checks that the page continues the record that is not complete, if there is one.
    fn continue_record(&mut self, header: &PageHeader) -> Result<(), DecodeError> {
        let continues = header.info & FIRST_IS_CONTRECORD != 0;
        let overwrites = header.info & FIRST_IS_OVERWRITE_CONTRECORD != 0;
        if continues == (header.remaining == 0) {
            return Err(self.error(Reason::PageHeader {
                field: "xlp_rem_len",
                value: u64::from(header.remaining),
            }));
        }
        let open = self.skip > 0 || self.pending_lsn.is_some();
        if overwrites && (continues || !(open || self.first_page)) {
            return Err(self.error(Reason::PageHeader {
                field: "xlp_info",
                value: u64::from(header.info),
            }));
        }
        if overwrites {
            // The server crashed before the rest was written; recovery began anew here.
            self.skip = 0;
            self.pending_lsn = None;
            self.pending_header = None;
            self.pending.clear();
            return Ok(());
        }
        if self.first_page && continues {
            self.skip = header.remaining;
            self.head = Some(RecordRest::new(header.remaining));
            return Ok(());
        }
        let expected = if self.pending_lsn.is_some() {
            // At least its length is known: the smallest piece of a page is longer than that.
            let length = header::length_field(&self.pending).map_or(0, u32::from_le_bytes);
            length.saturating_sub(u32::try_from(self.pending.len()).unwrap_or(u32::MAX))
        } else {
            self.skip
        };
        if header.remaining == expected {
            Ok(())
        } else {
            Err(self.error(Reason::Continuation {
                record: self.pending_lsn.unwrap_or(Lsn::INVALID),
                found: header.remaining,
                expected,
            }))
        }
    }
}
