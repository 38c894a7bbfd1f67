//! Where ours may keep more than Barman, and why: each reason is the id of a row in `docs/differences.md`, with the item of the
//! specification that the row names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use testkit::catalogue::Blueprint;
use testkit::catalogue::blueprint::{Backup, Server, Status, XlogDbForm};

use crate::pair::{Left, Pair, State};

/// What removed something.
#[derive(Debug, Clone, Copy)]
pub enum Removal<'a> {
    /// `delete` of this backup.
    ByHand(&'a str),
    /// `cron`, by the policy.
    ByPolicy,
}

/// The reasons and their items of the specification, as the rows have them.
const REASONS: [(&str, &str); 5] = [
    ("catalogue-1", "`catalog.md` 24.1, `wal.md` 21.1"),
    ("catalogue-2", "`catalog.md` 24.2, 24.3"),
    ("catalogue-3", "`catalog.md` 15.3"),
    ("catalogue-9", "`catalog.md` 24.7, 24.8"),
    ("catalogue-23", "`catalog.md` 24.5"),
];

/// What a removal did to a server.
#[derive(Debug)]
pub struct Compared {
    /// How many files of WAL (of `catalogue-9`: backups) differ for which reason.
    reasons: BTreeMap<&'static str, usize>,
    /// How many backups both programs removed.
    pub backups: usize,
    /// How many files of WAL both programs removed.
    pub wals: usize,
}

impl Compared {
    /// Whether both left the same.
    pub fn is_equal(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Tells what differs and why, by row and item.
    pub fn tell(&self, where_: &str) {
        for (id, files) in &self.reasons {
            let item = REASONS.iter().find(|(known, _)| known == id);
            let item = item.expect("a reason has an item").1;
            eprintln!("{where_}: {files} differ, {id} ({item})");
        }
    }
}

/// Compares what both programs left of a server, and finds the reasons for which ours kept more.
///
/// # Panics
/// Ours removed something that Barman keeps, or kept something without a reason, or something else differs.
pub fn compare(
    blueprint: &Blueprint,
    server: &Server,
    before: &State,
    pair: &Pair,
    removal: Removal<'_>,
) -> Compared {
    let context = format!("{} in {}, {removal:?}", server.name, blueprint.recipe);
    let State { ours, theirs } = pair.state(server);
    let kept: Vec<&String> = ours.backups.difference(&theirs.backups).collect();
    assert!(kept.is_empty(), "ours keeps the backups {kept:?}: {context}");
    let mut reasons = BTreeMap::new();
    let orphans: BTreeSet<&str> = theirs
        .backups
        .difference(&ours.backups)
        .map(String::as_str)
        .collect();
    for id in &orphans {
        assert!(
            is_useless_orphan(server, &theirs, id),
            "ours removed backup {id}, which Barman keeps: {context}"
        );
        *reasons.entry("catalogue-9").or_default() += 1;
    }
    for name in theirs.wals.difference(&ours.wals) {
        // Barman's rebuilt catalogue does not have it, so that it stays for ever.
        assert!(
            rebuilt(server) && name.ends_with(".partial"),
            "ours removed {name}, which Barman keeps: {context}"
        );
        *reasons.entry("catalogue-23").or_default() += 1;
    }
    for name in ours.wals.difference(&theirs.wals) {
        let reason = reason(server, before, &ours, &theirs, name, removal);
        let reason = reason.unwrap_or_else(|| panic!("ours keeps {name} for no known reason: {context}"));
        *reasons.entry(reason).or_default() += 1;
    }
    same_lines(server, &ours, &theirs, &context);
    same_trees(pair, server, &orphans, &context);
    let gone = before.ours.wals.difference(&ours.wals);
    Compared {
        reasons,
        backups: before.ours.backups.len() - ours.backups.len(),
        wals: gone.filter(|name| !theirs.wals.contains(*name)).count(),
    }
}

/// The only thing that ours removes and Barman does not: an incremental backup that never became whole and is in nobody's list,
/// because its process died, goes with the backup it is based on. Nothing could ever be restored from it.
fn is_useless_orphan(server: &Server, theirs: &Left, id: &str) -> bool {
    server.backup(id).is_some_and(|backup| {
        let parent = backup.parent.as_ref();
        !backup.status.is_copy_done()
            && crate::is_unknown_to_its_parent(server, backup)
            && parent.is_some_and(|parent| !theirs.backups.contains(parent))
    })
}

/// Ours lists what is there; besides that the lines are the same.
fn same_lines(server: &Server, ours: &Left, theirs: &Left, context: &str) {
    let (Some(our_lines), Some(their_lines)) = (&ours.lines, &theirs.lines) else {
        assert_eq!(ours.lines, theirs.lines, "{context}");
        return;
    };
    let kept: BTreeSet<&str> = ours.wals.difference(&theirs.wals).map(String::as_str).collect();
    let common = |lines: &[String]| -> Vec<String> {
        let differs = |name: &str| kept.contains(name) || (rebuilt(server) && name.ends_with(".partial"));
        let common = lines.iter().filter(|line| !differs(name_of(line)));
        common.map(|line| five_columns(line)).collect()
    };
    assert_eq!(common(our_lines), common(their_lines), "xlog.db: {context}");
    for line in our_lines {
        assert!(
            ours.wals.contains(name_of(line)),
            "a line without a file: {line}: {context}"
        );
    }
}

/// The name in a line of `xlog.db`.
fn name_of(line: &str) -> &str {
    line.split('\t').next().unwrap_or_default()
}

/// Barman gives old lines their missing columns when it deletes a backup, ours when a line goes.
fn five_columns(line: &str) -> String {
    let missing = 5_usize.saturating_sub(line.split('\t').count());
    line.to_owned() + &"\tNone".repeat(missing)
}

/// Whether both programs had to make `xlog.db` from what is in the archive.
fn rebuilt(server: &Server) -> bool {
    matches!(server.xlogdb, XlogDbForm::Missing | XlogDbForm::BeforeServerName)
}

/// All but the archive is the same, file by file.
fn same_trees(pair: &Pair, server: &Server, orphans: &BTreeSet<&str>, context: &str) {
    let (ours, theirs) = (
        pair.ours.server_dir(&server.name),
        pair.theirs.server_dir(&server.name),
    );
    let differences = testkit::tree::differences(&ours, &theirs, &|path| {
        path.starts_with("wals")
            // Barman takes away its own directory of metadata with the last annotation, and moves old annotations (catalogue-22).
            || path == Path::new("meta")
            || annotation(path).is_some()
            || orphans.iter().any(|id| {
                path.starts_with(Path::new("base").join(id)) || path == Path::new(&format!("meta/{id}-backup.info"))
            })
            // The links lead into the home they are in.
            || path.components().any(|part| part.as_os_str() == "pg_tblspc")
    })
    .unwrap();
    assert!(differences.is_empty(), "{differences:#?}: {context}");
    assert_eq!(annotations(&ours), annotations(&theirs), "{context}");
}

/// Why ours keeps a file of the archive that Barman removed.
fn reason(
    server: &Server,
    before: &State,
    ours: &Left,
    theirs: &Left,
    name: &str,
    removal: Removal<'_>,
) -> Option<&'static str> {
    // Barman does not look into a directory of which it wants to remove 256 files.
    let in_directory = |left: &Left| left.wals.iter().filter(|other| other[..16] == name[..16]).count();
    let emptied = in_directory(&before.theirs) >= 256 && in_directory(theirs) == 0;
    let by_need = |id| if emptied { "catalogue-1" } else { id };
    let left: Vec<&Backup> = server
        .backups
        .iter()
        .filter(|b| ours.backups.contains(&b.id) && is_archiving(b.status))
        .collect();
    for begin in left.iter().filter_map(|b| b.begin.as_ref()) {
        if begin.wal[..8] == name[..8] && *begin.wal <= name[..24] {
            return Some(by_need("catalogue-2"));
        }
        if begin.wal[..8] < name[..8] && begin.wal[8..] <= name[8..24] {
            return Some(by_need("catalogue-3"));
        }
    }
    let Removal::ByHand(id) = removal else {
        return None;
    };
    // Nothing is left that needs WAL: what came after the last one's begin stays, all of it if that is unknown.
    match &server.backup(id)?.begin {
        Some(begin) if emptied && left.is_empty() && *begin.wal <= name[..24] => Some("catalogue-1"),
        None if theirs.wals.iter().all(|name| name.ends_with(".history")) => Some("catalogue-2"),
        _ => None,
    }
}

