//! What each call that matters relies on. A call is judged at its beginning.

use std::path::{Path, PathBuf};

use super::super::calls::{Call, Outcome};
use super::model::Model;
use super::writes;
use super::{
    ACKNOWLEDGED, AT_END, CONTROL_LAST, IN_PLACE, INFO_LAST, LISTED, RENAME, Rule, SOURCE, STATUS,
    UNFOLLOWED, UNKNOWN, UNMARKED, WAL_LISTED, name_of,
};

type Found = Vec<(Rule, String)>;

const SEGMENT_SIZE: u64 = 16 << 20;

/// The rules that this call breaks.
pub(super) fn before(model: &Model, call: &Call) -> Found {
    let mut found = Found::new();
    if let Some((from, to)) = model.two_names(call) {
        named(model, &from, &to, &mut found);
        if !call.name.starts_with("link") {
            taken_away(model, &from, Some(&to), &mut found);
        }
    }
    if let Some(path) = writes::removed(call).filter(|path| model.concerns(path)) {
        taken_away(model, &path, None, &mut found);
    }
    match call.name.as_str() {
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            listing(model, call, &mut found);
            if call.arguments.first().is_some_and(|a| a.contains("<socket:")) {
                acknowledged(model, call, &mut found);
            }
        }
        "open" | "openat" | "openat2" | "creat" | "truncate" | "ftruncate" => {
            emptied(model, call, &mut found);
        }
        "sendto" | "sendmsg" | "sendmmsg" => acknowledged(model, call, &mut found),
        _ => {}
    }
    if let Some((path, offset)) = model.overwritten(call) {
        let why = format!("{} is overwritten at byte {offset}", path.display());
        found.push((IN_PLACE, why));
    }
    if call.outcome == Outcome::Done {
        found.extend(unfollowed(model, call).map(|why| (UNFOLLOWED, why)));
        let unknown = call.unknown_name();
        found.extend(unknown.map(|name| (UNKNOWN, format!("the directory of {name} is not known"))));
    }
    found
}

/// Why the record may lack writes: those to a mapped file, and those of a ring, are no calls.
fn unfollowed(model: &Model, call: &Call) -> Option<String> {
    match call.name.as_str() {
        "mmap" => {
            let has = |index: usize, flag| call.arguments.get(index).is_some_and(|a| a.contains(flag));
            let path = call.descriptor(4).filter(|path| model.concerns(path))?;
            (has(2, "PROT_WRITE") && has(3, "MAP_SHARED"))
                .then(|| format!("{} is mapped for writing", path.display()))
        }
        "mprotect" => {
            let writable = call.arguments.get(2).is_some_and(|a| a.contains("PROT_WRITE"));
            let (begin, length) = call.address(0).zip(call.number(1)).filter(|_| writable)?;
            let path = model.mapped(begin, length)?;
            Some(format!("{} is mapped, and made writable later", path.display()))
        }
        "io_uring_setup" => Some("a ring may write to any file".to_owned()),
        "io_setup" => Some("requests of asynchronous I/O may write to any file".to_owned()),
        _ => None,
    }
}

