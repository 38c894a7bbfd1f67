//! The same catalogues in Barman 3.20.1 and here: `data/oracle-catalogues.json` holds catalogues and what Barman's
//! commands printed for them and left on disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use barman_catalog::accounting::{self, WalIndex};
use barman_catalog::archive::DiskArchive;
use barman_catalog::backup_info::{self, BackupInfo};
use barman_catalog::completeness::{self, Completeness, Patience};
use barman_catalog::deletion::{self, DeletionObserver, Trigger, WalDecision, WalRemoval};
use barman_catalog::retention::{self, RetentionPolicy, WindowUnit};
use barman_catalog::xlogdb::{self, CustomMagic};
use barman_catalog::{BackupId, Catalog, Keep, Layout, annotations, ids};
use barman_wal::history::TimelineHistory;
use barman_wal::{TimelineId, WalFileName};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn fixtures() -> Value {
    serde_json::from_str(include_str!("data/oracle-catalogues.json")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn id(value: &str) -> BackupId {
    value.parse().unwrap()
}

/// Puts the catalogue of a fixture on disk.
fn lay_out(layout: &Layout, fixture: &Value) {
    for directory in ["base", "meta", "wals", "incoming", "streaming", "errors"] {
        fs::create_dir_all(layout.backup_directory.join(directory)).unwrap();
    }
    for info in list(&fixture["infos"]) {
        let id = id(text(&info[0]));
        fs::write(layout.backup_info(id), text(&info[1])).unwrap();
        let base = layout.base_directory(id);
        fs::create_dir_all(base.join("data")).unwrap();
        fs::create_dir_all(base.join("16384")).unwrap();
        fs::write(base.join("data/PG_VERSION"), "15\n").unwrap();
    }
    let mut db = String::new();
    for wal in list(&fixture["wals"]) {
        let name: WalFileName = text(&wal[0]).parse().unwrap();
        let path = layout.wal_path(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, fixture["history"][text(&wal[0])].as_str().unwrap_or("x")).unwrap();
        let time = barman_catalog::python_literal::float_repr(wal[2].as_f64().unwrap());
        db.push_str(&format!("{name}\t{}\t{time}\t{}\tNone\n", wal[1], text(&wal[3])));
    }
    fs::write(layout.xlogdb(), db).unwrap();
    keep(layout, fixture);
}

fn keep(layout: &Layout, fixture: &Value) {
    for (kept, how) in fixture["keeps"].as_object().unwrap() {
        let how = if text(how) == "full" {
            Keep::Full
        } else {
            Keep::Standalone
        };
        annotations::write_keep(layout, id(kept), how).unwrap();
    }
}

fn settings(fixture: &Value) -> (Option<RetentionPolicy>, u32) {
    let extra = text(&fixture["extra"]);
    let value = |key: &str| {
        extra
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(" = "))
    };
    let policy = value("retention_policy").map(|policy| {
        let words: Vec<&str> = policy.split(' ').collect();
        let count = |i: usize| words[i].parse().unwrap();
        match words[0] {
            "REDUNDANCY" => RetentionPolicy::Redundancy(count(1)),
            _ => RetentionPolicy::RecoveryWindow {
                count: count(3),
                unit: match words[4] {
                    "DAYS" => WindowUnit::Days,
                    "WEEKS" => WindowUnit::Weeks,
                    _ => WindowUnit::Months,
                },
            },
        }
    });
    (
        policy,
        value("minimum_redundancy").map_or(0, |v| v.parse().unwrap()),
    )
}

#[test]
fn figures_are_those_of_list_and_show() {
    let fixtures = fixtures();
    let fixture = &fixtures["queries"][0];
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::new("pg", home.path());
    lay_out(&layout, fixture);
    let catalog = Catalog::load(&layout).unwrap();
    assert!(catalog.broken().is_empty());
    let index = WalIndex::new(&xlogdb::read(&layout, &CustomMagic::None, None).unwrap());
    let histories: Vec<_> = (2..=3)
        .map(|n| {
            let timeline = TimelineId::new(n).unwrap();
            let content = fs::read(layout.wal_path(&WalFileName::History(timeline))).unwrap();
            let history = TimelineHistory::parse(timeline, &content).unwrap();
            (
                timeline,
                history
                    .entries()
                    .iter()
                    .map(|e| (e.parent, e.switch_point))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    for (listed, backup) in list(&fixture["list"]["pg"]).iter().zip(catalog.backups().rev()) {
        let name = backup.id.to_string();
        assert_eq!(text(&listed["backup_id"]), name);
        assert_eq!(
            text(&listed["backup_type"]),
            backup.backup_type().as_str(),
            "{name}"
        );
        assert_eq!(text(&listed["status"]), backup.status.as_str(), "{name}");
        if !backup.status.is_copy_done() {
            continue;
        }
        let figures = index.figures(backup, catalog.next(backup.id));
        assert_eq!(
            listed["size_bytes"],
            backup.size.unwrap_or(0) + figures.wal_size,
            "{name}"
        );
        assert_eq!(listed["wal_size_bytes"], figures.wal_until_next_size, "{name}");
        assert_eq!(
            text(&listed["end_time"]),
            backup.end_time.unwrap().ctime(),
            "{name}"
        );
        let seconds = backup.end_time.unwrap().epoch_seconds().to_string();
        assert_eq!(text(&listed["end_time_timestamp"]), seconds, "{name}");

        let shown = &fixture["show"][&name]["pg"];
        let (base, wal, catalogue) = (
            &shown["base_backup_information"],
            &shown["wal_information"],
            &shown["catalog_information"],
        );
        assert_eq!(base["wal_num"], figures.wal_num, "{name}");
        assert_eq!(base["wal_size_bytes"], figures.wal_size, "{name}");
        assert_eq!(
            text(&base["begin_time"]),
            backup.begin_time.unwrap().to_string(),
            "{name}"
        );
        assert_eq!(
            text(&base["end_time"]),
            backup.end_time.unwrap().to_string(),
            "{name}"
        );
        let percent = |ratio: f64| format!("{:.2}%", ratio * 100.0);
        if let Some(ratio) = base["wal_compression_ratio"].as_str() {
            assert_eq!(ratio, percent(figures.wal_compression_ratio), "{name}");
        }
        if let Some(saved) = base["resources_saved_percentage"].as_str() {
            assert_eq!(saved, percent(backup.deduplication_ratio()), "{name}");
        }
        if let Some(time) = base["copy_time_seconds"].as_f64() {
            let stats = backup.copy_stats.as_ref().unwrap();
            assert!((time - stats.copy_time().unwrap()).abs() < 1e-9, "{name}");
            assert_eq!(base["number_of_workers"], stats.number_of_workers(), "{name}");
        }
        assert_eq!(wal["no_of_files"], figures.wal_until_next_num, "{name}");
        assert_eq!(wal["disk_usage_bytes"], figures.wal_until_next_size, "{name}");
        assert_eq!(
            wal["last_available"].as_str(),
            figures.wal_last.map(|w| w.to_string()).as_deref(),
            "{name}"
        );
        let rate = wal["wal_rate_per_second"].as_f64().unwrap();
        assert!(
            (rate - figures.wals_per_second).abs() < 1e-12,
            "{name}: {rate} {figures:?}"
        );
        if let Some(ratio) = wal["compression_ratio"].as_str() {
            assert_eq!(ratio, percent(figures.wal_until_next_compression_ratio), "{name}");
        }
        let above = histories
            .iter()
            .filter(|(t, _)| *t > backup.timeline.unwrap())
            .cloned();
        let children: Vec<String> = accounting::child_timelines(backup, above)
            .iter()
            .map(|t| t.get().to_string())
            .collect();
        let listed: Vec<&str> = list(&wal["timelines"]).iter().map(text).collect();
        assert_eq!(listed, children, "{name}");
        let neighbour =
            |backup: Option<&BackupInfo>| backup.map_or_else(|| "-".to_owned(), |b| b.id.to_string());
        let first_word = |value: &Value| text(value).split(' ').next().unwrap().to_owned();
        assert_eq!(
            first_word(&catalogue["previous_backup"]),
            neighbour(catalog.previous(backup.id)),
            "{name}"
        );
        assert_eq!(
            first_word(&catalogue["next_backup"]),
            neighbour(catalog.next(backup.id)),
            "{name}"
        );
        if let Some(size) = catalogue["chain_size"].as_u64() {
            let chain = catalog.chain(backup.id);
            assert_eq!(size, chain.len() as u64, "{name}");
            assert_eq!(
                text(&catalogue["root_backup_id"]),
                chain.last().unwrap().id.as_str(),
                "{name}"
            );
        }
    }
    for (argument, expected) in fixture["resolve"].as_object().unwrap() {
        let found = ids::resolve(&catalog, argument).ok().map(|b| b.id.to_string());
        assert_eq!(found.as_deref(), expected.as_str(), "{argument}");
    }
}

#[test]
fn retention_says_the_same() {
    let fixtures = fixtures();
    let now = jiff::Timestamp::from_second(fixtures["now"].as_i64().unwrap()).unwrap();
    let queries = list(&fixtures["queries"]);
    for fixture in &queries[1..] {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("pg", home.path());
        lay_out(&layout, &queries[0]);
        keep(&layout, fixture);
        let catalog = Catalog::load(&layout).unwrap();
        let (policy, minimum) = settings(fixture);
        let report = retention::report(policy.unwrap(), minimum, &catalog, now);
        for (backup, word) in fixture["retention"].as_object().unwrap() {
            if let Some(word) = word.as_str() {
                assert_eq!(
                    report[&id(backup)].as_str(),
                    word,
                    "{} {backup}",
                    fixture["extra"]
                );
            }
        }
    }
}

#[test]
fn files_are_rewritten_byte_for_byte() {
    for fixture in list(&fixtures()["rewrites"]) {
        let info =
            BackupInfo::parse(id("20260101T000000"), "pg", text(&fixture["before"]).as_bytes()).unwrap();
        let ours = info.to_text().unwrap();
        let theirs = text(&fixture["after"]);
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn completeness_comes_to_the_same_status() {
    for fixture in list(&fixtures()["checks"]) {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("pg", home.path());
        for wal in list(&fixture["wals"]) {
            let path = layout.wal_path(&text(wal).parse().unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let info = BackupInfo::parse(id("20260101T000000"), "pg", text(&fixture["info"]).as_bytes()).unwrap();
        if info.status == barman_catalog::BackupStatus::Failed {
            continue;
        }
        let archive = DiskArchive::on_timeline(&layout, info.begin_wal.unwrap().timeline).unwrap();
        let (status, error) = match completeness::assess(&info, &archive, Patience::HolesAreFinal) {
            Completeness::Unknown => ("?", "None".to_owned()),
            Completeness::Done => ("DONE", "None".to_owned()),
            Completeness::Waiting { .. } => ("WAITING_FOR_WALS", "None".to_owned()),
            Completeness::Failed { reason } => ("FAILED", reason),
        };
        let expected = (text(&fixture["status"]), text(&fixture["error"]).to_owned());
        assert_eq!((status, error), expected, "{}", fixture["wals"]);
    }
}

/// The lines of `delete`.
#[derive(Default)]
struct Lines(Vec<String>);

impl DeletionObserver for Lines {
    fn begun(&mut self, backup: &BackupInfo) -> Result<(), String> {
        self.0
            .push(format!("Deleting backup {} for server pg", backup.id));
        Ok(())
    }

    fn wal_done(&mut self, decision: &WalDecision, removal: &WalRemoval) {
        if matches!(decision, WalDecision::Remove(_)) {
            self.0.push("Delete associated WAL segments:".to_owned());
            self.0
                .extend(removal.removed.iter().map(|r| format!("\t{}", r.name)));
        }
    }
}

fn tree(root: &Path, below: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_dir() {
            found.push(format!("{name}/"));
            tree(root, &path, found);
        } else {
            found.push(name);
        }
    }
}

/// Barman removes this segment in one of the cases although a whole backup on timeline 1 can be restored along it to
/// timeline 2: the only difference.
const SPARED: &str = "00000002000000000000000A";

fn is_spared(fixture: &Value) -> bool {
    let infos = list(&fixture["infos"]);
    let begins = |at: usize, wal: &str| {
        infos
            .get(at)
            .is_some_and(|info| text(&info[1]).contains(&format!("begin_wal={wal}\n")))
    };
    begins(1, "00000002000000000000000B") && begins(2, "000000010000000000000008")
}

fn without_spared(content: &str) -> String {
    let lines = content
        .split_inclusive('\n')
        .filter(|line| !line.contains(SPARED));
    lines.collect()
}

#[test]
fn deleting_leaves_the_same_catalogue() {
    for fixture in list(&fixtures()["deletes"]) {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("pg", home.path());
        lay_out(&layout, fixture);
        let target = id(text(&fixture["id"]));
        let mut catalog = Catalog::load(&layout).unwrap();
        let refused = deletion::check(&catalog, catalog.get(target).unwrap(), settings(fixture).1).is_err();
        assert_eq!(refused, fixture["code"] != 0, "{target}");
        let mut lines = Lines::default();
        if !refused {
            for id in catalog.tree_leaves_first(target) {
                deletion::delete_backup(
                    &layout,
                    &mut catalog,
                    id,
                    Trigger::Manual,
                    &CustomMagic::None,
                    &mut lines,
                    None,
                )
                .unwrap();
            }
        }
        let spared = is_spared(fixture);
        let expected: Vec<&str> = list(&fixture["lines"])
            .iter()
            .map(text)
            .filter(|l| !(l.is_empty() || spared && l.contains(SPARED)))
            .collect();
        assert_eq!(lines.0, expected, "{target}");
        let mut listed = fs::read_to_string(layout.xlogdb()).unwrap();
        if spared {
            assert!(listed.contains(SPARED));
            listed = without_spared(&listed);
        }
        assert_eq!(listed, text(&fixture["xlogdb"]), "{target}");
        let mut found = Vec::new();
        tree(&layout.backup_directory, &layout.backup_directory, &mut found);
        found.sort();
        if spared {
            let before = found.len();
            found.retain(|path| !path.ends_with(SPARED));
            assert_eq!(found.len(), before - 1);
        }
        let mut expected: Vec<&str> = list(&fixture["tree"]).iter().map(text).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{target}");
        for (changed, content) in fixture["changed"].as_object().unwrap() {
            assert_eq!(
                fs::read_to_string(layout.backup_info(id(changed))).unwrap(),
                text(content),
                "{changed}"
            );
        }
        // What was on disk and what was in memory agree.
        let ids = |c: &Catalog| c.backups().map(|b| b.id).collect::<Vec<_>>();
        assert_eq!(ids(&catalog), ids(&Catalog::load(&layout).unwrap()));
        for backup in catalog.backups() {
            backup_info::load(&layout, backup.id).unwrap();
        }
    }
}
