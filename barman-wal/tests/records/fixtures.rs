//! The first pages of segments of real servers: a restore point, commits, two-phase commits, images.

/// Four pages of segment 000000010000000000000002.
pub fn start(major: u16) -> Vec<u8> {
    match major {
        10 => include_bytes!("../fixtures/wal/10-start").to_vec(),
        15 => include_bytes!("../fixtures/wal/15-start").to_vec(),
        _ => include_bytes!("../fixtures/wal/18-start").to_vec(),
    }
}
