//! Takes into the repository what was found and reaches code that the saved inputs do not, the smallest inputs first.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::parsers::Row;
use super::target::{Scratch, command, found, saved};
use crate::run;

/// The most that the corpus of one target may have, bytes. The tests want all of them below 2 MiB.
const CORPUS: u64 = 48 * 1024;
/// A larger input is not taken.
const INPUT: u64 = 8 * 1024;

/// Merges the finds of one target.
pub fn one(row: &Row, programs: &Path, scratch: &Scratch) -> Result<()> {
    let (name, merged) = (&row.name, scratch.fresh("merged")?);
    let mut sizes = 0;
    for (path, size) in files(&saved(name))? {
        sizes += size;
        let copy = merged.join(path.file_name().unwrap_or_default());
        fs::copy(&path, copy).context("copy a saved input")?;
    }
    let mut merge = command(row, programs, &scratch.fresh(name)?);
    run::quiet(merge.arg("-merge=1").arg(&merged).arg(found(name)))?;
    let mut fresh: Vec<(PathBuf, u64)> = files(&merged)?
        .into_iter()
        .filter(|(path, size)| {
            let known = saved(name).join(path.file_name().unwrap_or_default());
            *size <= INPUT && !known.exists()
        })
        .collect();
    fresh.sort_by_key(|(_, size)| *size);
    let mut taken = 0;
    for (path, size) in fresh {
        if sizes + size > CORPUS {
            break;
        }
        sizes += size;
        taken += 1;
        fs::copy(&path, saved(name).join(path.file_name().unwrap_or_default())).context("save an input")?;
    }
    println!("{name}: {taken} inputs added, {sizes} bytes in all");
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        files.push((entry.path(), entry.metadata()?.len()));
    }
    files.sort();
    Ok(files)
}
