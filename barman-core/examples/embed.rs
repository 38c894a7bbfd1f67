//! Barman inside another program: checks a server, takes a backup of it, lists what there is. `embed CONFIGURATION SERVER`
#![allow(clippy::disallowed_macros, reason = "an example program prints")]

use barman_core::config::Config;
use barman_core::context::SystemClock;
use barman_core::ops::{backup, check, list_backups};
use barman_core::{Cancel, Context, Message, Progress, Server};

/// Shows what the operations tell; `barman_core::context::Silent` shows nothing.
struct Print;

impl Progress for Print {
    fn message(&self, message: Message<'_>) {
        println!("  {}", message.text);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, name] = arguments.as_slice() else {
        return Err("usage: embed CONFIGURATION SERVER".into());
    };
    let config = Config::load(path.as_ref(), None)?;
    let mut server = Server::new(config.server(name).ok_or("no such server")?.clone());
    // Another thread may call `cancel.request(...)`: what runs then ends soon, and cleans up.
    let cancel = Cancel::new();
    let ctx = Context {
        progress: &Print,
        cancel: &cancel,
        clock: &SystemClock,
    };

    let checked = check::run(&mut server, &check::CheckOptions::default(), &ctx)?;
    for failed in checked.critical() {
        println!("not ready: {}", failed.described());
    }
    let taken = backup::run(&server, &backup::BackupOptions::default(), &ctx)?;
    println!("taken: {}", taken.info.id);
    for backup in list_backups::run(&server, list_backups::Detail::Full, &ctx)?.backups {
        println!("{} {}", backup.backup_id, backup.status);
    }
    Ok(())
}
