//! The configuration files of a restored server: original kept beside, new content written, dangers collected.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use barman_wal::durable;

use super::conf::{self, Danger, Include};
use super::error::RestoreError;
use super::report::{ChangedSetting, DangerousSetting};

/// Configuration files of a server, in the order in which they are reported when missing.
const FILES: [&str; 4] = [
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
];
/// A configuration file is not bigger than this.
const MAX_SIZE: u64 = 64 << 20;
/// Included files that are looked at.
const MAX_INCLUDED: usize = 1000;

/// What was found and done.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) changes: Vec<ChangedSetting>,
    pub(super) warnings: Vec<DangerousSetting>,
    pub(super) missing: Vec<String>,
}

/// Rewrites the configuration files in `destination`. `settings_file` gets `lines`; it is made if it is missing.
/// `None` (PostgreSQL 10, 11) when the settings go to `recovery.conf`, which is written by the caller.
pub(super) fn rewrite(
    destination: &Path,
    version: u32,
    settings_file: Option<&str>,
    lines: &[String],
) -> Result<Findings, RestoreError> {
    let mut findings = Findings::default();
    for file in FILES {
        if !destination.join(file).exists() {
            findings.missing.push(file.to_owned());
        }
    }
    let mut files: Vec<&str> = FILES
        .into_iter()
        .take(2)
        .filter(|file| !findings.missing.iter().any(|missing| missing == file))
        .collect();
    if let Some(settings_file) = settings_file {
        let path = destination.join(settings_file);
        if !path.exists() {
            write_new(&path, b"", 0o666)?;
        }
        if !files.contains(&settings_file) {
            files.push(settings_file);
        }
    }
    let mut contents = Vec::new();
    for file in files {
        let path = destination.join(file);
        let append = if settings_file == Some(file) { lines } else { &[] };
        let (content, mode) = read(&path)?;
        let new = conf::rewrite(&content, version, append);
        let mut origin = path.clone().into_os_string();
        origin.push(".origin");
        let origin = PathBuf::from(origin);
        // One that came with the backup is from an earlier restore of that server; the fresh one counts.
        match fs::remove_file(&origin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RestoreError::io("remove", &origin)(error));
            }
            _ => {}
        }
        // The original counts as kept only when it is on disk; the directory is synced with the whole tree.
        durable::fsync_file(&path).map_err(|error| RestoreError::io("sync", &path)(error.into()))?;
        durable::rename_new(&path, &origin)
            .map_err(|error| RestoreError::io("rename", &path)(error.into()))?;
        write_new(&path, &new.content, 0o600)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(RestoreError::io("set the mode of", &path))?;
        findings
            .changes
            .extend(new.changes.into_iter().map(|change| ChangedSetting {
                file: file.to_owned(),
                line: change.line,
                key: change.key,
                value: change.value,
            }));
        findings.warnings.extend(named(file, conf::dangers(&new.content)));
        contents.push((file.to_owned(), new.content));
    }
    findings
        .warnings
        .extend(included(destination, version, &contents));
    Ok(findings)
}

fn named(file: &str, dangers: Vec<Danger>) -> impl Iterator<Item = DangerousSetting> {
    dangers.into_iter().map(move |danger| DangerousSetting {
        file: file.to_owned(),
        line: danger.line,
        key: danger.key,
        value: danger.value,
    })
}

/// What files that are included from inside the destination would do. Best effort: what cannot be read is left out.
fn included(destination: &Path, version: u32, contents: &[(String, Vec<u8>)]) -> Vec<DangerousSetting> {
    let mut seen: BTreeSet<String> = contents.iter().map(|(file, _)| file.clone()).collect();
    let mut waiting: Vec<String> = Vec::new();
    for (file, content) in contents {
        waiting.extend(targets(destination, file, content));
    }
    waiting.reverse();
    let mut found = Vec::new();
    while let Some(file) = waiting.pop() {
        if seen.len() >= MAX_INCLUDED || !seen.insert(file.clone()) {
            continue;
        }
        let Ok((content, _)) = read(&destination.join(&file)) else {
            continue;
        };
        found.extend(named(&file, conf::dangers_of_include(&content, version)));
        let mut further = targets(destination, &file, &content);
        further.reverse();
        waiting.extend(further);
    }
    found
}

/// The files that `file` includes, relative to the destination; those outside of it are not ours to judge.
fn targets(destination: &Path, file: &str, content: &[u8]) -> Vec<String> {
    let beside = Path::new(file).parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for include in conf::includes(content) {
        match include {
            Include::File(name) => files.extend(inside(beside, &name)),
            Include::Directory(name) => {
                let Some(directory) = inside(beside, &name) else {
                    continue;
                };
                let Ok(entries) = fs::read_dir(destination.join(&directory)) else {
                    continue;
                };
                let mut names: Vec<String> = entries
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .filter(|name| name.ends_with(".conf") && !name.starts_with('.'))
                    .take(MAX_INCLUDED)
                    .collect();
                names.sort();
                files.extend(names.iter().map(|name| format!("{directory}/{name}")));
            }
        }
    }
    files
}

