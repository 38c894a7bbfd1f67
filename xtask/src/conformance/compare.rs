//! The differences between what two programs did.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;

use barman_wal::codec::{self, Algorithm};
use serde_json::Value;

use super::capture::{Capture, Content, Found, Run};
use super::lines;
use super::normalise::Normaliser;

/// How a stream is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Line by line.
    Exact,
    /// The specification gives the meaning only: the kinds of the messages (`ERROR`, `WARNING`, usage error …) and their order count, the words do not.
    /// Lines without a kind are left out, unless they are all there is.
    Prose,
}

/// How a file or directory is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// By kind, mode and content.
    Content,
    /// By kind, mode and the compression and what it holds without it: two implementations of a codec do not write the same bytes.
    Unpacked,
    /// By kind, mode and size: the content is a live server's.
    Size,
    /// By kind and mode: size and content are a live server's.
    Presence,
    /// Not at all.
    Nothing,
}

/// What is compared, apart from exit codes, which always are.
#[derive(Debug, Clone)]
pub struct Compare {
    /// Standard output.
    pub stdout: Words,
    /// Standard error.
    pub stderr: Words,
    /// Which files are not looked at as [`Look::Content`]: the first pattern that fits a path counts. `*` stands for anything.
    pub files: Vec<(&'static str, Look)>,
}

/// Where lines differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Standard output of the command of this number, from 0.
    Stdout(usize),
    /// Standard error of that command.
    Stderr(usize),
    /// A text file.
    File(String),
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Exit codes of a command: ours and the oracle's.
    ExitCode(usize, i32, i32),
    /// Neighbouring lines: ours and the oracle's.
    Lines(Place, Vec<String>, Vec<String>),
    /// A value in the JSON of a command, by its path; `None` where it does not exist.
    Json(usize, String, Option<String>, Option<String>),
    /// JSON of the same value is written otherwise.
    JsonForm(usize, String, String),
    /// A file, in words; `None` where it does not exist.
    File(String, Option<String>, Option<String>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout(step) => write!(f, "command {}, standard output", step + 1),
            Self::Stderr(step) => write!(f, "command {}, standard error", step + 1),
            Self::File(path) => write!(f, "{path}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pair = |what: String, ours: Option<&str>, oracle: Option<&str>| {
            writeln!(f, "@@ {what}")?;
            for line in oracle.iter().flat_map(|text| text.lines()) {
                writeln!(f, "-{line}")?;
            }
            for line in ours.iter().flat_map(|text| text.lines()) {
                writeln!(f, "+{line}")?;
            }
            Ok(())
        };
        match self {
            Self::ExitCode(step, ours, oracle) => pair(
                format!("command {}, exit code", step + 1),
                Some(&ours.to_string()),
                Some(&oracle.to_string()),
            ),
            Self::Lines(place, ours, oracle) => {
                // Empty lines are lines too.
                let ended =
                    |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
                pair(place.to_string(), Some(&ended(ours)), Some(&ended(oracle)))
            }
            Self::Json(step, path, ours, oracle) => pair(
                format!("command {}, JSON {path}", step + 1),
                Some(ours.as_deref().unwrap_or("(nothing)")),
                Some(oracle.as_deref().unwrap_or("(nothing)")),
            ),
            Self::JsonForm(step, ours, oracle) => pair(
                format!("command {}, form of the JSON", step + 1),
                Some(ours),
                Some(oracle),
            ),
            Self::File(path, ours, oracle) => pair(
                path.clone(),
                Some(ours.as_deref().unwrap_or("(nothing)")),
                Some(oracle.as_deref().unwrap_or("(nothing)")),
            ),
        }
    }
}

/// One side of a comparison.
pub struct Side<'a> {
    /// What it did.
    pub capture: &'a Capture,
    /// What to make equal in it.
    pub normaliser: &'a Normaliser,
}

/// All differences, in the order of the commands, then of the paths.
pub fn compare(what: &Compare, ours: &Side<'_>, oracle: &Side<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    for (step, (mine, theirs)) in ours.capture.runs.iter().zip(&oracle.capture.runs).enumerate() {
        if mine.code != theirs.code {
            found.push(Difference::ExitCode(step, mine.code, theirs.code));
        }
        stdout(
            what.stdout,
            step,
            (mine, ours.normaliser),
            (theirs, oracle.normaliser),
            &mut found,
        );
        let (raw_ours, raw_oracle) = (&mine.stderr, &theirs.stderr);
        if (is_binary(raw_ours) || is_binary(raw_oracle)) && raw_ours != raw_oracle {
            found.push(binary(Place::Stderr(step), raw_ours, raw_oracle));
            continue;
        }
        let text = |run: &Run, side: &Side<'_>| words(what.stderr, &side.normaliser.text(&utf8(&run.stderr)));
        hunks(
            &Place::Stderr(step),
            &text(mine, ours),
            &text(theirs, oracle),
            &mut found,
        );
    }
    files(what, ours, oracle, &mut found);
    found
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| {
        format!(
            "({} bytes that are no text, {:x?} ...)\n",
            bytes.len(),
            bytes.get(..16).unwrap_or(bytes)
        )
    })
}

