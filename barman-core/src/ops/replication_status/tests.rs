//! Decisions about clients, without a server.

use super::*;

fn client(
    replayed: Option<u64>,
    flushed: Option<u64>,
    written: Option<u64>,
    sent: Option<u64>,
) -> ReplicationClient {
    ReplicationClient {
        pid: Some(7),
        user: None,
        application_name: None,
        address: None,
        hostname: None,
        port: None,
        started_at: None,
        xmin: None,
        state: None,
        sync_state: None,
        sync_priority: 0,
        slot: None,
        sent: sent.map(Lsn),
        written: written.map(Lsn),
        flushed: flushed.map(Lsn),
        replayed: replayed.map(Lsn),
        current: Some(Lsn(100)),
    }
}

#[test]
fn stages_go_from_the_safest_down() {
    let at = Some(100);
    let behind = Some(90);
    for (client, stage) in [
        (client(at, at, at, at), "5/5 Hot standby (max)"),
        (client(behind, at, at, at), "4/5 2-safe"),
        (client(behind, behind, at, at), "3/5 Remote write"),
        (client(behind, behind, behind, at), "2/5 WAL Sent (min)"),
        (client(behind, behind, behind, behind), "1/5 1-safe"),
        (client(None, at, at, at), "3/3 Remote write"),
        (client(None, at, behind, at), "2/3 WAL Sent (min)"),
        (client(None, None, None, behind), "1/3 1-safe"),
        (client(None, None, None, None), "1/3 1-safe"),
    ] {
        assert_eq!(client.sync_stage(), stage, "{client:?}");
    }
}

#[test]
fn nothing_is_level_with_an_unknown_position() {
    let unknown = ReplicationClient {
        current: None,
        ..client(None, None, None, None)
    };
    assert_eq!(unknown.sync_stage(), "1/3 1-safe");
    assert_eq!(unknown.difference(Lsn(5)), None);
    let standby = ReplicationClient {
        current: None,
        ..client(Some(5), Some(5), Some(5), Some(5))
    };
    assert_eq!(standby.sync_stage(), "1/5 1-safe");
}

#[test]
fn differences_are_negative_behind() {
    let client = client(None, None, None, Some(68));
    assert_eq!(client.difference(Lsn(68)), Some(-32));
    assert_eq!(client.difference(Lsn(u64::MAX)), Some(i128::from(u64::MAX) - 100));
}

#[test]
fn addresses_have_no_network() {
    for (text, address_) in [
        ("127.0.0.1/32", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1/128", "::1"),
        ("fe80::1", "fe80::1"),
        ("odd/text", "odd/text"),
    ] {
        assert_eq!(address(text), address_);
    }
}
