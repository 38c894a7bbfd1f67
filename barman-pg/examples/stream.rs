//! Streams WAL from where the server is now and tells what comes: `stream CONNINFO`. Ends with the timeline.
#![allow(clippy::disallowed_macros, reason = "an example program prints")]

use std::time::Duration;

use barman_pg::{StreamingConnection, WalEvent};
use barman_wal::Lsn;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let conninfo = std::env::args().nth(1).ok_or("usage: stream CONNINFO")?;
    let mut session = StreamingConnection::parse(&conninfo)?.session(Some("barman_receive_wal"))?;
    let system = session.identify_system()?;
    let mut stream = session.start_physical(None, system.xlogpos, system.timeline)?;
    // The server ends a session that does not answer.
    stream.set_status_interval(Duration::from_secs(10));
    loop {
        let received = match stream.next(Duration::from_secs(10))? {
            WalEvent::Data { start, bytes, .. } => {
                println!("{start}: {} bytes", bytes.len());
                Lsn(start.0 + bytes.len() as u64)
            }
            WalEvent::EndOfTimeline { .. } => return Ok(()),
            WalEvent::KeepAlive { .. } | WalEvent::Idle => continue,
        };
        // Nothing is kept here, so nothing is reported as flushed.
        stream.report(received, Lsn::INVALID, Lsn::INVALID)?;
    }
}
