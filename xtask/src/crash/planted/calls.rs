//! Faults planted in the record of a real run: a sync that was not made, a call that came too early. The order checker,
//! which is silent on the record as it is, must name the rule that is broken, and nothing else before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::strace::order::{
    self, ACKNOWLEDGED, AT_END, CONTROL_LAST, IN_PLACE, INFO_LAST, LISTED, Places, RENAME, Rule, SOURCE,
    STATUS, UNFOLLOWED, UNKNOWN, UNMARKED, WAL_LISTED,
};
use testkit::strace::{Call, Outcome};

use crate::crash::disk;

/// Between two lines of a record, after its lines are spread, is room for so many calls.
const ROOM: usize = 10;

/// A record of more calls is a long one: of it only so many faults for each rule are planted.
const LONG: usize = 2000;
const OF_LONG: usize = 2;

/// A record with a fault.
struct Plant {
    rule: Rule,
    /// What was done to the record.
    what: String,
    calls: Vec<Call>,
}

/// Plants every fault that this record has a place for, of a long one some; returns how many were found, by rule.
///
/// # Errors
/// One was not found, or taken for another, or there is no place for one of `rules`.
pub fn find_all(calls: &[Call], places: &Places, rules: &[Rule]) -> Result<BTreeMap<&'static str, usize>> {
    let record = Record {
        calls: spread(calls),
        places,
    };
    let mut found = BTreeMap::new();
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    for plant in record.plants() {
        let tried = tried.entry(plant.rule.name).or_default();
        *tried += 1;
        // A long record takes seconds to replay, and its places are alike.
        if calls.len() > LONG && *tried > OF_LONG {
            continue;
        }
        let violations = order::check(&plant.calls, places);
        let first = violations.first().with_context(|| {
            format!(
                "the order checker does not see {}: {}",
                plant.rule.name, plant.what
            )
        })?;
        ensure!(
            first.rule == plant.rule,
            "the order checker takes {} for another fault: {}\n{first}",
            plant.rule.name,
            plant.what
        );
        *found.entry(plant.rule.name).or_default() += 1;
    }
    for rule in rules {
        ensure!(
            found.contains_key(rule.name),
            "the recorded run has no place where {} could be broken: the order of its calls has changed",
            rule.name
        );
    }
    Ok(found)
}

/// Makes room between the lines, so that calls can be moved.
fn spread(calls: &[Call]) -> Vec<Call> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.begin);
    for call in &mut calls {
        call.begin *= ROOM;
        call.end *= ROOM;
    }
    calls
}

struct Record<'a> {
    calls: Vec<Call>,
    places: &'a Places,
}

/// Old and new name of a rename or link.
fn names(call: &Call) -> Option<(PathBuf, PathBuf)> {
    match call.name.as_str() {
        "rename" | "link" => Some((call.path(0)?, call.path(1)?)),
        "renameat" | "renameat2" | "linkat" => Some((call.path(1)?, call.path(3)?)),
        _ => None,
    }
}

fn removed(call: &Call) -> Option<PathBuf> {
    match call.name.as_str() {
        "unlink" | "rmdir" => call.path(0),
        "unlinkat" => call.path(1),
        _ => None,
    }
}

fn synced(call: &Call) -> Option<PathBuf> {
    matches!(call.name.as_str(), "fsync" | "fdatasync" | "syncfs").then(|| call.descriptor(0))?
}

fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// What a receiver tells: up to where WAL is on its disk.
fn acknowledged(call: &Call) -> Option<u64> {
    let sends =
        call.name.starts_with("send") || call.arguments.first().is_some_and(|a| a.contains("<socket:"));
    let bytes = call.payload().filter(|_| sends)?;
    let message = bytes.strip_prefix(b"d")?.get(4..)?.strip_prefix(b"r")?;
    Some(u64::from_be_bytes(message.get(8..16)?.try_into().ok()?))
}

