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

/// The modules without which the oracle refuses `compression = zstd`, `lz4` and `snappy`, for the Pythons of Debian 12
/// and 13 and of Ubuntu 24.04. Added behind the rest: an environment without them stays as it is.
const MODULES: &str = "\
zstandard==0.25.0 \
 --hash=sha256:9300d02ea7c6506f00e627e287e0492a5eb0371ec1670ae852fefffa6164b072 \
 --hash=sha256:01582723b3ccd6939ab7b3a78622c573799d5d8737b534b86d0e06ac18dbde4a \
 --hash=sha256:5a56ba0db2d244117ed744dfa8f6f5b366e14148e00de44723413b2f3938a902 \
 --hash=sha256:8e735494da3db08694d26480f1493ad2cf86e99bdd53e8e9771b2752a5c0246a
lz4==4.4.5 \
 --hash=sha256:75419bb1a559af00250b8f1360d508444e80ed4b26d9d40ec5b09fe7875cb989 \
 --hash=sha256:609a69c68e7cfcfa9d894dc06be13f2e00761485b62df4e2472f1b66f7b405fb \
 --hash=sha256:24092635f47538b392c4eaeff14c7270d2c8e806bf4be2a6446a378591c5e69e \
 --hash=sha256:451039b609b9a88a934800b5fc6ee401c89ad9c175abf2f4d9f8b2e4ef1afc64
python-snappy==0.7.3 --hash=sha256:074c0636cfcd97e7251330f428064050ac81a52c62ed884fc2ddebbb60ed7f50
cramjam==2.14.0 \
 --hash=sha256:401bf7e11cf3775ee4af0fb487027adcbee61f68bbd1944ae9f6fcafb8b160fc \
 --hash=sha256:4b2d3c9cf0f1aaa35e23145fd1fff1d98182b1a77156648926b88e45a4a9aaae \
 --hash=sha256:d42ed4ab609a46f407fa647c9f3b73473113c848ec007825b6ee25183033323b \
 --hash=sha256:e1d752b565818735410b577c219be003d6a5b8ac9a2b7989010940d294a2333e
";

/// Written last: a virtual environment holds its own path, so it cannot be made elsewhere and renamed.
const COMPLETE: &str = "complete";
const WITH_MODULES: &str = "complete-modules";

pub fn install() -> Result<()> {
    let dir = cache::oracle_dir();
    let is_there =
        |mark: &str, content: &str| fs::read_to_string(dir.join(mark)).is_ok_and(|text| text == content);
    if !is_there(COMPLETE, REQUIREMENTS) {
        step(
            &format!("install the oracle, Barman {}", cache::ORACLE_VERSION),
            || {
                make_environment(&dir)?;
                pip_install(&dir, REQUIREMENTS)?;
                run::quiet(Command::new(cache::oracle_program()).arg("--version"))?;
                fs::write(dir.join(COMPLETE), REQUIREMENTS).context("mark the environment as complete")
            },
        )?;
    }
    if !is_there(WITH_MODULES, MODULES) {
        step("install the oracle's compression modules", || {
            pip_install(&dir, MODULES)?;
            let mut python = Command::new(dir.join("bin/python"));
            run::quiet(python.args(["-c", "import zstandard, lz4.frame, snappy"]))?;
            fs::write(dir.join(WITH_MODULES), MODULES).context("mark the modules as complete")
        })?;
    }
    Ok(())
}

fn make_environment(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).context("remove an unfinished environment")?;
    }
    // Debian's Python before any other: the user that runs PostgreSQL may not be able to enter a home directory.
    let python = if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    };
    run::quiet(Command::new(python).args(["-m", "venv"]).arg(dir)).map(drop)
}

/// Only what is listed, by its checksum.
fn pip_install(dir: &Path, requirements: &str) -> Result<()> {
    let path = fetch::scratch("oracle")?.join("requirements.txt");
    fs::write(&path, requirements)?;
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
        .arg(&path);
    run::quiet(&mut pip).map(drop)
}
