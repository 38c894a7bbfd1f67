//! Takes a base backup into a directory: `basebackup CONNINFO DIRECTORY`. Tablespaces go to `DIRECTORY/<oid>`.
#![allow(clippy::disallowed_macros, reason = "an example program prints")]

use std::error::Error;
use std::path::PathBuf;

use barman_pg::basebackup::{CheckpointMode, ExtractTargets, extract};
use barman_pg::{BaseBackupOptions, ConnInfo, ConnectOptions, ReplicationClient};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(conninfo), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: basebackup CONNINFO DIRECTORY".into());
    };
    let directory = PathBuf::from(directory);
    let conninfo: ConnInfo = conninfo.parse()?;
    let mut client = ReplicationClient::connect(&conninfo.streaming(), &ConnectOptions::default())?;
    let options = BaseBackupOptions {
        checkpoint: CheckpointMode::Fast,
        ..BaseBackupOptions::default()
    };
    let mut backup = client.base_backup(&options)?;
    backup.on_notice(|notice| eprintln!("{notice}"));
    let mut targets = ExtractTargets {
        data: directory.join("data"),
        ..ExtractTargets::default()
    };
    std::fs::create_dir_all(&targets.data)?;
    for tablespace in backup.tablespaces() {
        let target = directory.join(tablespace.oid.to_string());
        std::fs::create_dir_all(&target)?;
        targets.tablespaces.insert(tablespace.oid, target);
    }
    let report = extract(backup, &targets, &|_| {})?;
    println!(
        "{} files, {} bytes, {} to {}",
        report.files, report.bytes, report.start.lsn, report.end.lsn
    );
    Ok(())
}