fn is_archiving(status: Status) -> bool {
    matches!(
        status,
        Status::Started | Status::WaitingForWals | Status::Done | Status::Syncing
    )
}

/// The id and key of an annotation, in its old place or in the current one. Barman moves those that it reads, which ours leaves where
/// they are.
fn annotation(path: &Path) -> Option<(String, String)> {
    let text = path.to_str()?;
    if let Some(rest) = text.strip_prefix("base/") {
        let (id, key) = rest.split_once("/annotations/")?;
        return Some((id.to_owned(), key.to_owned()));
    }
    let (id, key) = text.strip_prefix("meta/")?.split_once('-')?;
    ["keep", "delete_this"]
        .contains(&key)
        .then(|| (id.to_owned(), key.to_owned()))
}

fn annotations(root: &Path) -> BTreeMap<(String, String), testkit::tree::Entry> {
    let entries = testkit::tree::entries(root).unwrap().into_iter();
    entries
        .filter_map(|(path, entry)| Some((annotation(&path)?, entry)))
        .collect()
}

#[test]
fn each_reason_is_a_row_with_its_item() {
    let rows = include_str!("../../../docs/differences.md");
    for (id, item) in REASONS {
        let row = rows.lines().find(|row| row.starts_with(&format!("| {id} |")));
        let row = row.unwrap_or_else(|| panic!("{id} is no row of docs/differences.md"));
        assert!(row.ends_with(&format!("| {item} |")), "{id}: {item}: {row}");
    }
}
