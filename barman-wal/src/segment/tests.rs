//! Names, numbers and positions for every segment size.

use proptest::prelude::*;

use super::*;
use crate::lsn::Lsn;
use crate::timeline::TimelineId;

fn seg(text: &str) -> SegmentName {
    text.parse().unwrap()
}

fn mib(count: u64) -> SegmentSize {
    SegmentSize::new(count << 20).unwrap()
}

#[test]
fn sizes() {
    for (size, max) in [
        (1, 0xFFF),
        (2, 0x7FF),
        (4, 0x3FF),
        (8, 0x1FF),
        (16, 0xFF),
        (32, 0x7F),
        (64, 0x3F),
        (128, 0x1F),
        (256, 0xF),
        (512, 7),
        (1024, 3),
    ] {
        assert_eq!(mib(size).max_segment(), max, "{size} MiB");
        assert_eq!(mib(size).segments_per_log(), max + 1, "{size} MiB");
    }
    for bad in [0, 1, 8192, (1 << 20) - 1, 3 << 20, 1 << 31, 1 << 32, u64::MAX] {
        assert!(SegmentSize::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn names_of_every_kind() {
    let segment = seg("0000000100000002000000FF");
    for (text, name, directory) in [
        (
            "0000000100000002000000FF",
            WalFileName::Segment(segment),
            Some("0000000100000002"),
        ),
        (
            "0000000100000002000000FF.partial",
            WalFileName::Partial(segment),
            Some("0000000100000002"),
        ),
        (
            "0000000100000002000000FF.00000028.backup",
            WalFileName::BackupHistory {
                segment,
                offset: 0x28,
            },
            Some("0000000100000002"),
        ),
        (
            "0000000A.history",
            WalFileName::History(TimelineId::new(10).unwrap()),
            None,
        ),
    ] {
        assert_eq!(text.parse(), Ok(name), "{text}");
        assert_eq!(name.to_string(), text);
        assert_eq!(name.archive_directory().as_deref(), directory, "{text}");
    }
    assert_eq!(
        "0000000a.history".parse::<WalFileName>().unwrap().to_string(),
        "0000000A.history"
    );
    assert_eq!(
        seg("00000001000000000000000a").to_string(),
        "00000001000000000000000A"
    );
}

#[test]
fn what_is_no_name() {
    for bad in [
        "",
        ".",
        "..",
        "00000001000000000000000",
        "0000000100000000000000001",
        "00000001000000000000000G",
        "+0000001000000000000000A",
        "000000000000000000000001",
        "00000000.history",
        "000000010000000000000001.gz",
        "000000010000000000000001.tmp",
        "000000010000000000000001.PARTIAL",
        "000000010000000000000001.partial.tmp",
        "000000010000000000000001.backup",
        "000000010000000000000001.00000028.backup.partial",
        "000000010000000000000001.0000028.backup",
        "0000001.history",
        "000000010.history",
        "000000010000000000000001.history",
        "main-xlog.db",
        "000000010000000000000001\n",
        "0000000100000000000000\u{e9}1",
        "wals/000000010000000000000001",
    ] {
        assert!(bad.parse::<WalFileName>().is_err(), "{bad:?}");
    }
}

#[test]
fn neighbours_across_logs() {
    for (size, name, next) in [
        (16, "0000000100000001000000FE", "0000000100000001000000FF"),
        (16, "0000000100000001000000FF", "000000010000000200000000"),
        (1, "000000030000000100000FFF", "000000030000000200000000"),
        (1024, "000000030000000100000003", "000000030000000200000000"),
    ] {
        assert_eq!(seg(name).next(mib(size)), Some(seg(next)), "{name}");
        assert_eq!(seg(next).prev(mib(size)), Some(seg(name)), "{next}");
    }
    assert_eq!(seg("000000010000000000000000").prev(mib(16)), None);
    assert_eq!(seg("00000001FFFFFFFF000000FF").next(mib(16)), None);
    assert_eq!(seg("00000001FFFFFFFFFFFFFFFF").next(mib(16)), None);
}

#[test]
fn ranges() {
    let (size, first) = (mib(16), seg("0000000100000005000000FE"));
    let names = |last: &str| {
        first
            .through(seg(last), size)
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("000000010000000600000001"),
        [
            "0000000100000005000000FE",
            "0000000100000005000000FF",
            "000000010000000600000000",
            "000000010000000600000001"
        ]
    );
    assert_eq!(names("0000000100000005000000FE"), ["0000000100000005000000FE"]);
    assert!(names("0000000100000005000000FD").is_empty());
    assert!(names("000000020000000600000000").is_empty());
    assert_eq!(first.onwards(size).nth(2), Some(seg("000000010000000600000000")));
    assert_eq!(seg("00000001FFFFFFFF000000FE").onwards(size).count(), 2);
}

#[test]
fn border_rule() {
    let (size, one) = (mib(16), TimelineId::FIRST);
    let before = |lsn: &str| SegmentName::holding_last_byte_before(one, lsn.parse().unwrap(), size);
    assert_eq!(before("0/0"), None);
    assert_eq!(before("0/3000000"), Some(seg("000000010000000000000002")));
    assert_eq!(before("0/3000001"), Some(seg("000000010000000000000003")));
    assert_eq!(before("1/0"), Some(seg("0000000100000000000000FF")));
    let named = seg("000000010000000100000000");
    assert_eq!(
        named.previous_at_border(0, size),
        Some(seg("0000000100000000000000FF"))
    );
    assert_eq!(named.previous_at_border(40, size), Some(named));
}

#[test]
fn positions_of_impossible_names_do_not_overflow() {
    let worst = seg("00000001FFFFFFFFFFFFFFFF");
    assert!(!worst.fits(mib(16)));
    assert_eq!(worst.start_lsn(mib(1024)), Lsn(u64::MAX));
    assert_eq!(worst.lsn_at(u32::MAX, mib(1024)), Lsn(u64::MAX));
    assert_eq!(SegmentNumber(u64::MAX).name(TimelineId::FIRST, mib(1024)), None);
    assert_eq!(SegmentNumber(u64::MAX).start_lsn(mib(1)), None);
}

fn any_segment() -> impl Strategy<Value = SegmentName> {
    (1u32..4, 0u32..3, 0u32..3).prop_map(|(timeline, log, seg)| SegmentName {
        timeline: TimelineId::new(timeline).unwrap(),
        log,
        seg,
    })
}

fn any_name() -> impl Strategy<Value = WalFileName> {
    prop_oneof![
        any_segment().prop_map(WalFileName::Segment),
        any_segment().prop_map(WalFileName::Partial),
        (1u32..4).prop_map(|timeline| WalFileName::History(TimelineId::new(timeline).unwrap())),
        (any_segment(), 0u32..3).prop_map(|(segment, offset)| WalFileName::BackupHistory { segment, offset }),
    ]
}

proptest! {
    #[test]
    fn order_is_the_order_of_the_text(one in any_name(), other in any_name()) {
        prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
    }

    #[test]
    fn any_text_is_safe(text in "[0-9A-Fa-f]{8,24}(\\.[0-9A-F]{0,9})?(\\.(backup|partial|history))?|.{0,30}") {
        if let Ok(name) = text.parse::<WalFileName>() {
            prop_assert_eq!(name.to_string().to_lowercase(), text.to_lowercase());
        }
    }

    #[test]
    fn lsn_name_number_agree(value: u64, timeline in 1u32.., power in 20u32..=30) {
        let (size, timeline) = (SegmentSize::new(1 << power).unwrap(), TimelineId::new(timeline).unwrap());
        let lsn = Lsn(value);
        let name = SegmentName::from_lsn(timeline, lsn, size);
        prop_assert!(name.fits(size));
        prop_assert_eq!(name.start_lsn(size), lsn.segment_start(size));
        prop_assert_eq!(name.lsn_at(lsn.offset(size), size), lsn);
        prop_assert_eq!(name.number(size), lsn.segment(size));
        prop_assert_eq!(name.number(size).name(timeline, size), Some(name));
        prop_assert_eq!(name.next(size).and_then(|next| next.prev(size)).unwrap_or(name), name);
        prop_assert_eq!(name.next(size).map(|next| next.number(size).0), {
            let next = name.number(size).0 + 1;
            SegmentNumber(next).name(timeline, size).map(|_| next)
        });
    }
}
