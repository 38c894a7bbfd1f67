//! The checks about directories on this host.

use std::io;
use std::path::Path;

use rustix::fs::Access;

use super::facts::Facts;
use super::report::CheckResult;
use super::words;

type Found = Result<Vec<CheckResult>, String>;

/// Creates every directory of the server that is missing, and makes sure that files can be made in all of them.
pub fn directories(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "directories";
    let config = facts.config();
    let cloud = config.basebackups_in_cloud() || config.wals_in_cloud();
    let meta = facts.layout().meta_directory();
    let mut wanted = vec![
        config.backup_directory.as_path(),
        &config.basebackups_directory,
        &config.errors_directory,
        &config.incoming_wals_directory,
        &config.streaming_wals_directory,
        &config.wals_directory,
        &config.xlogdb_directory,
        &meta,
        &config.lock_directory,
    ];
    if cloud {
        wanted.push(&config.cloud_staging_directory);
    }
    for path in wanted
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("://"))
    {
        let usable = std::fs::create_dir_all(path).and_then(|()| {
            rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
        });
        if let Err(error) = usable {
            return Ok(vec![CheckResult::failed(
                NAME,
                format!("{}: {}", path.display(), words::reason(&error)),
            )]);
        }
    }
    Ok(vec![CheckResult::ok(NAME, "")])
}

pub fn incoming_queue(facts: &mut Facts<'_, '_>) -> Found {
    let config = facts.config();
    queue(
        &config.incoming_wals_directory,
        config.archiver,
        config.max_incoming_wals_queue,
        &INCOMING,
    )
}

pub fn streaming_queue(facts: &mut Facts<'_, '_>) -> Found {
    let config = facts.config();
    queue(
        &config.streaming_wals_directory,
        config.streaming_archiver,
        config.max_incoming_wals_queue,
        &STREAMING,
    )
}

struct QueueNames {
    empty: &'static str,
    limit: &'static str,
    option: &'static str,
}

const INCOMING: QueueNames = QueueNames {
    empty: "empty incoming directory",
    limit: "incoming WALs directory",
    option: "archiver",
};
const STREAMING: QueueNames = QueueNames {
    empty: "empty streaming directory",
    limit: "streaming WALs directory",
    option: "streaming_archiver",
};

fn queue(directory: &Path, archiver: bool, limit: Option<u64>, names: &QueueNames) -> Found {
    if archiver && limit.is_none() {
        return Ok(vec![]);
    }
    let count =
        waiting(directory).map_err(|error| format!("{}: {}", directory.display(), words::reason(&error)))?;
    Ok(match limit {
        _ if !archiver && count > 0 => {
            let hint = format!(
                "'{}' must be empty when {}=off",
                directory.display(),
                names.option
            );
            vec![CheckResult::failed(names.empty, hint)]
        }
        Some(limit) if archiver && count > limit => {
            let hint = format!("there are too many WALs in queue: {count}, max {limit}");
            vec![CheckResult::failed(names.limit, hint)]
        }
        _ => vec![],
    })
}

/// How many files wait: not hidden ones, not those that are still being written.
fn waiting(directory: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut count = 0;
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !name.ends_with(".tmp") && !name.ends_with(".partial") {
            count += 1;
        }
    }
    Ok(count)
}

/// What lies in the directory of rejected WAL, by reason, in the order of the directory.
pub fn archiver_errors(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "archiver errors";
    let directory = &facts.config().errors_directory;
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![CheckResult::ok(NAME, "")]),
        Err(error) => return Err(format!("{}: {}", directory.display(), words::reason(&error))),
    };
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for entry in entries.flatten() {
        let kind = match entry.path().extension().and_then(std::ffi::OsStr::to_str) {
            Some("error") => "not relevant",
            Some("duplicate") => "duplicates",
            Some("unknown") => "unknown",
            _ => "unknown failure",
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let hint: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{kind}: {count}"))
        .collect();
    Ok(vec![CheckResult {
        ok: kinds.is_empty(),
        ..CheckResult::ok(NAME, hint.join(", "))
    }])
}

pub fn configuration(facts: &mut Facts<'_, '_>) -> Found {
    let failed = !facts.config().messages.is_empty();
    Ok(if failed {
        vec![CheckResult::failed("configuration", "")]
    } else {
        vec![]
    })
}
