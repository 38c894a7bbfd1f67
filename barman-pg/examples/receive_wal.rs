//! Streams WAL into a directory of segments: `receive_wal CONNINFO DIRECTORY SEGMENTS`. Begins with the server's current
//! segment and ends when so many are complete; each gets its name when it is durable, and only then the server is told.
#![allow(clippy::disallowed_macros, reason = "an example program prints")]

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use barman_pg::{ConnInfo, ConnectOptions, ReplicationClient, WalEvent};
use barman_wal::durable::AtomicFile;
use barman_wal::{Lsn, SegmentName, SegmentSize};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [conninfo, directory, segments] = arguments.as_slice() else {
        return Err("usage: receive_wal CONNINFO DIRECTORY SEGMENTS".into());
    };
    let (directory, segments): (_, u64) = (PathBuf::from(directory), segments.parse()?);
    let conninfo: ConnInfo = conninfo.parse()?;
    let mut client = ReplicationClient::connect(&conninfo.streaming(), &ConnectOptions::default())?;
    let system = client.identify_system()?;
    let size = SegmentSize::new(client.wal_segment_size()?)?;
    let length = u64::from(size.bytes());
    let first = Lsn(system.xlogpos.0 / length * length);
    let name = |lsn| SegmentName::from_lsn(system.timeline, lsn, size).to_string();
    let open = |lsn| AtomicFile::create(&directory.join(name(lsn)), 0o600);

    let mut stream = client.start_physical(None, first, system.timeline)?;
    stream.set_status_interval(Duration::from_secs(10));
    let mut flushed = first;
    let mut file = open(flushed)?;
    while flushed.0 < first.0 + segments * length {
        let WalEvent::Data { start, mut bytes, .. } = stream.next(Duration::from_secs(1))? else {
            continue;
        };
        let mut written = start;
        let mut complete = flushed;
        // A piece may go over the end of a segment.
        while !bytes.is_empty() {
            let room = complete.0 + length - written.0;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room)?));
            file.file().write_all(now)?;
            written = Lsn(written.0 + now.len() as u64);
            bytes = later;
            if written.0 == complete.0 + length {
                file.commit()?;
                println!("{}", name(complete));
                complete = written;
                file = open(complete)?;
            }
        }
        flushed = complete;
        stream.report(written, flushed, Lsn(0))?;
    }
    stream.stop(Duration::from_secs(10))?;
    Ok(())
}
