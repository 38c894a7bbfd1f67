//! The rows of `docs/differences.md`, and which difference may occur under which row.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::compare::{Difference, Place};
use super::lines::fits;

/// The words of the first column of classes.
const CLASSES: [&str; 3] = ["fixed bug", "addition", "change"];

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `fixed bug`, `addition` or `change`.
    pub class: String,
    /// What is different.
    pub what: String,
}

/// Reads the list: rows by their ids.
///
/// # Errors
/// A row without id, class, text or item of the specification, or an id that stands twice.
pub fn parse(text: &str) -> Result<BTreeMap<String, Row>> {
    let mut rows = BTreeMap::new();
    for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
        let Some(inside) = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |")) else {
            ensure!(!line.starts_with('|'), "line {number}: not `| … |`");
            continue;
        };
        // A bar inside a cell is written `\|`.
        let hidden = inside.replace("\\|", "\u{1}");
        let cells: Vec<&str> = hidden.split(" | ").map(str::trim).collect();
        if cells.first() == Some(&"id") || cells.iter().all(|cell| cell.chars().all(|c| c == '-')) {
            continue;
        }
        let [id, class, _place, what, item] = cells[..] else {
            bail!(
                "line {number}: {} cells instead of id, class, where, what, spec item",
                cells.len()
            );
        };
        ensure!(is_id(id), "line {number}: `{id}` is no id such as `restore-7`");
        ensure!(
            CLASSES.contains(&class),
            "line {number}: `{class}` is none of the classes {CLASSES:?}"
        );
        ensure!(!what.is_empty(), "line {number}: what is different?");
        ensure!(
            is_item(item),
            "line {number}: `{item}` names no document and section of the specification"
        );
        let row = Row {
            class: class.to_owned(),
            what: what.replace('\u{1}', "|"),
        };
        ensure!(
            rows.insert(id.to_owned(), row).is_none(),
            "line {number}: the id {id} stands twice"
        );
    }
    ensure!(!rows.is_empty(), "no rows");
    Ok(rows)
}

fn is_id(id: &str) -> bool {
    id.split_once('-').is_some_and(|(section, number)| {
        !section.is_empty()
            && section.bytes().all(|b| b.is_ascii_lowercase())
            && number
                .parse::<u16>()
                .is_ok_and(|n| n > 0 && n.to_string() == number)
    })
}

/// `` `wal.md` 21.8, 21.10, `cli.md` 3 ``
fn is_item(item: &str) -> bool {
    let mut parts = item.split(", ").peekable();
    let starts = parts.peek().is_some_and(|first| first.starts_with('`'));
    starts
        && parts.all(|part| {
            let section = match part.strip_prefix('`').and_then(|rest| rest.split_once(".md` ")) {
                Some((_, section)) => section,
                None => part,
            };
            !section.is_empty() && section.split('.').all(|n| n.parse::<u16>().is_ok())
        })
}

/// The pattern of an empty line, since an empty pattern stands for no line.
pub const EMPTY_LINE: &str = "\n";

/// Where an allowed difference may be.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The exit code of the command of this number, from 0: ours and the oracle's.
    ExitCode(usize, i32, i32),
    /// A line: a pattern for ours and one for the oracle's. Empty where the program has no such line.
    Line(Place, &'static str, &'static str),
    /// A JSON value of a command: path, ours, the oracle's, as patterns. Empty where the value does not exist.
    Json(usize, &'static str, &'static str, &'static str),
    /// A file: path, ours, the oracle's, as patterns. Empty where it does not exist.
    File(&'static str, &'static str, &'static str),
}

/// A difference that a scenario may, and then must, show.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// Id of the row of the list.
    pub id: &'static str,
    /// Exactly what differs.
    pub effect: Effect,
    /// Whether it may occur more than once.
    pub many: bool,
}

impl Allowed {
    /// Why it would hide more than one thing: a pattern that fits everything tells nothing of what differs.
    pub fn too_wide(&self) -> Option<String> {
        let bare = |pattern: &str| !pattern.is_empty() && pattern.chars().all(|c| c == '*');
        let patterns = match &self.effect {
            Effect::ExitCode(..) => return None,
            Effect::Line(Place::File(path), ours, oracle) => vec![path.as_str(), *ours, *oracle],
            Effect::Line(_, ours, oracle) => vec![*ours, *oracle],
            Effect::Json(_, path, ours, oracle) | Effect::File(path, ours, oracle) => {
                vec![*path, *ours, *oracle]
            }
        };
        patterns
            .into_iter()
            .any(bare)
            .then(|| format!("{}: a bare `*` fits everything: {:?}", self.id, self.effect))
    }
}

