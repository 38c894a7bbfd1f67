//! Damage planted on disk after an undisturbed run: the scenario's invariants must see it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::crash::scenario::Scene;

/// What is done to a file.
#[derive(Debug, Clone)]
pub enum Edit {
    /// It is removed.
    Remove,
    /// Its second half is cut off.
    Halve,
    /// It gets this content, whether it is there or not.
    Write(Vec<u8>),
    /// This comes at its end.
    Append(String),
}

/// One damage, and the invariant that must see it.
#[derive(Debug, Clone)]
pub struct Damage {
    /// What it is.
    pub what: &'static str,
    /// The invariant.
    pub seen_by: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is done to it.
    pub edit: Edit,
}

/// Plants each damage, one after the other, and takes it back; returns how many there were.
///
/// # Errors
/// The invariant does not see it.
pub fn find_all(scene: &dyn Scene) -> Result<usize> {
    let damages = scene.damages().context("find places for damage")?;
    for damage in &damages {
        plant(scene, damage)
            .with_context(|| format!("planted damage: {} ({})", damage.what, damage.path.display()))?;
    }
    Ok(damages.len())
}

fn plant(scene: &dyn Scene, damage: &Damage) -> Result<()> {
    let path = &damage.path;
    // The file itself is put away and comes back, so that nothing of it changes.
    let aside = scene.sandbox().dir().join("aside");
    let was_there = path.symlink_metadata().is_ok();
    let parent = path.parent().context("no directory")?;
    let made = missing(parent);
    let content = if was_there { fs::read(path)? } else { Vec::new() };
    fs::create_dir_all(parent)?;
    if was_there {
        fs::rename(path, &aside).context("put the file away")?;
    }
    let done = match &damage.edit {
        Edit::Remove => ensure_that(was_there),
        Edit::Halve => ensure_that(content.len() > 1)
            .and_then(|()| write(path, content.get(..content.len() / 2).unwrap_or_default())),
        Edit::Write(bytes) => write(path, bytes),
        Edit::Append(text) => write(path, &[content.as_slice(), text.as_bytes()].concat()),
    };
    let seen = done.and_then(|()| is_seen(scene, damage));
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    if was_there {
        fs::rename(&aside, path).context("put the file back")?;
    }
    if let Some(made) = made {
        fs::remove_dir_all(made)?;
    }
    seen
}

fn ensure_that(possible: bool) -> Result<()> {
    ensure!(possible, "there is no such file any more, or it is empty");
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// The topmost directory that does not exist yet.
fn missing(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .take_while(|above| !above.exists())
        .last()
        .map(Path::to_owned)
}

fn is_seen(scene: &dyn Scene, damage: &Damage) -> Result<()> {
    let held = scene.invariants();
    let meant = held
        .iter()
        .find(|(name, _)| *name == damage.seen_by)
        .with_context(|| format!("there is no invariant \"{}\"", damage.seen_by))?;
    ensure!(meant.1.is_err(), "\"{}\" holds all the same", damage.seen_by);
    Ok(())
}
