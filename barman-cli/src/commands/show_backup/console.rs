//! The lines of `show-backup` on the console.

use super::{children, copy_figures, is_postgres, next, previous, resources_saved, shown, time, timelines};
use crate::format;
use barman_catalog::python_literal::Value;
use barman_core::ops::show_backup::ShowBackupReport;

/// Rows under headings; an empty line closes a block.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
}

impl Page {
    fn top(&mut self, label: &str, value: impl std::fmt::Display) {
        self.lines.push(format!("  {label:<23}: {value}"));
    }

    fn head(&mut self, title: &str) {
        self.lines.push(format!("  {title}:"));
    }

    fn row(&mut self, label: &str, value: impl std::fmt::Display) {
        self.lines.push(format!("    {label:<21}: {value}"));
    }

    fn end(&mut self) {
        self.lines.push(String::new());
    }
}

pub(super) fn lines(report: &ShowBackupReport) -> Vec<String> {
    let backup = &report.backup;
    let complete = backup.status.is_copy_done();
    let mut page = Page::default();
    page.lines.push(format!("Backup {}:", backup.id));
    if let Some(name) = &backup.backup_name {
        page.top("Backup Name", name);
    }
    page.top("Server Name", &backup.server_name);
    if let Some(id) = &backup.systemid {
        page.top("System Id", id);
    }
    page.top("Status", backup.status);
    if complete {
        page.top("PostgreSQL Version", shown(backup.version));
        page.top("PGDATA directory", shown(backup.pgdata.as_ref()));
        if let Some(size) = backup.cluster_size.filter(|size| *size > 0) {
            page.top("Estimated Cluster Size", format::size_of(size));
        }
    }
    page.end();
    server_information(&mut page, report);
    if !complete {
        if let Some(error) = &backup.error {
            page.top("Error", error);
        }
        return page.lines;
    }
    snapshots(&mut page, report);
    if !backup.tablespaces.is_empty() {
        page.head("Tablespaces");
        for tablespace in &backup.tablespaces {
            page.row(
                &tablespace.name,
                format!("{} (oid: {})", tablespace.location, tablespace.oid),
            );
        }
        page.end();
    }
    base_backup(&mut page, report);
    wal(&mut page, report);
    catalog(&mut page, report);
    page.lines
}

fn server_information(page: &mut Page, report: &ShowBackupReport) {
    let (checksums, summarizer) = (&report.backup.data_checksums, &report.backup.summarize_wal);
    if checksums.is_none() && summarizer.is_none() {
        return;
    }
    page.head("Server information");
    if let Some(checksums) = checksums {
        page.row("Checksums", checksums);
    }
    if let Some(summarizer) = summarizer {
        page.row("WAL summarizer", summarizer);
    }
    page.end();
}

fn snapshots(page: &mut Page, report: &ShowBackupReport) {
    let Some(snapshots) = &report.backup.snapshots_info else {
        return;
    };
    page.head("Snapshot information");
    for (key, value) in snapshots.0.as_dict().unwrap_or_default() {
        if !matches!(key.as_str(), Some("snapshots" | "provider_info")) {
            page.row(&plain(key), plain(value));
        }
    }
    for (key, value) in snapshots.provider_info() {
        page.row(&plain(key), plain(value));
    }
    page.end();
    for snapshot in snapshots.snapshots() {
        let mut provider: Vec<(String, String)> = snapshot
            .get("provider")
            .and_then(Value::as_dict)
            .unwrap_or_default()
            .iter()
            .map(|(key, value)| (plain(key), plain(value)))
            .collect();
        provider.sort();
        for (key, value) in provider {
            page.row(&key, value);
        }
        for (label, key) in [("Mount point", "mount_point"), ("Mount options", "mount_options")] {
            page.row(
                label,
                shown(snapshot.get("mount").and_then(|mount| mount.get(key)).map(plain)),
            );
        }
        page.end();
    }
}

