//! `verify-backup`, beside PostgreSQL's own program.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use super::super::data;
use super::super::measure;
use super::super::peers;
use super::super::row::{Contest, OURS, Row, Side, memory, wall_of};
use super::super::world::{PATIENCE, World};
use super::restore::{Backed, backed};

const PG_VERIFYBACKUP: &str = "pg_verifybackup";

pub fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "verify/plain",
            "`verify-backup` of 1 GiB on two cores, with the manifest that came with the backup (CRC-32C)",
            [wall_of(PG_VERIFYBACKUP, 0.6), memory(64.0)],
            |world| contest(world, Sums::Crc32c),
        ),
        Row::new(
            "verify/sha256",
            "the same with a manifest of `generate-manifest` (SHA-256)",
            [wall_of(PG_VERIFYBACKUP, 0.6), memory(64.0)],
            |world| contest(world, Sums::Sha256),
        ),
    ]
}

/// Which checksums the manifest has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sums {
    Crc32c,
    Sha256,
}

fn contest(world: &mut World, sums: Sums) -> Result<Contest> {
    let backed = world.shared("a server that is backed up", backed)?;
    let manifests = Rc::new(Manifests::of(&backed, sums)?);
    let ours = backed.served.sandbox.barman()?.timeout(PATIENCE);
    let theirs = peers::postgres(data::MAJOR, PG_VERIFYBACKUP)?;
    let (one, other) = (Rc::clone(&manifests), manifests);
    let data = backed.data.clone();
    let _keep = Rc::clone(&backed);
    let ours = Side::new(OURS, move || {
        let (_, _) = (&_keep, &one);
        let (sample, done) = measure::run(&ours, ["verify-backup", "main", "latest"])?;
        ensure!(done.stdout.contains("backup successfully verified"), "{done}");
        Ok(sample)
    });
    let theirs = Side::new(PG_VERIFYBACKUP, move || {
        let _ = &other;
        let args = [std::ffi::OsString::from("-n"), data.clone().into_os_string()];
        let (sample, done) = measure::run(&theirs, args)?;
        ensure!(done.stdout.contains("backup successfully verified"), "{done}");
        Ok(sample)
    });
    let contest = Contest::of(ours).against(theirs);
    Ok(match sums {
        Sums::Crc32c => contest,
        Sums::Sha256 => {
            contest.note("SHA-256 of one file cannot be shared among cores: the largest file bounds the time")
        }
    })
}

/// Puts the manifest that is wanted into place, and the original back at the end.
struct Manifests {
    manifest: PathBuf,
    original: Vec<u8>,
}

impl Manifests {
    fn of(backed: &Backed, sums: Sums) -> Result<Self> {
        let manifest = backed.data.join("backup_manifest");
        let original = fs::read(&manifest).context("read the manifest")?;
        if sums == Sums::Sha256 {
            fs::remove_file(&manifest)?;
            let barman = backed.served.sandbox.barman()?.timeout(PATIENCE);
            barman.ok(["generate-manifest", "main", "latest"])?;
        }
        Ok(Self { manifest, original })
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        let _ = fs::write(&self.manifest, &self.original);
    }
}
