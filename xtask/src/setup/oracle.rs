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

/// The modules without which the oracle refuses `compression = zstd`, `lz4` and `snappy`, and completes nothing, for the
/// Pythons of Debian 12 and 13 and of Ubuntu 24.04. Added behind the rest: an environment without them stays as it is.
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
argcomplete==3.7.2 --hash=sha256:6029205678bdd9c1c728a155f5f9ecf5812393f969eef58807641a2bc2aa5b19
";

/// Patroni with what it needs for etcd; the original of `patroni_barman` is in it. For the same Pythons.
const PATRONI: &str = "\
patroni==4.1.5 --hash=sha256:7aad8c1539e6c51c269a8005169dd54ddc7668437b7900fa6099d7894e224c84
urllib3==2.8.0 --hash=sha256:0cf3cae568d36aa9576b28dfb35f11328f1cb974ca7647d9475ebb86c75ac6e3
PyYAML==6.0.3 \
 --hash=sha256:b8bb0864c5a28024fac8a632c443c87c5aa6f215c0b126c449ae1a150412f31d \
 --hash=sha256:ba1cc08a7ccde2d2ec775841541641e4548226580ab850948cbfda66a1befcdc \
 --hash=sha256:0f29edc409a6392443abf94b9cf89ce99889a1dd5376d94316ae5145dfedd5d6
click==8.5.1 --hash=sha256:8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37
prettytable==3.18.0 --hash=sha256:b3346e0e6f79180833aebaac088ae926340586cf6d7d991b9eb125b65f72313a
wcwidth==0.9.4 --hash=sha256:b185c8b927b23af2721be1783499d1cfa5c028b098b0858951b4ae224477f1c2
psutil==7.2.2 --hash=sha256:076a2d2f923fd4821644f5ba89f059523da90dc9014e85f8e45a5774ca5bc6f9
python-dateutil==4.0.0 --hash=sha256:a5e246f79eb80475e691bf93862cead98decd8a498cf53ba0516fcdc0f50dc1c
tzdata==2026.6 --hash=sha256:0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec
dnspython==2.9.2 --hash=sha256:af15f7d385a6ae2fb35a796fde2138004c8c42c7389090e2addc83e3b3340fd8
psycopg2-binary==2.9.13 \
 --hash=sha256:930e7e58b33a4f9c39e7532d7a40147925cf3372baed4229cbebe0cf3ba9ce6b \
 --hash=sha256:e3861eba31f8ea8663fd876166b032fd89179e42aa63764d6feb281f13f9eb60 \
 --hash=sha256:f04ada42bcd537adbaf8b7f3140237a204e452a88d0c1831cfce69f7d2e59f4e
";

/// Published as source only.
const PATRONI_SOURCES: &str = "\
python-etcd==0.4.5 --hash=sha256:f1b5ebb825a3e8190494f5ce1509fde9069f2754838ed90402a8c11e1f52b8cb
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
        step("install the oracle's modules", || {
            pip_install(&dir, MODULES)?;
            let mut python = Command::new(dir.join("bin/python"));
            run::quiet(python.args(["-c", "import zstandard, lz4.frame, snappy, argcomplete"]))?;
            fs::write(dir.join(WITH_MODULES), MODULES).context("mark the modules as complete")
        })?;
    }
    Ok(())
}

/// Patroni, in an environment of its own: the original of `patroni_barman`, and the clusters that call ours.
pub fn install_patroni() -> Result<()> {
    let dir = cache::patroni_dir();
    let all = format!("{PATRONI}{PATRONI_SOURCES}");
    if fs::read_to_string(dir.join(COMPLETE)).is_ok_and(|text| text == all) {
        return Ok(());
    }
    step(&format!("install Patroni {}", cache::PATRONI_VERSION), || {
        make_environment(&dir)?;
        pip_install(&dir, PATRONI)?;
        install_sources(&dir, PATRONI_SOURCES)?;
        run::quiet(Command::new(cache::patroni_program("patroni_barman")).arg("--help"))?;
        fs::write(dir.join(COMPLETE), &all).context("mark the environment as complete")
    })
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
    pip(dir, requirements, &["--only-binary=:all:"])
}

/// The same for what there is as source only.
fn install_sources(dir: &Path, requirements: &str) -> Result<()> {
    pip(dir, requirements, &[])
}

fn pip(dir: &Path, requirements: &str, more: &[&str]) -> Result<()> {
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
    pip.args(more)
        .args(["--no-deps", "--require-hashes", "-r"])
        .arg(&path);
    run::quiet(&mut pip).map(drop)
}
