//! Restores on the same host.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::wait_until;

use super::super::data;
use super::super::measure::{self, Sample};
use super::super::peers;
use super::super::row::{Contest, OURS, Row, Side, memory, wall_of};
use super::super::world::{PATIENCE, World, remove, settle};
use super::ORACLE;
use super::backup::Served;

const CP: &str = "cp + sync";
const SOON: Duration = Duration::from_secs(60);

pub fn rows() -> Vec<Row> {
    vec![Row::new(
        "restore/plain",
        "`barman restore` of a plain backup of 1 GiB to a directory of the same host",
        [wall_of(CP, 1.1), wall_of(ORACLE, 0.6), memory(64.0)],
        plain,
    )]
}

/// A server that has been backed up, and where its files are.
pub(super) struct Backed {
    pub(super) served: Served,
    pub(super) data: PathBuf,
}

/// Starts a server and backs it up.
///
/// # Errors
/// It cannot be started or backed up.
pub(super) fn backed(world: &World) -> Result<Backed> {
    let served = Served::new(world)?;
    let barman = served.sandbox.barman()?.timeout(PATIENCE);
    barman.ok(["backup", "main"])?;
    barman.ok(["switch-wal", "--force", "main"])?;
    let base = served.sandbox.server_dir().join("base");
    let mut id = None;
    for entry in std::fs::read_dir(&base)? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            id = name.into_string().ok();
        }
    }
    let id = id.context("there is no backup")?;
    wait_until("the backup has its WAL", SOON, || {
        barman.run(["archive-wal", "main"])?;
        barman.run(["check-backup", "main", &id])?;
        let shown = barman.ok(["show-backup", "main", &id])?;
        Ok(shown
            .stdout
            .lines()
            .any(|line| line.contains("Status") && line.ends_with("DONE")))
    })?;
    let data = base.join(&id).join("data");
    Ok(Backed { served, data })
}

fn plain(world: &mut World) -> Result<Contest> {
    let backed = world.shared("a server that is backed up", backed)?;
    let target = world.scratch("restored")?;
    // Settings are rewritten and WAL comes along: some bytes more or less.
    let least = data::size(&backed.data)?.saturating_sub(1 << 16);
    let restore = |name: &'static str, program: testkit::Program| {
        let (program, to) = (program.timeout(PATIENCE), target.clone());
        side(name, &backed, &target, move || {
            let args = ["restore", "main", "latest"].map(std::ffi::OsString::from);
            let (sample, _) = measure::run(&program, args.into_iter().chain([to.clone().into_os_string()]))?;
            let came = data::size(&to)?;
            ensure!(
                to.join("global/pg_control").exists() && came >= least,
                "{came} of {least} bytes were restored"
            );
            Ok(sample)
        })
    };
    let ours = restore(OURS, backed.served.sandbox.barman()?);
    let oracle = peers::oracle(&backed.served.sandbox).map(|oracle| restore(ORACLE, oracle));
    let cp = peers::shell("cp -a --reflink=never \"$1\" \"$2\" && sync -f \"$2\"")?;
    let (from, to) = (backed.data.clone(), target.clone());
    let cp = side(CP, &backed, &target, move || {
        Ok(measure::run(&cp, [from.clone(), to.clone()])?.0)
    });
    Ok(Contest::of(ours)
        .against(cp)
        .against_or_missing(ORACLE, oracle)
        .note("the oracle restores with `rsync`, and leaves syncing to the kernel: its figure is without what the others write to disk"))
}

/// A side that fills a directory that is not there yet.
fn side(
    name: &'static str,
    backed: &Rc<Backed>,
    target: &Path,
    mut run: impl FnMut() -> Result<Sample> + 'static,
) -> Side {
    let (backed, target) = (Rc::clone(backed), target.to_owned());
    Side::new(name, move || {
        let _ = &backed;
        run()
    })
    .reset(move || {
        remove(&target)?;
        settle(target.parent().context("no parent directory")?)
    })
}
