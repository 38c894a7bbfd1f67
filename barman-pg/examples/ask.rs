//! Connects to a server and asks it: `ask CONNINFO`.
#![allow(clippy::disallowed_macros, reason = "an example program prints")]

use barman_pg::PostgresConnection;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let conninfo = std::env::args().nth(1).ok_or("usage: ask CONNINFO")?;
    let server = PostgresConnection::parse(&conninfo)?;
    println!("version {}", server.server_version()?);
    println!("system identifier {:?}", server.get_systemid()?);
    println!("standby: {:?}", server.is_in_recovery()?);
    println!("may back up: {:?}", server.has_backup_privileges()?);
    println!("bytes: {:?}", server.current_size()?);
    if let Some(position) = server.current_xlog_info()? {
        println!("WAL position {:?}", position.location);
    }
    Ok(())
}