/// What is left of the differences without those that are allowed, and a line for each allowance that did not occur.
pub fn unlisted(differences: &[Difference], allowed: &[Allowed]) -> (Vec<Difference>, Vec<String>) {
    let mut left = differences.to_vec();
    let mut missing = Vec::new();
    for one in allowed {
        let mut times = 0;
        while (times == 0 || one.many) && take(&mut left, &one.effect) {
            times += 1;
        }
        if times == 0 {
            missing.push(format!(
                "the listed difference {} did not occur: {:?}",
                one.id, one.effect
            ));
        }
    }
    left.retain(
        |difference| !matches!(difference, Difference::Lines(_, a, b) if a.is_empty() && b.is_empty()),
    );
    (left, missing)
}

/// Takes one occurrence of the effect out of the differences.
fn take(left: &mut Vec<Difference>, effect: &Effect) -> bool {
    for n in 0..left.len() {
        let Some(difference) = left.get_mut(n) else {
            return false;
        };
        if let (Difference::Lines(at, ours, oracle), Effect::Line(place, mine, theirs)) =
            (&mut *difference, effect)
        {
            let here = match (&*at, place) {
                (Place::File(path), Place::File(pattern)) => fits(pattern, path),
                (a, b) => a == b,
            };
            if here && take_lines(ours, oracle, mine, theirs) {
                return true;
            }
        } else if is(difference, effect) {
            left.remove(n);
            return true;
        }
    }
    false
}

fn take_lines(ours: &mut Vec<String>, oracle: &mut Vec<String>, mine: &str, theirs: &str) -> bool {
    let find = |lines: &[String], pattern: &str| {
        let of_line = if pattern == EMPTY_LINE { "" } else { pattern };
        lines.iter().position(|line| fits(of_line, line))
    };
    let (a, b) = (find(ours, mine), find(oracle, theirs));
    match (mine.is_empty(), a, theirs.is_empty(), b) {
        (false, Some(a), true, _) => {
            ours.remove(a);
            true
        }
        (true, _, false, Some(b)) => {
            oracle.remove(b);
            true
        }
        (false, Some(a), false, Some(b)) => {
            ours.remove(a);
            oracle.remove(b);
            true
        }
        _ => false,
    }
}

