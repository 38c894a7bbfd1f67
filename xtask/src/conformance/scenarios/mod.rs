//! The scenarios, by subject. A new one is a row in the file of its subject.

mod backup;
mod check;
mod check_ssh;
mod check_states;
mod compression;
mod config_update;
mod configuration;
mod delete;
mod errors;
mod export;
mod fleet;
mod grammar;
mod keep;
mod list_files;
mod listing;
mod live;
mod locks;
mod manifest;
mod programs;
mod refusals;
mod restore;
mod shortcuts;
mod show_servers;
mod showing;
mod signals;
mod spoiled;
mod states;
mod wal;
mod wal_catalogue;

use anyhow::Result;

use super::catalogue::Home;
use super::scenario::Scenario;
use super::state::{Catalogue, PLAIN, State};

/// What our program adds where a server is not known.
const UNKNOWN_SERVER: &str = "HINT: 'barman list-servers' shows the configured servers";
/// The same for a backup of `main`.
const UNKNOWN_BACKUP: &str = "HINT: 'barman list-backups main' shows the backups";
/// The same where there is none.
const NO_BACKUPS: &str = "HINT: this server has no backups";
/// Where the disabled server of [`FLEET_SERVERS`] can be mended (`config-18`).
const FLEET_PLACES: &str = "HINT: streaming_conninfo is set in '*/barman.conf', line *, section [dis]; slot_name is not set in section [dis]";
/// Any hint, where only the kinds of lines are compared.
const ANY_HINT: &str = "HINT: <words>";
/// Ours leaves the file of a lock that it took on a backup; an unlocked file means nothing.
const LOCK: &str = "home/.main-2*.lock";

/// All of them.
pub fn all() -> Vec<Scenario> {
    [
        listing::scenarios(),
        showing::scenarios(),
        errors::scenarios(),
        errors::better(),
        refusals::scenarios(),
        grammar::scenarios(),
        states::scenarios(),
        check::scenarios(),
        check_states::scenarios(),
        check_ssh::scenarios(),
        configuration::scenarios(),
        config_update::scenarios(),
        show_servers::scenarios(),
        delete::scenarios(),
        export::scenarios(),
        manifest::scenarios(),
        keep::scenarios(),
        list_files::scenarios(),
        wal_catalogue::scenarios(),
        wal::scenarios(),
        compression::scenarios(),
        backup::scenarios(),
        restore::scenarios(),
        locks::scenarios(),
        live::scenarios(),
        fleet::scenarios(),
        shortcuts::scenarios(),
        spoiled::scenarios(),
        signals::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Servers in every state, beside `main`.
const SERVERS: &str = "\
[dis]
archiver = on
backup_method = postgres

[inact]
active = false
description = An inactive one
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres
archiver = on

[pas]
description = passive
primary_ssh_command = ssh nobody@127.0.0.1 -p 1

[plain]
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
streaming_conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres
archiver = on
";

/// Servers in every state, nobody to connect to, no catalogues.
const ALL: State = PLAIN.servers(SERVERS);

/// Servers as a backup host has them, beside `main`: one in each state. The disabled one has connections, and one message.
const FLEET_SERVERS: &str = "\
[dis]
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
streaming_conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres
streaming_archiver = on
archiver = off

[inact]
active = false
archiver = on
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres

[pas]
description = passive
primary_ssh_command = ssh nobody@127.0.0.1 -p 1
";

/// Backups of `main` in every status, and WAL: the oldest one (day 1) is named, day 2 failed, day 3 waits for WAL, day 4 was never finished, day 5 is kept.
const VARIED: State = PLAIN.catalogue(Catalogue::Made(varied));

fn varied(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[("backup_name", "first one")])?;
    main.backup(
        2,
        3,
        &[
            ("status", "FAILED"),
            ("error", "failure copying files (something happened)"),
            ("end_time", "None"),
            ("end_wal", "None"),
            ("end_xlog", "None"),
            ("end_offset", "None"),
        ],
    )?;
    main.backup(
        3,
        5,
        &[(
            "tablespaces",
            "[('ts1', 16385, '/srv/ts1'), (\"it's\", 16386, '/srv/ts2')]",
        )],
    )?;
    main.backup(
        4,
        7,
        &[
            ("status", "STARTED"),
            ("end_time", "None"),
            ("end_wal", "None"),
            ("end_xlog", "None"),
            ("end_offset", "None"),
            ("size", "None"),
        ],
    )?;
    main.backup(5, 8, &[])?;
    main.backup(
        6,
        11,
        &[
            ("status", "WAITING_FOR_WALS"),
            ("end_wal", "00000001000000000000000C"),
            ("end_xlog", "0/C00138"),
        ],
    )?;
    main.keep(5, "standalone")?;
    for number in 2..12 {
        main.wal(number)?;
    }
    Ok(())
}