/// What the program has left in memory only. Directories may be made again; queues belong to others.
pub(super) fn at_end(model: &Model) -> Found {
    let mut found = Found::new();
    for path in model.all() {
        if model.restored().any(|place| path.starts_with(place)) {
            let why = model.at_risk(path).filter(|_| !name_of(path).starts_with('.'));
            found.extend(why.map(|why| (AT_END, why)));
            continue;
        }
        let Some((_, part, _)) = model.place(path) else {
            continue;
        };
        let own = matches!(
            part.as_str(),
            "wals" | "meta" | "base" | "streaming" | "identity.json"
        );
        if !own
            || name_of(path).starts_with(['.', '#'])
            || model.is_untouched(path) && model.name_at_risk(path).is_none()
        {
            continue;
        }
        if let Some(why) = model.at_risk(path) {
            found.push((AT_END, why));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found.dedup();
    found
}

/// A name is about to point to a file.
fn named(model: &Model, from: &Path, to: &Path, found: &mut Found) {
    let name = name_of(to);
    if model.restored().any(|place| to.starts_with(place)) {
        if to.ends_with("global/pg_control") {
            let others = model.restored().flat_map(|place| model.known_below(place));
            let risk = first_risk(model, others.filter(|path| *path != from)).or_else(|| {
                // Directories without files: the server does not start without some of them.
                let mut made = model.restored().flat_map(|place| model.all_fresh_below(place));
                made.find(|path| *path != from)
                    .and_then(|path| model.name_at_risk(path))
            });
            found.extend(risk.map(|why| (CONTROL_LAST, why)));
            found.extend(model.content_at_risk(from).map(|why| (CONTROL_LAST, why)));
        }
        return;
    }
    // A hidden name is not final, but for those of the configuration.
    let hidden = name.starts_with('.') && !super::is_configuration(name);
    if hidden || name.ends_with(".tmp") || !model.concerns(to) {
        return;
    }
    let place = model.place(to);
    let part = place.as_ref().map_or("", |(_, part, _)| part.as_str());
    match part {
        // Nothing looks at the bulk of a backup before its status says so.
        "base" => return,
        // What is put aside is as safe as it was.
        "errors" if model.is_untouched(from) => return,
        _ => {}
    }
    found.extend(model.content_at_risk(from).map(|why| (RENAME, why)));
    if let (Some((server, "meta", _)), Some(id)) = (
        place
            .as_ref()
            .map(|(server, part, rest)| (server, part.as_str(), rest)),
        name.strip_suffix("-backup.info"),
    ) {
        let text = String::from_utf8_lossy(model.text(from).unwrap_or_default()).into_owned();
        if text
            .lines()
            .any(|line| line == "status=DONE" || line == "status=WAITING_FOR_WALS")
        {
            let data = server.join("base").join(id);
            let risk = first_risk(model, model.known_below(&data))
                .or_else(|| model.fresh_below(&data).and_then(|path| model.name_at_risk(path)));
            found.extend(risk.map(|why| (STATUS, why)));
        }
    }
    if part == "wals" && name.ends_with("xlog.db") {
        let before = model.listed(to);
        let text = model.text(from).unwrap_or_default().to_vec();
        let added: Vec<String> = writes::listed_in(&text)
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        if let Some((server, _, _)) = &place {
            found.extend(first_unsafe_wal(model, server, &added).map(|why| (LISTED, why)));
        }
    }
}

fn first_risk<'a>(model: &Model, mut paths: impl Iterator<Item = &'a PathBuf>) -> Option<String> {
    paths.find_map(|path| model.at_risk(path))
}

/// A name is about to go; `to` is its new one if it is renamed.
fn taken_away(model: &Model, path: &Path, to: Option<&Path>, found: &mut Found) {
    let Some((server, part, rest)) = model.place(path) else {
        return;
    };
    let name = name_of(path);
    match part.as_str() {
        "incoming" | "streaming" if is_wal_name(name) && model.exists(path) => {
            source_removed(model, &server, path, to, found);
        }
        "base" => {
            let Some(id) = rest.components().next().and_then(|id| id.as_os_str().to_str()) else {
                return;
            };
            // Temporary files come and go; what is written in this run is not there yet.
            if !name.starts_with('.')
                && model.existed(path)
                && let Some(why) = unmarked(model, &server, id)
            {
                found.push((UNMARKED, why));
            }
        }
        "wals" if is_wal_name(name) && model.exists(path) && to.is_none() => {
            let db = database(model, &server);
            if model.listed(&db).contains(name) {
                found.push((WAL_LISTED, format!("{} lists {name}", db.display())));
            } else if let Some(why) = model.at_risk(&db) {
                found.push((WAL_LISTED, why));
            }
        }
        "meta" if to.is_none() => {
            let Some(id) = name.strip_suffix("-backup.info") else {
                return;
            };
            let data = server.join("base").join(id);
            if model.existed(&data) && (!model.is_gone(&data) || model.removal_at_risk(&data)) {
                found.push((INFO_LAST, format!("{} is not durably removed", data.display())));
            }
        }
        _ => {}
    }
}

fn source_removed(model: &Model, server: &Path, path: &Path, to: Option<&Path>, found: &mut Found) {
    let name = name_of(path);
    if let Some(to) = to {
        let place = model.place(to);
        let part = place.as_ref().map_or("", |(_, part, _)| part.as_str());
        let renamed = name.strip_suffix(".partial") == Some(name_of(to)) || name_of(to).ends_with(".partial");
        match part {
            "errors" => return,
            "streaming" if renamed => return,
            // The file itself becomes the copy: it must be on disk before that, which is another rule.
            "wals" => return,
            _ => {}
        }
    }
    let copy = server.join("wals").join(archived(name));
    if !model.exists(&copy) {
        // A prepared file without content, or one that nobody has archived.
        if !(name.ends_with(".partial") && to.is_none()) {
            found.push((SOURCE, format!("{} does not exist", copy.display())));
        }
        return;
    }
    let db = database(model, server);
    // Its line of before says that it was put on stable storage then.
    let known = model.is_untouched(&copy) && model.listed_before(&db).contains(name);
    if let Some(why) = model.at_risk(&copy).filter(|_| !known) {
        found.push((SOURCE, why));
        return;
    }
    if !model.listed(&db).contains(name) {
        found.push((SOURCE, format!("{} does not list {name}", db.display())));
    } else if let Some(why) = model.at_risk(&db) {
        found.push((SOURCE, why));
    }
}

/// Why a reader that comes after a crash may take a backup for whole whose files are going.
fn unmarked(model: &Model, server: &Path, id: &str) -> Option<String> {
    let meta = server.join("meta");
    let mark = meta.join(format!("{id}-delete_this"));
    let info = meta.join(format!("{id}-backup.info"));
    let safe = |path: &Path| model.exists(path) && model.at_risk(path).is_none();
    if safe(&mark) {
        return None;
    }
    let content = match model.text(&info) {
        Some(text) if !text.is_empty() => text.to_vec(),
        _ => model.content_before(&info).unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&content).into_owned();
    let whole = text
        .lines()
        .any(|line| line == "status=DONE" || line == "status=WAITING_FOR_WALS");
    (whole || !safe(&info)).then(|| format!("{} is not on stable storage", mark.display()))
}

/// New lines of `xlog.db`.
fn listing(model: &Model, call: &Call, found: &mut Found) {
    let Some(path) = call
        .descriptor(0)
        .filter(|path| name_of(path).ends_with("xlog.db"))
    else {
        return;
    };
    let Some((server, _, _)) = model.place(&path) else {
        return;
    };
    let before = model.listed(&path);
    let names: Vec<String> = writes::listed_in(&call.payload().unwrap_or_default())
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    found.extend(first_unsafe_wal(model, &server, &names).map(|why| (LISTED, why)));
}

fn first_unsafe_wal(model: &Model, server: &Path, names: &[String]) -> Option<String> {
    names.iter().filter(|name| is_wal_name(name)).find_map(|name| {
        let path = server.join("wals").join(archived(name));
        if !model.exists(&path) {
            return Some(format!("{} does not exist", path.display()));
        }
        // What lay there before the run and was not touched in it was found, not archived.
        if model.is_untouched(&path) && model.existed(&path) {
            return None;
        }
        model.at_risk(&path)
    })
}

/// A file is about to lose its content.
fn emptied(model: &Model, call: &Call, found: &mut Found) {
    let truncates = || {
        let flags = call.arguments.iter().find(|a| a.contains("O_"));
        flags.is_some_and(|flags| flags.contains("O_TRUNC"))
    };
    let path = match call.name.as_str() {
        "truncate" if call.number(1) == Some(0) => call.path(0),
        "ftruncate" if call.number(1) == Some(0) => call.descriptor(0),
        "creat" => call.path(0),
        "open" if truncates() => call.path(0),
        "openat" | "openat2" if truncates() => call.path(1),
        _ => None,
    };
    let Some(path) = path else { return };
    if model.is_kept(&path) && model.exists(&path) {
        found.push((IN_PLACE, format!("{} is emptied", path.display())));
    }
}

/// A status update of a WAL receiver: `d`, length, `r`, written, flushed, applied.
fn acknowledged(model: &Model, call: &Call, found: &mut Found) {
    let Some(bytes) = call.payload() else { return };
    let mut rest = bytes.as_slice();
    // Other messages may come before it; the first ones of a connection have no type.
    while let [kind, a, b, c, d, body @ ..] = rest
        && kind.is_ascii_alphabetic()
    {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some((message, more)) = length
            .checked_sub(4)
            .and_then(|length| body.split_at_checked(length))
        else {
            return;
        };
        rest = more;
        let Some(flushed) = message
            .strip_prefix(b"r")
            .filter(|_| *kind == b'd')
            .and_then(|fields| fields.get(8..16))
            .and_then(|field| <[u8; 8]>::try_from(field).ok())
            .map(u64::from_be_bytes)
        else {
            continue;
        };
        for path in model.all() {
            let Some((_, part, _)) = model.place(path) else {
                continue;
            };
            let Some(start) = start_of(model, name_of(path)).filter(|_| part == "streaming") else {
                continue;
            };
            let dirty = model.dirty_from(path).map(|offset| start.saturating_add(offset));
            if dirty.is_some_and(|dirty| dirty < flushed) {
                let why = model.content_at_risk(path).unwrap_or_default();
                found.push((
                    ACKNOWLEDGED,
                    format!("{why}, and {} is told as flushed", lsn(flushed)),
                ));
            } else if start < flushed
                && let Some(why) = model.name_at_risk(path)
            {
                found.push((
                    ACKNOWLEDGED,
                    format!("{why}, and {} is told as flushed", lsn(flushed)),
                ));
            }
        }
    }
}

fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}