fn is(difference: &Difference, effect: &Effect) -> bool {
    let value = |pattern: &str, value: &Option<String>| match value {
        None => pattern.is_empty(),
        Some(text) => !pattern.is_empty() && fits(pattern, text),
    };
    match (difference, effect) {
        (Difference::ExitCode(n, a, b), Effect::ExitCode(m, x, y)) => (n, a, b) == (m, x, y),
        (Difference::Json(n, path, a, b), Effect::Json(m, pattern, x, y)) => {
            n == m && fits(pattern, path) && value(x, a) && value(y, b)
        }
        (Difference::File(path, a, b), Effect::File(pattern, x, y)) => {
            fits(pattern, path) && value(x, a) && value(y, b)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Title\n\ntext\n\n| id | class | where | what | spec item |\n| --- | --- | --- | --- | --- |\n\
        | all-1 | change | all | `a \\| b` | `cli.md` 20.23 |\n| all-2 | fixed bug | x | y | `wal.md` 21.2, 21.3, `cli.md` 3 |\n";

    #[test]
    fn the_projects_own_list_can_be_read() {
        let path = crate::run::root().join("docs/differences.md");
        let rows = parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(rows.len() > 100);
    }

    #[test]
    fn rows_have_an_id_a_class_and_an_item() {
        let rows = parse(GOOD).unwrap();
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["all-1", "all-2"]);
        assert_eq!(
            rows["all-1"],
            Row {
                class: "change".to_owned(),
                what: "`a | b`".to_owned()
            }
        );
        let bad = [
            ("| all-2 |", "| all-1 |"),
            ("| all-2 |", "| |"),
            ("| all-2 |", "| all-02 |"),
            ("| all-2 | fixed bug", "| fixed bug"),
            ("fixed bug", "bug"),
            ("| y |", "|  |"),
            ("`wal.md` 21.2", "wal 21.2"),
            ("`cli.md` 3", "`cli.md`"),
            (", `cli.md` 3 |", " |x"),
        ];
        for (from, to) in bad {
            assert!(GOOD.contains(from), "{from}");
            assert!(parse(&GOOD.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }

    fn lines(ours: &[&str], oracle: &[&str]) -> Difference {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Difference::Lines(Place::Stderr(0), owned(ours), owned(oracle))
    }

    fn allowed(effect: Effect) -> Allowed {
        Allowed {
            id: "all-1",
            effect,
            many: false,
        }
    }

    #[test]
    fn no_scenario_allows_everything() {
        let all = crate::conformance::scenarios::all();
        let wide: Vec<String> = all
            .iter()
            .flat_map(|scenario| scenario.allowed.iter().map(move |one| (scenario.name, one)))
            .filter_map(|(name, one)| Some(format!("{name}: {}", one.too_wide()?)))
            .collect();
        assert!(wide.is_empty(), "{}", wide.join("\n"));
        let line = |ours, oracle| allowed(Effect::Line(Place::Stderr(0), ours, oracle));
        for (one, expected) in [
            (line("*", "*"), true),
            (line("", "*"), true),
            (line("**", "x"), true),
            (line("HINT: *", ""), false),
            (allowed(Effect::Json(0, "a", "", "*")), true),
            (allowed(Effect::Json(0, "*", "1", "2")), true),
            (allowed(Effect::File("home/.*.lock", "", "file, *")), false),
            (allowed(Effect::ExitCode(0, 1, 0)), false),
        ] {
            assert_eq!(one.too_wide().is_some(), expected, "{:?}", one.effect);
        }
    }

    #[test]
    fn a_listed_difference_hides_only_itself() {
        let hint = || allowed(Effect::Line(Place::Stderr(0), "HINT: *", ""));
        let both = || allowed(Effect::Line(Place::Stderr(0), "ERROR: ours", "ERROR: *"));
        let code = || allowed(Effect::ExitCode(0, 1, 0));
        let key = || allowed(Effect::Json(0, "a.b", "1", ""));
        let gone = || allowed(Effect::File("home/.*.lock", "", "file*"));
        let file = |path: &str, ours: Option<&str>| {
            Difference::File(
                path.to_owned(),
                ours.map(str::to_owned),
                Some("file, mode 600".to_owned()),
            )
        };
        let cases = [
            (vec![lines(&["HINT: x"], &[])], vec![hint()], 0, 0),
            (vec![lines(&["HINT: x", "other"], &[])], vec![hint()], 1, 0),
            (vec![lines(&["HINT: x"], &["lost"])], vec![hint()], 1, 0),
            (
                vec![lines(&["HINT: x"], &[]), lines(&["HINT: y"], &[])],
                vec![hint()],
                1,
                0,
            ),
            (
                vec![lines(&["HINT: x"], &[]), lines(&["HINT: y"], &[])],
                vec![Allowed { many: true, ..hint() }],
                0,
                0,
            ),
            (vec![], vec![hint()], 0, 1),
            (
                vec![lines(&["HINT: x"], &[])],
                vec![allowed(Effect::Line(Place::Stdout(0), "HINT: *", ""))],
                1,
                1,
            ),
            (
                vec![lines(&["ERROR: ours"], &["ERROR: theirs"])],
                vec![both()],
                0,
                0,
            ),
            (vec![lines(&["ERROR: ours"], &[])], vec![both()], 1, 1),
            (
                vec![lines(&["ERROR: other"], &["ERROR: theirs"])],
                vec![both()],
                1,
                1,
            ),
            (
                vec![lines(&[], &["", "x"])],
                vec![allowed(Effect::Line(Place::Stderr(0), "", EMPTY_LINE))],
                1,
                0,
            ),
            (
                vec![lines(&[], &["x"])],
                vec![allowed(Effect::Line(Place::Stderr(0), "", EMPTY_LINE))],
                1,
                1,
            ),
            (vec![Difference::ExitCode(0, 1, 0)], vec![code()], 0, 0),
            (vec![Difference::ExitCode(0, 2, 0)], vec![code()], 1, 1),
            (vec![Difference::ExitCode(1, 1, 0)], vec![code()], 1, 1),
            (
                vec![Difference::Json(0, "a.b".to_owned(), Some("1".to_owned()), None)],
                vec![key()],
                0,
                0,
            ),
            (
                vec![Difference::Json(
                    0,
                    "a.b".to_owned(),
                    Some("1".to_owned()),
                    Some("2".to_owned()),
                )],
                vec![key()],
                1,
                1,
            ),
            (vec![file("home/.main.lock", None)], vec![gone()], 0, 0),
            (vec![file("home/.main.lock", Some("file"))], vec![gone()], 1, 1),
            (vec![file("home/main/x", None)], vec![gone()], 1, 1),
        ];
        for (n, (differences, allowed, left, missing)) in cases.into_iter().enumerate() {
            let (l, m) = unlisted(&differences, &allowed);
            assert_eq!((l.len(), m.len()), (left, missing), "case {n}: {l:?} {m:?}");
        }
    }
}