/// A text without quotes, anything else as a literal.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn base_backup(page: &mut Page, report: &ShowBackupReport) {
    let (backup, figures) = (&report.backup, &report.wal);
    page.head("Base backup information");
    page.row("Backup Method", shown(backup.mode.as_ref()));
    if let Some(encryption) = &backup.encryption {
        page.row("Encryption", encryption);
    }
    if is_postgres(report) {
        page.row("Backup Type", report.backup_type);
    }
    if let Some(size) = backup.deduplicated_size.filter(|size| *size > 0) {
        let with_wals = match figures.wal_size {
            0 => String::new(),
            wals => format!(" ({} with WALs)", format::size_of(size.saturating_add(wals))),
        };
        page.row("Backup Size", format!("{}{with_wals}", format::size_of(size)));
    }
    if let Some(compression) = backup
        .compression
        .as_deref()
        .filter(|compression| *compression != "none")
    {
        page.row("Backup Compression", compression);
    }
    if figures.wal_size > 0 {
        page.row("WAL Size", format::size_of(figures.wal_size));
    }
    if let Some(saved) = resources_saved(report) {
        page.row(
            "Resources saved",
            format!(
                "{} ({})",
                format::size_of(saved),
                format::percentage(report.deduplication_ratio)
            ),
        );
    }
    page.row(
        "Timeline",
        shown(backup.timeline.map(barman_wal::TimelineId::get)),
    );
    page.row("Begin WAL", shown(backup.begin_wal));
    page.row("End WAL", shown(backup.end_wal));
    if figures.wal_num > 0 {
        page.row("Number of WALs", figures.wal_num);
    }
    if figures.wal_compression_ratio > 0.0 {
        page.row(
            "WAL compression ratio",
            format::percentage(figures.wal_compression_ratio),
        );
    }
    page.row("Begin time", time(backup.begin_time));
    page.row("End time", time(backup.end_time));
    if let Some(copy) = copy_figures(report) {
        let startup = copy
            .analysis
            .map(|(words, _)| format!(" + {words} startup"))
            .unwrap_or_default();
        page.row("Copy time", format!("{}{startup}", copy.copy));
        if let Some(throughput) = copy.throughput {
            let jobs = if copy.workers > 1 {
                format!(" ({} jobs)", copy.workers)
            } else {
                String::new()
            };
            page.row(
                "Estimated throughput",
                format!("{}/s{jobs}", format::size(throughput)),
            );
        }
    }
    page.row("Begin Offset", shown(backup.begin_offset));
    page.row("End Offset", shown(backup.end_offset));
    page.row("Begin LSN", shown(backup.begin_xlog));
    page.row("End LSN", shown(backup.end_xlog));
    page.end();
}

fn wal(page: &mut Page, report: &ShowBackupReport) {
    let figures = &report.wal;
    page.head("WAL information");
    page.row("Number of files", figures.wal_until_next_num);
    page.row("Disk usage", format::size_of(figures.wal_until_next_size));
    if figures.wals_per_second > 0.0 {
        page.row("WAL rate", format::hourly_rate(figures.wals_per_second * 3600.0));
    }
    if figures.wal_until_next_compression_ratio > 0.0 {
        page.row(
            "Compression ratio",
            format::percentage(figures.wal_until_next_compression_ratio),
        );
    }
    page.row("Last available", shown(figures.wal_last));
    if !report.child_timelines.is_empty() {
        page.row("Reachable timelines", timelines(report).join(", "));
    }
    page.end();
}

fn catalog(page: &mut Page, report: &ShowBackupReport) {
    page.head("Catalog information");
    page.row("Retention Policy", report.retention.as_str());
    page.row("Previous Backup", previous(report));
    page.row("Next Backup", next(report));
    if !report.child_timelines.is_empty() {
        page.end();
        page.lines.push(
            "WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup"
                .to_owned(),
        );
    }
    if let Some(chain) = &report.chain {
        page.row("Root Backup", chain.root);
        page.row("Parent Backup", chain.parent);
        page.row("Backup chain size", chain.size);
    }
    if let Some(children) = children(report).filter(|_| is_postgres(report)) {
        page.row("Children Backup(s)", children.join(","));
    }
}
