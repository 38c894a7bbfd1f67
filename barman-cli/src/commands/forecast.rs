//! What a deletion would remove: lines and JSON, for `delete --dry-run` and `retention --explain`.

use crate::app::App;
use crate::format;
use barman_catalog::deletion::{Step, WalForecast, WalRange};
use serde_json::{Value, json};

/// The lines for these backups, each behind a tab.
pub(super) fn lines(app: &App<'_>, steps: &[Step]) {
    for step in steps {
        let mut what = vec![format!("status {}", step.status)];
        what.extend(step.bytes.map(format::size_of));
        what.extend(step.parent.map(|parent| format!("based on {parent}")));
        app.output
            .line(&format!("\tBackup {} ({})", step.id, what.join(", ")));
        match &step.wal {
            WalForecast::Stays(reason) => app.output.line(&format!("\t\tno WAL: {reason}")),
            WalForecast::Ranges(_) => {
                if step.wal.going().next().is_none() {
                    app.output.line("\t\tno WAL: there is none that nothing needs");
                }
                for range in step.wal.going() {
                    app.output.line(&format!("\t\tWAL {}", range_line(range)));
                }
                for range in step.wal.staying() {
                    app.output.line(&format!("\t\tnot WAL {}", range_line(range)));
                }
            }
        }
    }
}

fn range_line(range: &WalRange) -> String {
    let files = match range.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let names = if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}..{}", range.first, range.last)
    };
    format!(
        "{names} ({files}, {}): {}",
        format::size_of(range.bytes),
        range.fate
    )
}

/// The same for JSON.
pub(super) fn document(steps: &[Step]) -> Value {
    steps.iter().map(step).collect()
}

fn step(step: &Step) -> Value {
    let ranges = |ranges: Vec<&WalRange>| -> Value { ranges.into_iter().map(range).collect() };
    let reason = match &step.wal {
        WalForecast::Stays(reason) => Some(reason.to_string()),
        WalForecast::Ranges(_) => None,
    };
    json!({
        "backup_id": step.id,
        "status": step.status.as_str(),
        "parent_backup_id": step.parent,
        "size": step.bytes.map(format::size_of),
        "size_bytes": step.bytes,
        "wal": {
            "reason_to_stay": reason,
            "deleted": ranges(step.wal.going().collect()),
            "kept": ranges(step.wal.staying().collect()),
        },
    })
}

fn range(range: &WalRange) -> Value {
    json!({
        "first": range.first.to_string(),
        "last": range.last.to_string(),
        "files": range.files,
        "size": format::size_of(range.bytes),
        "size_bytes": range.bytes,
        "reason": range.fate.to_string(),
    })
}
