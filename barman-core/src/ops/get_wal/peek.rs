//! Which of the following files are there.

use std::num::NonZeroU32;

use barman_wal::page::{self, LONG_HEADER_SIZE};
use barman_wal::{SegmentName, SegmentSize, WalFileName};

use super::{Request, locate, send};
use crate::context::Cancel;
use crate::server::Server;

/// The names from the requested one on, at most `count`, up to the first that is missing. Only segments have
/// successors.
pub(super) fn names(
    server: &Server,
    request: &Request<'_>,
    count: NonZeroU32,
    cancel: &Cancel,
) -> Vec<WalFileName> {
    let layout = server.layout();
    if !locate::exists(layout, request.name) {
        return Vec::new();
    }
    let mut names = vec![request.name];
    let WalFileName::Segment(first) = request.name else {
        return names;
    };
    let size = segment_size(server, first, cancel);
    let mut last = first;
    while names.len() < usize::try_from(count.get()).unwrap_or(usize::MAX) {
        let Some(next) = successors(last, size)
            .into_iter()
            .flatten()
            .find(|next| locate::exists(layout, (*next).into()))
        else {
            break;
        };
        names.push(next.into());
        last = next;
    }
    names
}

/// The segment after `last`. While the segment size is not known, the next log may begin after any power of two.
fn successors(last: SegmentName, size: Option<SegmentSize>) -> [Option<SegmentName>; 2] {
    match size {
        Some(size) => [last.next(size), None],
        None => {
            let seg = last.seg.checked_add(1);
            let same_log = seg.map(|seg| SegmentName { seg, ..last });
            let may_roll = seg.is_none_or(u32::is_power_of_two);
            let next_log = last.log.checked_add(1).filter(|_| may_roll);
            [same_log, next_log.map(|log| SegmentName { log, seg: 0, ..last })]
        }
    }
}

/// The size of the segments of this archive, as the first page of one of them tells.
fn segment_size(server: &Server, segment: SegmentName, cancel: &Cancel) -> Option<SegmentSize> {
    let name = WalFileName::from(segment);
    let place = locate::places(server.layout(), &name.to_string(), name, false)
        .into_iter()
        .find_map(|place| locate::open(&place.path, place.kind, name).ok().flatten())?;
    let bytes = send::plain_beginning(server.config(), name, &place, LONG_HEADER_SIZE, cancel).ok()?;
    let header = page::check_segment_header(&bytes).ok()?;
    segment.fits(header.segment_size).then_some(header.segment_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_the_size() {
        let segment = |text: &str| text.parse::<SegmentName>().unwrap();
        let next = |text: &str, size| {
            successors(segment(text), size)
                .into_iter()
                .flatten()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            next("0000000100000001000000FF", Some(SegmentSize::DEFAULT)),
            ["000000010000000200000000"]
        );
        assert_eq!(
            next("00000001000000010000003F", Some(SegmentSize::DEFAULT)),
            ["000000010000000100000040"]
        );
        assert_eq!(
            next("00000001000000010000003F", None),
            ["000000010000000100000040", "000000010000000200000000"]
        );
        assert_eq!(
            next("000000010000000100000040", None),
            ["000000010000000100000041"]
        );
        assert_eq!(next("00000001FFFFFFFFFFFFFFFF", None), Vec::<String>::new());
    }
}