/// The position at which the segment of this name begins.
fn start_of(model: &Model, name: &str) -> Option<u64> {
    let segment = name.strip_suffix(".partial").unwrap_or(name);
    if segment.len() != 24 {
        return None;
    }
    let field = |range: std::ops::Range<usize>| u64::from_str_radix(segment.get(range)?, 16).ok();
    let size = match model.places.segment_size {
        0 => SEGMENT_SIZE,
        size => size,
    };
    Some((field(8..16)? << 32) + field(16..24)?.checked_mul(size)?)
}

/// `xlog.db` of a server.
fn database(model: &Model, server: &Path) -> PathBuf {
    let name = name_of(server);
    let old = server.join("wals/xlog.db");
    if model.exists(&old) {
        return old;
    }
    server.join("wals").join(format!("{name}-xlog.db"))
}

/// Segments, partial segments, labels and history files.
fn is_wal_name(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    hex(first)
        && match first.len() {
            8 => rest == "history",
            24 => rest.is_empty() || rest == "partial" || rest.ends_with(".backup"),
            _ => false,
        }
}

/// Where a WAL file is in the archive.
fn archived(name: &str) -> PathBuf {
    match name.get(..16) {
        Some(directory) if !name.ends_with(".history") => Path::new(directory).join(name),
        _ => PathBuf::from(name),
    }
}
