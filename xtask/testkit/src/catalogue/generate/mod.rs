//! From a recipe to a blueprint: the life of a server is played from its first segment to now.
//!
//! Everything is drawn from the recipe's seed, in streams of their own for each part ([`Rng::fork`]), so that a new state changes few of the
//! catalogues that exist. To add a state: a field or variant in [`super::blueprint`], its drawing here (statuses and fields of backups in
//! `backup.rs`, WAL in `life.rs`, what Barman cannot bear in `damage.rs`), its form on disk in [`super::encode`] or [`super::write`].

mod backup;
mod damage;
mod huge;
mod life;

use super::blueprint::{Blueprint, Codec, Server, XlogDbForm};
use super::recipe::{Profile, Recipe};
use super::rng::Rng;
use super::wal_name::Geometry;
use life::Life;

/// A day, seconds.
const DAY: i64 = 86_400;

/// What a server is like, drawn once.
#[derive(Debug, Clone)]
struct Traits {
    /// Major version as in `server_version_num / 10000`; 9 for 9.6.
    major: u32,
    method: Method,
    /// Whether PostgreSQL delivers WAL (which brings backup labels into the archive).
    archiver: bool,
    codec: Option<Codec>,
    encrypted: bool,
    /// Offset of times in `backup.info`, minutes.
    server_offset: i32,
    /// Offsets of the Barman host, minutes: before and after a change of its time zone.
    host_offsets: (i32, i32),
    /// How many of the oldest backups are from before the current layout.
    old_backups: u64,
    /// Percent of backups that follow a fork of the timeline.
    forks: u64,
    /// Percent of segments that were lost.
    gaps: u64,
    /// Segments between two backups, at most.
    traffic: u64,
    standby: bool,
    tablespaces: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Postgres,
    Rsync,
    LocalRsync,
}

pub(super) fn blueprint(recipe: Recipe, now: i64) -> Blueprint {
    // The number keeps catalogues of the same seed in different profiles apart.
    let root = Rng::new(recipe.seed);
    let servers = match recipe.profile {
        Profile::Small => vec![small(&root.fork("small"), now)],
        Profile::Varied => vec![varied(&root.fork("varied"), now)],
        Profile::Damaged => {
            let mut server = varied(&root.fork("damaged"), now);
            damage::apply(&mut server, &mut root.fork("damage"));
            vec![server]
        }
        Profile::Huge { backups, wals } => vec![huge::server(&root.fork("huge"), now, backups, wals)],
    };
    Blueprint {
        recipe: recipe.to_string(),
        now,
        servers,
    }
}

fn small(rng: &Rng, now: i64) -> Server {
    let traits = Traits {
        major: 18,
        method: Method::Postgres,
        archiver: false,
        codec: None,
        encrypted: false,
        server_offset: 0,
        host_offsets: (0, 0),
        old_backups: 0,
        forks: 0,
        gaps: 0,
        traffic: 3,
        standby: false,
        tablespaces: 0,
    };
    let server = empty("main", Geometry::of_mib(16), &traits, &mut rng.fork("server"));
    let mut life = Life::new(server, traits, rng, now, 30);
    for step in 0..3 {
        life.pass_time(step, 3);
        life.plain_backup();
    }
    life.end()
}

