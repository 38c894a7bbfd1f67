//! Programs that only `cargo xtask bench` needs, as peers. What cannot be had is said there in its row, and stops nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::{cache, trees};

use super::{debian, fetch, say, step};
use crate::run;

/// pgBackRest of the machine's own Debian, where a newer one could not be fetched.
const PGBACKREST: [(&str, &str); 1] = [("pgbackrest", "pgbackrest")];

/// What Barman imports for two of its compressions, and does not require. Apart from the oracle, which is tested without them.
const MODULES: &str = "\
lz4==4.4.5 --hash=sha256:75419bb1a559af00250b8f1360d508444e80ed4b26d9d40ec5b09fe7875cb989
zstandard==0.25.0 --hash=sha256:9300d02ea7c6506f00e627e287e0492a5eb0371ec1670ae852fefffa6164b072
";

/// Where the modules are.
pub fn oracle_modules() -> PathBuf {
    cache::dir().join("oracle/modules-lz4-4.4.5-zstandard-0.25.0")
}

/// Installs the peers that are not there.
pub fn install() {
    if trees::pgbackrest().is_none()
        && let Err(error) = debian::install_packages(&PGBACKREST)
    {
        say(&format!("a peer is missing: {error:#}"));
    }
    if !oracle_modules().exists()
        && let Err(error) = step("install the oracle's modules for lz4 and zstd", install_modules)
    {
        say(&format!("a peer is missing: {error:#}"));
    }
}

fn install_modules() -> Result<()> {
    let scratch = fetch::scratch("oracle-modules")?;
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, MODULES)?;
    let fresh = scratch.join("modules");
    let mut pip = Command::new(cache::oracle_dir().join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    pip.args(["--only-binary=:all:", "--require-hashes", "--target"])
        .arg(&fresh);
    run::quiet(pip.arg("-r").arg(&requirements))?;
    fetch::publish(&fresh, &oracle_modules())?;
    fs::remove_dir_all(&scratch).context("remove the download")
}