impl Record<'_> {
    fn plants(&self) -> Vec<Plant> {
        let mut plants = Vec::new();
        let home = self.places.home.clone();
        for (number, call) in self.calls.iter().enumerate() {
            if call.outcome != Outcome::Done {
                continue;
            }
            if let Some((from, to)) = names(call) {
                self.at_name(number, &from, &to, &mut plants);
            }
            if let Some(path) = removed(call).filter(|path| path.starts_with(&home)) {
                self.at_removal(number, &path, &mut plants);
            }
            if call.name == "write"
                && let Some(db) = call
                    .descriptor(0)
                    .filter(|path| name_of(path).ends_with("xlog.db"))
            {
                self.at_listing(number, &db, &mut plants);
            }
        }
        plants.extend(self.told_too_early());
        plants.extend(self.overwritten());
        plants.extend(self.hidden());
        plants.extend(self.forgotten_at_end());
        plants
    }

    /// `home/SERVER/PART` of a path.
    fn part(&self, path: &Path) -> Option<(PathBuf, String)> {
        let mut parts = path.strip_prefix(&self.places.home).ok()?.components();
        let server = self.places.home.join(parts.next()?);
        Some((server, parts.next()?.as_os_str().to_str()?.to_owned()))
    }

    /// The record without the calls for which `drop` is true.
    fn without(&self, drop: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.calls.iter().filter(|call| !drop(call)).cloned().collect()
    }

    /// The record with one call just before another.
    fn moved(&self, number: usize, before: usize) -> Vec<Call> {
        let mut calls = self.calls.clone();
        let at = calls.get(before).map_or(0, |call| call.begin).saturating_sub(2);
        if let Some(call) = calls.get_mut(number) {
            (call.begin, call.end) = (at, at + 1);
        }
        calls
    }

    /// A file gets its final name.
    fn at_name(&self, number: usize, from: &Path, to: &Path, plants: &mut Vec<Plant>) {
        let Some(call) = self.calls.get(number) else {
            return;
        };
        let shown = to.display();
        if let Some(destination) = &self.places.destination {
            if to == destination.join("global/pg_control") {
                plants.push(Plant {
                    rule: CONTROL_LAST,
                    what: format!("nothing is synced before {shown} is there"),
                    calls: self.without(|c| synced(c).is_some() && c.end < call.begin),
                });
            }
            return;
        }
        let name = name_of(to);
        let syncs = |c: &Call| c.end < call.begin && synced(c).is_some_and(|path| path == from || path == to);
        if order::is_configuration(name) {
            if self.calls.iter().any(syncs) {
                plants.push(Plant {
                    rule: RENAME,
                    what: format!("{shown} is not synced before it has its name"),
                    calls: self.without(syncs),
                });
            }
            return;
        }
        let Some((server, part)) = self.part(to) else {
            return;
        };
        if name.starts_with('.') || name.ends_with(".tmp") {
            return;
        }
        if matches!(part.as_str(), "wals" | "meta" | "streaming") && self.calls.iter().any(syncs) {
            plants.push(Plant {
                rule: RENAME,
                what: format!("{shown} is not synced before it has its name"),
                calls: self.without(syncs),
            });
        }
        let Some(id) = name.strip_suffix("-backup.info").filter(|_| part == "meta") else {
            return;
        };
        let base = server.join("base");
        let data = base.join(id);
        let says_whole = self.calls.iter().any(|c| {
            c.end < call.begin
                && c.name == "write"
                && c.descriptor(0).as_deref() == Some(from)
                && c.bytes(1).is_some_and(|bytes| {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    text.contains("status=DONE\n") || text.contains("status=WAITING_FOR_WALS\n")
                })
        });
        let of_data = |c: &Call| synced(c).is_some_and(|path| path.starts_with(&data) || c.name == "syncfs");
        if says_whole && self.calls.iter().any(|c| of_data(c) && c.end < call.begin) {
            plants.push(Plant {
                rule: STATUS,
                what: format!(
                    "no file of {} is synced before {shown} says that it is whole",
                    data.display()
                ),
                calls: self.without(of_data),
            });
            plants.push(Plant {
                rule: STATUS,
                what: format!(
                    "{} is not synced before {shown} says that it is whole",
                    base.display()
                ),
                calls: self.without(|c| c.name == "syncfs" || synced(c).as_ref() == Some(&base)),
            });
        }
    }

    /// A name goes.
    fn at_removal(&self, number: usize, path: &Path, plants: &mut Vec<Plant>) {
        let (Some(call), Some((server, part))) = (self.calls.get(number), self.part(path)) else {
            return;
        };
        let (name, shown) = (name_of(path), path.display());
        let db = server.join("wals").join(format!("{}-xlog.db", name_of(&server)));
        let first = |wanted: &dyn Fn(&Call) -> bool| {
            self.calls
                .iter()
                .position(|c| c.outcome == Outcome::Done && wanted(c))
                .filter(|first| *first < number)
        };
        match part.as_str() {
            "incoming" | "streaming" if !self.listed_before(&server).contains(&name.to_owned()) => {
                let lists = |c: &Call| {
                    c.name == "write"
                        && c.descriptor(0).as_ref() == Some(&db)
                        && c.bytes(1).is_some_and(|b| has_line(&b, name))
                };
                if let Some(listing) = first(&lists) {
                    plants.push(Plant {
                        rule: SOURCE,
                        what: format!("{shown} is removed before its line is written"),
                        calls: self.moved(number, listing),
                    });
                    plants.push(Plant {
                        rule: SOURCE,
                        what: format!("{shown} is removed and {} was never synced", db.display()),
                        calls: self.without(|c| synced(c).as_ref() == Some(&db)),
                    });
                }
            }
            "wals" if name.len() == 24 => {
                let replaces = |c: &Call| names(c).is_some_and(|(_, to)| to == db);
                let Some(replaced) = first(&replaces) else { return };
                plants.push(Plant {
                    rule: WAL_LISTED,
                    what: format!("{shown} is removed before {} is replaced", db.display()),
                    calls: self.moved(number, replaced),
                });
                let wals = server.join("wals");
                plants.push(Plant {
                    rule: WAL_LISTED,
                    what: format!("{shown} is removed before {} is synced", wals.display()),
                    calls: self.without(|c| synced(c).as_ref() == Some(&wals) && c.end < call.begin),
                });
            }
            "base" => {
                let Some(id) = path
                    .strip_prefix(server.join("base"))
                    .ok()
                    .and_then(|rest| rest.iter().next())
                else {
                    return;
                };
                let id = id.to_string_lossy();
                let mark = server.join(format!("meta/{id}-delete_this"));
                let marks = |c: &Call| names(c).is_some_and(|(_, to)| to == mark);
                let Some(marked) = first(&marks) else { return };
                plants.push(Plant {
                    rule: UNMARKED,
                    what: format!("{shown} is removed before {} is there", mark.display()),
                    calls: self.moved(number, marked),
                });
                let meta = server.join("meta");
                plants.push(Plant {
                    rule: UNMARKED,
                    what: format!("{shown} is removed before {} is synced", meta.display()),
                    calls: self.without(|c| synced(c).as_ref() == Some(&meta) && c.end < call.begin),
                });
            }
            "meta" => {
                let Some(id) = name.strip_suffix("-backup.info") else {
                    return;
                };
                let base = server.join("base");
                let data = base.join(id);
                let Some(gone) = first(&|c: &Call| removed(c).as_ref() == Some(&data)) else {
                    return;
                };
                plants.push(Plant {
                    rule: INFO_LAST,
                    what: format!("{shown} is removed before {}", data.display()),
                    calls: self.moved(number, gone),
                });
                plants.push(Plant {
                    rule: INFO_LAST,
                    what: format!("{shown} is removed before {} is synced", base.display()),
                    calls: self.without(|c| synced(c).as_ref() == Some(&base) && c.end < call.begin),
                });
            }
            _ => {}
        }
    }

    /// Lines are added to `xlog.db`.
    fn at_listing(&self, number: usize, db: &Path, plants: &mut Vec<Plant>) {
        let Some(call) = self.calls.get(number) else {
            return;
        };
        let Some((server, _)) = self.part(db) else { return };
        let bytes = call.bytes(1).unwrap_or_default();
        let shown = db.display();
        let wals = server.join("wals");
        // The first of these lines whose file got its name in this run.
        let named = self.calls.iter().position(|c| {
            c.outcome == Outcome::Done
                && c.end < call.begin
                && names(c).is_some_and(|(_, to)| to.starts_with(&wals) && has_line(&bytes, name_of(&to)))
        });
        let Some((named, (_, to))) = named.and_then(|n| Some((n, names(self.calls.get(n)?)?))) else {
            return;
        };
        let name = name_of(&to);
        plants.push(Plant {
            rule: LISTED,
            what: format!("{shown} lists {name} before it is there"),
            calls: self.moved(number, named),
        });
        let directory = to.parent().unwrap_or(&wals).to_owned();
        plants.push(Plant {
            rule: LISTED,
            what: format!("{shown} lists {name} before {} is synced", directory.display()),
            calls: self.without(|c| synced(c).as_ref() == Some(&directory) && c.end < call.begin),
        });
    }

    /// The server is told of WAL before it is synced: the message that tells more than the one before comes before the
    /// syncs in between.
    fn told_too_early(&self) -> Vec<Plant> {
        let told: Vec<(usize, u64)> = self
            .calls
            .iter()
            .enumerate()
            .filter_map(|(number, call)| Some((number, acknowledged(call)?)))
            .collect();
        let is_segment = |path: &Path| {
            self.part(path).is_some_and(|(_, part)| part == "streaming") && name_of(path).len() >= 24
        };
        let mut plants = Vec::new();
        for pair in told.windows(2) {
            let [(earlier, before), (later, now)] = pair else {
                continue;
            };
            let between = self.calls.get(earlier + 1..*later).unwrap_or_default();
            let written = between.iter().position(|c| {
                c.name == "pwrite64"
                    && c.descriptor(0).is_some_and(|path| is_segment(&path))
                    && !is_filling(c)
            });
            let Some(written) = written.filter(|_| now > before) else {
                continue;
            };
            let sync = between
                .iter()
                .skip(written)
                .position(|c| synced(c).is_some_and(|path| is_segment(&path)));
            if let Some(sync) = sync {
                plants.push(Plant {
                    rule: ACKNOWLEDGED,
                    what: format!("the server is told of WAL before it is synced (call {later})"),
                    calls: self.moved(*later, earlier + 1 + written + sync),
                });
            }
        }
        plants
    }

    /// `xlog.db` is emptied or written over, as by a program that writes it anew in place; or it is written to in a way that
    /// the record does not show.
    fn overwritten(&self) -> Vec<Plant> {
        let mut plants = Vec::new();
        for (server, listed) in self.servers() {
            let db = server.join("wals").join(format!("{}-xlog.db", name_of(&server)));
            let db = db.display();
            let open = format!("1 openat(AT_FDCWD</>, \"{db}\", O_RDWR|O_CREAT, 0666) = 9<{db}>\n");
            let mut faults = vec![
                (IN_PLACE, "emptied", open.replace("O_CREAT", "O_CREAT|O_TRUNC")),
                (IN_PLACE, "emptied", format!("1 ftruncate(9<{db}>, 0) = 0\n")),
                (
                    UNFOLLOWED,
                    "mapped",
                    format!(
                        "1 mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 9<{db}>, 0) = 0x7f0000000000\n"
                    ),
                ),
                (
                    UNFOLLOWED,
                    "mapped for reading, then for writing",
                    format!(
                        "1 mmap(NULL, 9, PROT_READ, MAP_SHARED, 9<{db}>, 0) = 0x100000\n\
                         1 mprotect(0x100000, 9, PROT_READ|PROT_WRITE) = 0\n"
                    ),
                ),
            ];
            if !listed.is_empty() {
                let written = [
                    format!("1 pwrite64(9<{db}>, \"x\", 1, 7) = 1\n"),
                    format!("{open}1 write(9<{db}>, \"x\", 1) = 1\n"),
                    format!(
                        "{open}1 lseek(9<{db}>, 3, SEEK_SET) = 3\n1 writev(9<{db}>, [{{iov_base=\"x\", iov_len=1}}], 1) = 1\n"
                    ),
                ];
                faults.extend(written.map(|text| (IN_PLACE, "written over", text)));
            }
            for (rule, how, text) in faults {
                plants.push(Plant {
                    rule,
                    what: format!("{db} is {how}: {}", text.trim_end()),
                    calls: self.begun_with(&text),
                });
            }
        }
        plants
    }

    /// A ring, and a name of which nobody knows where it is.
    fn hidden(&self) -> Vec<Plant> {
        let faults = [
            (
                UNFOLLOWED,
                "1 io_uring_setup(8, {flags=0}) = 9<anon_inode:[io_uring]>\n",
            ),
            (UNKNOWN, "1 rename(\".new\", \"main-xlog.db\") = 0\n"),
        ];
        let plant = |(rule, text): (Rule, &str)| Plant {
            rule,
            what: text.trim_end().to_owned(),
            calls: self.begun_with(text),
        };
        faults.map(plant).into()
    }

    /// The record with calls before its first one.
    fn begun_with(&self, text: &str) -> Vec<Call> {
        let mut calls = testkit::strace::parse(text);
        let room = calls.len();
        for (number, call) in calls.iter_mut().enumerate() {
            (call.begin, call.end) = (number, number);
        }
        calls.extend(self.calls.iter().cloned().map(|mut call| {
            call.begin += room;
            call.end += room;
            call
        }));
        calls
    }

    /// Servers that had an `xlog.db`, with the names that it listed.
    fn servers(&self) -> Vec<(PathBuf, Vec<String>)> {
        let Some(before) = &self.places.before else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(before).into_iter().flatten().flatten();
        let listed = entries.filter_map(|entry| {
            let name = entry.file_name();
            let db = entry.path().join(format!("wals/{}-xlog.db", name.to_str()?));
            let listed = disk::listed(&entry.path()).ok().filter(|_| db.exists())?;
            let names = listed.into_iter().map(|(name, _)| name).collect();
            Some((self.places.home.join(name), names))
        });
        listed.collect()
    }

    fn listed_before(&self, server: &Path) -> Vec<String> {
        let found = self.servers().into_iter().find(|(path, _)| path == server);
        found.map(|(_, names)| names).unwrap_or_default()
    }

    /// The last directory sync that puts a new name of the catalogue, or of what was restored, on stable storage is not made.
    fn forgotten_at_end(&self) -> Vec<Plant> {
        let control = self
            .places
            .destination
            .as_ref()
            .map(|to| to.join("global/pg_control"));
        let named = self.calls.iter().find(|call| {
            call.outcome == Outcome::Done && control.is_some() && names(call).map(|(_, to)| to) == control
        });
        if let (Some(call), Some(control)) = (named, &control) {
            return vec![Plant {
                rule: AT_END,
                what: format!("nothing is synced after {} is there", control.display()),
                calls: self.without(|c| synced(c).is_some() && c.begin > call.end),
            }];
        }
        let last = self.calls.iter().rev().find_map(|call| {
            let (_, to) = names(call).filter(|_| call.outcome == Outcome::Done)?;
            let (_, part) = self.part(&to)?;
            let info = name_of(&to).ends_with("-backup.info");
            let stays = !self.calls.iter().any(|c| removed(c).as_ref() == Some(&to));
            (stays && info && part == "meta").then_some((call, to))
        });
        let Some((call, to)) = last else { return Vec::new() };
        let directory = to.parent().map(Path::to_owned);
        vec![Plant {
            rule: AT_END,
            what: format!("the directory of {} is not synced afterwards", to.display()),
            calls: self.without(|c| c.begin > call.end && (synced(c) == directory || c.name == "syncfs")),
        }]
    }
}

/// Whether it only prepares a new segment.
fn is_filling(call: &Call) -> bool {
    call.bytes(1)
        .is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// Whether lines of `xlog.db` list this file.
fn has_line(lines: &[u8], name: &str) -> bool {
    String::from_utf8_lossy(lines)
        .lines()
        .any(|line| line.split_ascii_whitespace().next() == Some(name))
}