fn is_binary(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err()
}

/// What is no text differs as a whole.
fn binary(place: Place, ours: &[u8], oracle: &[u8]) -> Difference {
    let at = ours.iter().zip(oracle).take_while(|(x, y)| x == y).count();
    let shown = |bytes: &[u8]| vec![format!("({} bytes, other ones from byte {at} on)", bytes.len())];
    Difference::Lines(place, shown(ours), shown(oracle))
}

fn hunks(place: &Place, ours: &str, oracle: &str, found: &mut Vec<Difference>) {
    for (mine, theirs) in lines::hunks(ours, oracle) {
        found.push(Difference::Lines(place.clone(), mine, theirs));
    }
}

type Output<'a> = (&'a Run, &'a Normaliser);

fn stdout(how: Words, step: usize, ours: Output<'_>, oracle: Output<'_>, found: &mut Vec<Difference>) {
    let (raw_ours, raw_oracle) = (&ours.0.stdout, &oracle.0.stdout);
    if (is_binary(raw_ours) || is_binary(raw_oracle)) && raw_ours != raw_oracle {
        found.push(binary(Place::Stdout(step), raw_ours, raw_oracle));
        return;
    }
    let mine = words(how, &ours.1.text(&utf8(raw_ours)));
    let theirs = words(how, &oracle.1.text(&utf8(raw_oracle)));
    if mine == theirs {
        return;
    }
    let (json_ours, json_oracle) = (json(raw_ours), json(raw_oracle));
    if let (Some(a), Some(b)) = (json_ours, json_oracle) {
        let before = found.len();
        let values = Values {
            step,
            ours: ours.1,
            oracle: oracle.1,
        };
        values.compare("", Some(&a), Some(&b), found);
        // Values that differ must not hide that it is also written otherwise.
        if found.len() == before || json_form(&mine) != json_form(&theirs) {
            found.push(Difference::JsonForm(step, mine, theirs));
        }
        return;
    }
    hunks(&Place::Stdout(step), &mine, &theirs, found);
}

/// An object that is all of the output.
fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok().filter(Value::is_object)
}

/// How a JSON text is written, whatever it says: whether there is one blank behind each colon and comma and no other
/// outside of its texts, whether keys are in order and each is there once, whether all is ASCII.
fn json_form(text: &str) -> [bool; 3] {
    let (mut spaced, mut sorted) = (true, true);
    // For each object or list around: the last key in it.
    let mut around: Vec<Option<String>> = Vec::new();
    let mut last: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let mut word = String::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    word.push(c);
                    if c == '\\' {
                        word.extend(chars.next());
                    }
                }
                last = Some(word);
            }
            '{' | '[' => around.push(None),
            '}' | ']' => drop(around.pop()),
            ':' | ',' => {
                if c == ':'
                    && let (Some(key), Some(before)) = (last.take(), around.last_mut())
                {
                    sorted &= before.as_ref().is_none_or(|before| *before < key);
                    *before = Some(key);
                }
                spaced &= chars.next_if_eq(&' ').is_some() && chars.peek() != Some(&' ');
            }
            c => spaced &= !c.is_whitespace(),
        }
    }
    [spaced, sorted, text.is_ascii()]
}

struct Values<'a> {
    step: usize,
    ours: &'a Normaliser,
    oracle: &'a Normaliser,
}

impl Values<'_> {
    fn compare(&self, path: &str, ours: Option<&Value>, oracle: Option<&Value>, found: &mut Vec<Difference>) {
        match (ours, oracle) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                    let below = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    self.compare(&below, a.get(key), b.get(key), found);
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for n in 0..a.len().max(b.len()) {
                    self.compare(&format!("{path}[{n}]"), a.get(n), b.get(n), found);
                }
            }
            _ => {
                let key = path.rsplit('.').next().unwrap_or(path);
                let (mine, theirs) = (shown(self.ours, key, ours), shown(self.oracle, key, oracle));
                if mine != theirs {
                    found.push(Difference::Json(self.step, path.to_owned(), mine, theirs));
                }
            }
        }
    }
}

/// A value as text, normalised beside its key, as rules know it.
fn shown(normaliser: &Normaliser, key: &str, value: Option<&Value>) -> Option<String> {
    let prefix = format!("\"{key}\": ");
    let text = normaliser.text(&format!("{prefix}{}", value?));
    Some(text.strip_prefix(&prefix).unwrap_or(&text).to_owned())
}

const KINDS: [&str; 6] = [
    "DEBUG: ",
    "WARNING: ",
    "ERROR: ",
    "EXCEPTION: ",
    "HINT: ",
    "FATAL: ",
];

fn words(how: Words, text: &str) -> String {
    if how == Words::Exact || text.is_empty() {
        return text.to_owned();
    }
    let kinds: Vec<String> = text.lines().filter_map(kind).collect();
    if kinds.is_empty() {
        return "<words>\n".to_owned();
    }
    kinds.iter().map(|kind| format!("{kind}<words>\n")).collect()
}