fn varied(rng: &Rng, now: i64) -> Server {
    let mut draw = rng.fork("server");
    let major = *draw.pick(&[9, 10, 11, 12, 13, 14, 15, 16, 17, 17, 18, 18]);
    let method = *draw.pick(&[
        Method::Postgres,
        Method::Postgres,
        Method::Rsync,
        Method::LocalRsync,
    ]);
    let mib = match draw.below(10) {
        0..=5 => 16,
        6 | 7 => 1,
        8 => 64,
        _ => 1024,
    };
    // Before 11 another size needed another compilation.
    let geometry = Geometry::of_mib(if major < 11 { 16 } else { mib });
    let offsets = [0, 0, 0, 60, 120, -300, 330, 345, 825, -570];
    let host = *draw.pick(&offsets);
    let traits = Traits {
        major,
        method,
        archiver: draw.percent(50),
        codec: draw.percent(60).then(|| *draw.pick(&Codec::ALL)),
        encrypted: draw.percent(15),
        server_offset: *draw.pick(&offsets),
        host_offsets: (
            host,
            if draw.percent(45) {
                *draw.pick(&offsets)
            } else {
                host
            },
        ),
        old_backups: if draw.percent(30) { draw.between(1, 4) } else { 0 },
        forks: if draw.percent(40) { 25 } else { 0 },
        gaps: if draw.percent(25) { 8 } else { 0 },
        // One in twelve fills more than a directory's worth of 256 names.
        traffic: if draw.percent(8) { 320 } else { draw.between(1, 8) },
        standby: draw.percent(15),
        tablespaces: if draw.percent(35) { draw.between(1, 3) } else { 0 },
    };
    let names = [
        "main",
        "pg",
        "pg-standby",
        "Büro 7",
        "db_01.example",
        "a-backup",
        "wal",
    ];
    let name = *draw.pick(&names);
    let server = empty(name, geometry, &traits, &mut draw);
    let steps = draw.between(1, 9);
    let span = *draw.pick(&[4, 12, 40, 100]);
    let mut life = Life::new(server, traits, rng, now, span);
    for step in 0..steps {
        life.pass_time(step, steps);
        life.backup(step);
    }
    let mut server = life.end();
    policy(&mut server, &mut rng.fork("policy"));
    forms(&mut server, &mut rng.fork("forms"));
    server
}

/// A server without anything in it, and its section of the configuration.
fn empty(name: &str, geometry: Geometry, traits: &Traits, draw: &mut Rng) -> Server {
    let mut server = Server {
        name: name.to_owned(),
        options: Vec::new(),
        system_id: 7_700_000_000_000_000_000 + draw.below(100_000_000_000_000_000),
        version: match traits.major {
            9 => 90_624,
            major => major * 10_000 + draw.below(9) as u32,
        },
        geometry,
        identity: draw.percent(85),
        backups: Vec::new(),
        wals: Vec::new(),
        histories: Vec::new(),
        incoming: Vec::new(),
        streaming: Vec::new(),
        xlogdb: XlogDbForm::Current,
    };
    let nobody = "host=127.0.0.1 port=1 user=barman dbname=postgres";
    server.set_option("description", "Generated");
    server.set_option("conninfo", nobody);
    match traits.method {
        Method::Postgres => {
            server.set_option("backup_method", "postgres");
            server.set_option("streaming_conninfo", nobody);
        }
        Method::Rsync => {
            server.set_option("backup_method", "rsync");
            server.set_option("ssh_command", "ssh -p 1 nobody@127.0.0.1");
            server.set_option("backup_options", "concurrent_backup");
        }
        Method::LocalRsync => {
            server.set_option("backup_method", "local-rsync");
            server.set_option("backup_options", "concurrent_backup");
        }
    }
    // Both programs want one of the two.
    server.set_option("archiver", "on");
    if let Some(codec) = traits.codec.filter(|_| !traits.encrypted) {
        server.set_option("compression", codec.name());
    }
    server
}

fn policy(server: &mut Server, draw: &mut Rng) {
    let policy = match draw.below(10) {
        0 => String::new(),
        1..=4 => format!("REDUNDANCY {}", draw.between(1, 4)),
        5 | 6 => format!("RECOVERY WINDOW OF {} DAYS", draw.between(1, 30)),
        7 => format!("recovery window of {} weeks", draw.between(1, 6)),
        8 => "RECOVERY WINDOW OF 1 MONTH".to_owned(),
        _ => format!("redundancy {}", draw.between(0, 2)),
    };
    server.set_option("retention_policy", &policy);
    if draw.percent(50) {
        server.set_option("minimum_redundancy", &draw.below(5).to_string());
    }
}

/// How things lie on disk.
fn forms(server: &mut Server, draw: &mut Rng) {
    server.xlogdb = match draw.below(20) {
        0 => XlogDbForm::BeforeServerName,
        1 => XlogDbForm::Missing,
        _ => XlogDbForm::Current,
    };
    // Older lines have fewer columns; an encrypted file needs all five.
    let from = draw.below(server.wals.len() as u64 + 1) as usize;
    if draw.percent(25) {
        for wal in &mut server.wals[..from] {
            wal.columns = match (wal.encrypted, wal.compression) {
                (true, _) => 5,
                (false, None) if draw.percent(20) => 3,
                (false, _) => 4,
            };
        }
    }
}