fn inside(beside: &Path, name: &str) -> Option<String> {
    let path = Path::new(name);
    let harmless = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_absolute() || !harmless {
        return None;
    }
    let joined: PathBuf = beside
        .join(path)
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    joined.to_str().map(str::to_owned)
}

fn read(path: &Path) -> Result<(Vec<u8>, u32), RestoreError> {
    let metadata = fs::metadata(path).map_err(RestoreError::io("read", path))?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE {
        let error = io::Error::new(io::ErrorKind::InvalidData, "not a configuration file");
        return Err(RestoreError::io("read", path)(error));
    }
    let content = fs::read(path).map_err(RestoreError::io("read", path))?;
    Ok((content, metadata.mode() & 0o7777))
}

/// Writes a file that must not exist yet, with `mode` less the umask.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), RestoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(RestoreError::io("create", path))?;
    file.write_all(content).map_err(RestoreError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn originals_stay_beside_the_new_files() {
        let destination = tempfile::tempdir().unwrap();
        let root = destination.path();
        fs::write(root.join("postgresql.conf"), "archive_command = 'x'\n").unwrap();
        fs::set_permissions(root.join("postgresql.conf"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(root.join("pg_hba.conf"), "").unwrap();
        let lines = ["recovery_target = 'immediate'".to_owned()];
        let findings = rewrite(root, 150_000, Some("postgresql.auto.conf"), &lines).unwrap();
        assert_eq!(findings.missing, ["postgresql.auto.conf", "pg_ident.conf"]);
        assert_eq!(findings.changes.len(), 1);
        assert_eq!(
            text(&root.join("postgresql.conf.origin")),
            "archive_command = 'x'\n"
        );
        assert_eq!(
            text(&root.join("postgresql.conf")),
            "#BARMAN#archive_command = 'x'\narchive_command = false\n"
        );
        assert_eq!(
            fs::metadata(root.join("postgresql.conf")).unwrap().mode() & 0o7777,
            0o640
        );
        assert_eq!(
            text(&root.join("postgresql.auto.conf")),
            "recovery_target = 'immediate'\n"
        );
        assert_eq!(text(&root.join("postgresql.auto.conf.origin")), "");
        assert!(!root.join("pg_hba.conf.origin").exists());
    }

    #[test]
    fn only_the_named_file_gets_the_settings() {
        let destination = tempfile::tempdir().unwrap();
        let root = destination.path();
        fs::write(root.join("postgresql.auto.conf"), "a = 1\n").unwrap();
        rewrite(root, 150_000, Some("auto.conf"), &["x = 1".to_owned()]).unwrap();
        assert_eq!(text(&root.join("postgresql.auto.conf")), "a = 1\n");
        assert_eq!(text(&root.join("auto.conf")), "x = 1\n");
    }

    #[test]
    fn included_files_are_looked_at_but_not_changed() {
        let destination = tempfile::tempdir().unwrap();
        let root = destination.path();
        fs::create_dir(root.join("conf.d")).unwrap();
        fs::write(
            root.join("postgresql.conf"),
            "include_dir 'conf.d'\ninclude '/etc/passwd'\ninclude '../x'\n",
        )
        .unwrap();
        fs::write(
            root.join("conf.d/b.conf"),
            "port = 1\narchive_command = 'cp'\ninclude 'a.conf'\n",
        )
        .unwrap();
        fs::write(
            root.join("conf.d/a.conf"),
            "include 'b.conf'\nssl_key_file = 'k'\n",
        )
        .unwrap();
        let findings = rewrite(root, 150_000, None, &[]).unwrap();
        let shown: Vec<String> = findings
            .warnings
            .iter()
            .map(|warning| {
                format!(
                    "{} {} {} {}",
                    warning.file, warning.line, warning.key, warning.value
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "postgresql.conf 0 include_dir 'conf.d'",
                "postgresql.conf 1 include '/etc/passwd'",
                "postgresql.conf 2 include '../x'",
                "conf.d/a.conf 0 include 'b.conf'",
                "conf.d/a.conf 1 ssl_key_file 'k'",
                "conf.d/b.conf 1 archive_command 'cp'",
                "conf.d/b.conf 2 include 'a.conf'",
            ]
        );
        assert_eq!(
            text(&root.join("conf.d/b.conf")),
            "port = 1\narchive_command = 'cp'\ninclude 'a.conf'\n"
        );
    }
}
