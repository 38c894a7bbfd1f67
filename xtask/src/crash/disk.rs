//! A catalogue on disk, looked at without any of our own code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// All files below a directory, sorted, relative to it; empty if there is no such directory.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        if !directory.exists() {
            continue;
        }
        for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Name and size of each whole line of `xlog.db`, in order; none if there is no such file.
pub fn listed(server: &Path) -> Result<Vec<(String, u64)>> {
    let name = server
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let path = server.join(format!("wals/{name}-xlog.db"));
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    // A last line without its end does not count.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next().context("an empty line in xlog.db")?.to_owned();
            let size = fields.next().and_then(|size| size.parse().ok());
            Ok((name, size.with_context(|| format!("line {line:?} of xlog.db"))?))
        })
        .collect()
}

/// Where a WAL file is in the archive.
pub fn archived(server: &Path, name: &str) -> PathBuf {
    let wals = server.join("wals");
    match name.get(..16) {
        Some(directory) if !name.ends_with(".history") => wals.join(directory).join(name),
        _ => wals.join(name),
    }
}

/// Each line of `xlog.db` is unique, and its file is there with the size it says.
pub fn check_listed(server: &Path) -> Result<()> {
    let mut seen = BTreeMap::new();
    for (name, size) in listed(server)? {
        ensure!(
            seen.insert(name.clone(), size).is_none(),
            "xlog.db lists {name} twice"
        );
        let path = archived(server, &name);
        let found = fs::metadata(&path).with_context(|| format!("xlog.db lists {name}"))?;
        ensure!(
            found.len() == size,
            "xlog.db gives {name} {size} bytes, the file has {}",
            found.len()
        );
    }
    Ok(())
}

/// The content of a WAL file, without its compression.
pub fn plain(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let program = if bytes.starts_with(&[0x1f, 0x8b]) {
        "gzip"
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        "zstd"
    } else {
        return Ok(bytes);
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(path)
        .stdin(fs::File::open(path)?)
        .output()?;
    ensure!(output.status.success(), "{} is damaged", path.display());
    Ok(output.stdout)
}

/// The ids of all backups that have a `backup.info`, ascending.
pub fn ids(server: &Path) -> Vec<String> {
    let mut ids: Vec<String> = fs::read_dir(server.join("meta"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            Some(name.to_str()?.strip_suffix("-backup.info")?.to_owned())
        })
        .collect();
    ids.sort();
    ids
}

/// One field of `backup.info`, as written.
pub fn field(server: &Path, id: &str, name: &str) -> Result<String> {
    let path = server.join(format!("meta/{id}-backup.info"));
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
        .with_context(|| format!("{} has no {name}", path.display()))
}

/// Whether a backup passes for whole: its status says so, and nobody is deleting it.
pub fn looks_whole(server: &Path, id: &str) -> Result<bool> {
    let status = field(server, id, "status")?;
    let deleted = server.join(format!("meta/{id}-delete_this")).exists();
    Ok((status == "DONE" || status == "WAITING_FOR_WALS") && !deleted)
}

/// Whether everything that `backup_manifest` names is there, with its size and CRC-32C.
pub fn check_manifest(data: &Path) -> Result<()> {
    let path = data.join("backup_manifest");
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: serde_json::Value = serde_json::from_slice(&text).context("backup_manifest")?;
    let files = manifest
        .get("Files")
        .and_then(|files| files.as_array())
        .context("backup_manifest has no files")?;
    for file in files {
        let field = |name: &str| file.get(name).and_then(|value| value.as_str());
        let name = field("Path").context("a file without path")?;
        let bytes = fs::read(data.join(name)).with_context(|| format!("backup_manifest names {name}"))?;
        let size = file.get("Size").and_then(serde_json::Value::as_u64);
        ensure!(
            size == Some(bytes.len() as u64),
            "{name} has {} bytes instead of {size:?}",
            bytes.len()
        );
        if field("Checksum-Algorithm") == Some("CRC32C") {
            let sum: String = crc32c(&bytes)
                .to_le_bytes()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            ensure!(
                field("Checksum") == Some(sum.as_str()),
                "{name} has another checksum"
            );
        }
    }
    Ok(())
}

/// The checksum of PostgreSQL's manifests, `pg_crc32c.h`.
fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::LazyLock<Vec<u32>> = std::sync::LazyLock::new(|| {
        let step = |value: u32, _| {
            if value & 1 == 1 {
                (value >> 1) ^ 0x82F6_3B78
            } else {
                value >> 1
            }
        };
        (0..256).map(|byte| (0..8).fold(byte, step)).collect()
    });
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        let index = (sum ^ u32::from(*byte)) & 0xFF;
        (sum >> 8) ^ TABLE.get(index as usize).copied().unwrap_or_default()
    });
    !sum
}

/// Copies a tree with everything that belongs to it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto", "-T"])
        .args([from, to])
        .status()
        .context("run cp")?;
    ensure!(
        status.success(),
        "cannot copy {} to {}",
        from.display(),
        to.display()
    );
    Ok(())
}

/// Size and content of all files below a directory, as one text each.
pub fn digest(root: &Path) -> Result<BTreeMap<String, String>> {
    use sha2::{Digest, Sha256};
    let mut found = BTreeMap::new();
    for file in files(root)? {
        let path = root.join(&file);
        let text = if path.is_symlink() {
            format!("-> {}", fs::read_link(&path)?.display())
        } else {
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let sum = Sha256::digest(&bytes);
            let hex: String = sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("{} bytes {hex}", bytes.len())
        };
        found.insert(file.display().to_string(), text);
    }
    Ok(found)
}

/// What the left has and the right has not, and the other way round, in a few lines.
pub fn difference(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) -> Option<String> {
    let mut lines = Vec::new();
    for (key, value) in left {
        match right.get(key) {
            None => lines.push(format!("{key} is missing (should be: {value})")),
            Some(other) if other != value => lines.push(format!("{key}: {other} (should be: {value})")),
            Some(_) => {}
        }
    }
    for (key, value) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
        lines.push(format!("{key}: {value} (should not be there)"));
    }
    let more = lines.len().saturating_sub(8);
    lines.truncate(8);
    if more > 0 {
        lines.push(format!("... and {more} more"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
