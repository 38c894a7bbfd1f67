//! The oracle: Barman 3.20.1 in a virtual environment, used as a black box.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::cache;

use super::{fetch, step};
use crate::run;

/// All that the oracle needs, by version and checksum. Barman says that it needs Python 3.12, but runs on 3.11.
const REQUIREMENTS: &str = "\
barman==3.20.1 --hash=sha256:4bf0d60a0915e19392d19f58cf397a6cff24723fc6d8781abcb9797dfb7d3866
python-dateutil==4.0.0 --hash=sha256:a5e246f79eb80475e691bf93862cead98decd8a498cf53ba0516fcdc0f50dc1c
tzdata==2026.6 --hash=sha256:0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec
psycopg2-binary==2.9.13 \
 --hash=sha256:930e7e58b33a4f9c39e7532d7a40147925cf3372baed4229cbebe0cf3ba9ce6b \
 --hash=sha256:e3861eba31f8ea8663fd876166b032fd89179e42aa63764d6feb281f13f9eb60 \
 --hash=sha256:f04ada42bcd537adbaf8b7f3140237a204e452a88d0c1831cfce69f7d2e59f4e
";

/// Written last: a virtual environment holds its own path, so it cannot be made elsewhere and renamed.
const COMPLETE: &str = "complete";

pub fn install() -> Result<()> {
    let dir = cache::oracle_dir();
    if fs::read_to_string(dir.join(COMPLETE)).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(());
    }
    step(
        &format!("install the oracle, Barman {}", cache::ORACLE_VERSION),
        || {
            if dir.exists() {
                fs::remove_dir_all(&dir).context("remove an unfinished environment")?;
            }
            // Debian's Python before any other: the user that runs PostgreSQL may not be able to enter a home directory.
            let python = if Path::new("/usr/bin/python3").exists() {
                "/usr/bin/python3"
            } else {
                "python3"
            };
            run::quiet(Command::new(python).args(["-m", "venv"]).arg(&dir))?;
            let requirements = fetch::scratch("oracle")?.join("requirements.txt");
            fs::write(&requirements, REQUIREMENTS)?;
            let mut pip = Command::new(dir.join("bin/python"));
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--ignore-requires-python",
            ]);
            pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes", "-r"])
                .arg(&requirements);
            run::quiet(&mut pip)?;
            run::quiet(Command::new(cache::oracle_program()).arg("--version"))?;
            fs::write(dir.join(COMPLETE), REQUIREMENTS).context("mark the environment as complete")
        },
    )
}
