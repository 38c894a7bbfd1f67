//! Contents of WAL files: segments with the headers that PostgreSQL writes, compressed or encrypted.

use std::io::Write as _;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::blueprint::{Codec, Server, WalFile};
use super::wal_name::WalName;
use crate::Segment;

/// What a file holds before compression, and how many zeros follow.
fn plain(server: &Server, name: WalName) -> (Vec<u8>, u64) {
    match name {
        WalName::Segment { timeline, number } | WalName::Partial { timeline, number } => {
            let header = Segment {
                major: server.version / 10_000,
                timeline,
                number,
                size: server.geometry.segment_size,
                system: server.system_id,
            }
            .header();
            let rest = server.geometry.segment_size - header.len() as u64;
            (header, rest)
        }
        WalName::Label {
            timeline,
            number,
            offset,
        } => {
            let wal = server.geometry.segment(timeline, number);
            let lsn = super::wal_name::Lsn(number * server.geometry.segment_size + u64::from(offset));
            let text = format!("START WAL LOCATION: {lsn} (file {wal})\nLABEL: generated\n");
            (text.into_bytes(), 0)
        }
        WalName::History { timeline } => {
            let history = server.histories.iter().find(|h| h.timeline == timeline);
            (history.map_or_else(Vec::new, |h| h.text.clone().into_bytes()), 0)
        }
    }
}

/// The bytes of a file of the archive, and how many zeros follow them. `whole`: segments have their full size.
pub fn archived(server: &Server, wal: &WalFile, whole: bool) -> Result<(Vec<u8>, u64)> {
    let (plain, zeros) = plain(server, wal.name);
    let zeros = if whole { zeros } else { 0 };
    if wal.encrypted {
        return Ok((encrypted(&plain), 0));
    }
    let Some(codec) = wal.compression else {
        return Ok((plain, zeros));
    };
    // History files must be readable for both programs; what nobody decompresses needs no more than its magic number.
    let magic: &[u8] = match codec {
        Codec::Gzip | Codec::Pigz | Codec::PyGzip => return Ok((gzip(&plain, zeros)?, 0)),
        Codec::Bzip2 | Codec::PyBzip2 => b"BZh91AY&SY",
        Codec::Xz => b"\xfd7zXZ\x00",
        Codec::Zstd => b"\x28\xb5\x2f\xfd",
        Codec::Lz4 => b"\x04\x22\x4d\x18",
        Codec::Snappy => b"\xff\x06\x00\x00sNaPpY",
    };
    if matches!(wal.name, WalName::History { .. }) {
        return Ok((plain, 0));
    }
    Ok(([magic, plain.as_slice()].concat(), 0))
}

/// The bytes of a file that waits in `incoming` or `streaming`, and how many zeros follow them.
pub fn queued(server: &Server, name: WalName, whole: bool) -> (Vec<u8>, u64) {
    let (bytes, zeros) = plain(server, name);
    (bytes, if whole { zeros } else { 0 })
}

fn gzip(bytes: &[u8], zeros: u64) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut left = zeros;
    let block = [0; 1 << 16];
    encoder.write_all(bytes).context("compress")?;
    while left > 0 {
        let n = left.min(block.len() as u64);
        encoder.write_all(&block[..n as usize]).context("compress")?;
        left -= n;
    }
    encoder.finish().context("compress")
}

/// What looks like a message encrypted for an RSA key (RFC 4880, packet tag 1), to which nobody has the key.
fn encrypted(plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x85, 0x01, 0x8c, 0x03];
    bytes.extend(b"BARMANKEY");
    bytes.extend(plain.iter().map(|b| b ^ 0x5a));
    bytes
}