/// What kind of message a line is, where words do not count.
pub fn kind(line: &str) -> Option<String> {
    if let Some(kind) = KINDS.iter().find(|kind| line.starts_with(**kind)) {
        return Some((*kind).to_owned());
    }
    // `barman: error: ...`, `barman backup: error: ...`
    let (program, _) = line.split_once(": error: ")?;
    program.starts_with("barman").then(|| "usage error: ".to_owned())
}

/// How the path is looked at.
pub fn look(what: &Compare, path: &str) -> Look {
    let fits = |(pattern, look): &(&str, Look)| lines::fits(pattern, path).then_some(*look);
    what.files.iter().find_map(fits).unwrap_or(Look::Content)
}

fn files(what: &Compare, ours: &Side<'_>, oracle: &Side<'_>, found: &mut Vec<Difference>) {
    let names = |side: &Side<'_>| -> std::collections::BTreeMap<String, String> {
        let mut names = std::collections::BTreeMap::new();
        for path in side.capture.files.keys() {
            let equal = side.normaliser.text(path);
            let mut name = equal.clone();
            // Two files whose names are made equal are two all the same.
            for number in 2.. {
                if !names.contains_key(&name) {
                    break;
                }
                name = format!("{equal} ({number})");
            }
            names.insert(name, path.clone());
        }
        names
    };
    let (mine, theirs) = (names(ours), names(oracle));
    for path in mine.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let look = look(what, path);
        if look == Look::Nothing {
            continue;
        }
        let a = mine.get(path).and_then(|p| ours.capture.files.get(p));
        let b = theirs.get(path).and_then(|p| oracle.capture.files.get(p));
        if let (
            Some(Found::File(m, size, Content::Bytes(x))),
            Some(Found::File(n, other, Content::Bytes(y))),
        ) = (a, b)
        {
            if m != n {
                found.push(Difference::File(
                    path.clone(),
                    Some(format!("mode {m:o}")),
                    Some(format!("mode {n:o}")),
                ));
            }
            if look == Look::Size && size != other {
                let shown = |size: &u64| Some(format!("{size} bytes"));
                found.push(Difference::File(path.clone(), shown(size), shown(other)));
            }
            if look == Look::Unpacked {
                unpacked(path, x, y, found);
            }
            if look == Look::Content && x != y {
                contents(
                    path,
                    (x, *size, ours.normaliser),
                    (y, *other, oracle.normaliser),
                    found,
                );
            }
            continue;
        }
        let (a, b) = (a.map(|f| described(f, look)), b.map(|f| described(f, look)));
        if a != b {
            found.push(Difference::File(path.clone(), a, b));
        }
    }
}

type Bytes<'a> = (&'a [u8], u64, &'a Normaliser);

fn contents(path: &str, ours: Bytes<'_>, oracle: Bytes<'_>, found: &mut Vec<Difference>) {
    if let (Ok(a), Ok(b)) = (std::str::from_utf8(ours.0), std::str::from_utf8(oracle.0)) {
        hunks(
            &Place::File(path.to_owned()),
            &ours.2.file(path, a),
            &oracle.2.file(path, b),
            found,
        );
        return;
    }
    let at = ours.0.iter().zip(oracle.0).take_while(|(x, y)| x == y).count();
    let shown = |size: u64| Some(format!("{size} bytes, other content from byte {at} on"));
    found.push(Difference::File(path.to_owned(), shown(ours.1), shown(oracle.1)));
}

fn unpacked(path: &str, ours: &[u8], oracle: &[u8], found: &mut Vec<Difference>) {
    let plain = |bytes: &[u8]| -> Result<(Algorithm, Vec<u8>), String> {
        let mut plain = Vec::new();
        let known = Algorithm::detect(bytes, None).ok_or("no known compression")?;
        let mut decoder = codec::decoder(known, bytes).map_err(|error| error.to_string())?;
        decoder
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string())?;
        Ok((known, plain))
    };
    let (a, b) = (plain(ours), plain(oracle));
    // What neither can unpack says nothing.
    if a == b && a.is_ok() {
        return;
    }
    let shown = |plain: &Result<(Algorithm, Vec<u8>), String>| {
        Some(match plain {
            Ok((known, bytes)) => format!("{} bytes within {known}", bytes.len()),
            Err(error) => format!("not unpacked: {error}"),
        })
    };
    found.push(Difference::File(path.to_owned(), shown(&a), shown(&b)));
}

fn described(found: &Found, look: Look) -> String {
    match found {
        Found::Directory(mode) => format!("directory, mode {mode:o}"),
        Found::File(mode, _, _) if look == Look::Presence => format!("file, mode {mode:o}"),
        Found::File(mode, size, _) if look == Look::Size => format!("file, mode {mode:o}, {size} bytes"),
        Found::File(mode, size, Content::Bytes(_)) => format!("file, mode {mode:o}, {size} bytes"),
        Found::File(mode, size, Content::Digest(digest)) => {
            let digest: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
            format!("file, mode {mode:o}, {size} bytes, SHA-256 {digest}...")
        }
        Found::Link(target) => format!("link to {target}"),
        Found::Other => "neither file nor directory nor link".to_owned(),
    }
}

#[cfg(test)]
mod tests;
