//! Changes one option in the text of a configuration file and leaves everything else as it is: comments, order, layout,
//! line ends.
//!
//! Lines are told apart by the reader of the dialect itself. Every result is read again and must differ from the
//! original by exactly the wanted option; where the layout stands in the way (odd indentation), the option goes into a
//! further part of its section at the end of the file, which every reader merges.

use super::ini::{self, Ini, IniError, Line, Scanner};

/// One option to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting<'a> {
    /// Name of the section, without brackets.
    pub section: &'a str,
    /// Name of the option, in lower case.
    pub key: &'a str,
    /// Its value: one line, without blanks around it.
    pub value: &'a str,
}

/// Why a file cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is not in the dialect.
    #[error(transparent)]
    Syntax(#[from] IniError),
    /// Section, option or value are nothing that a file of the dialect can say.
    #[error("cannot write `{key} = {value}` of section [{section}] in a configuration file")]
    Unwritable {
        /// The section.
        section: String,
        /// The option.
        key: String,
        /// The value.
        value: String,
    },
}

/// The text of `file` (named in errors only) with the option set.
///
/// # Errors
/// [`EditError`].
pub fn set(file: &str, text: &str, setting: Setting<'_>) -> Result<String, EditError> {
    let wanted = {
        let mut ini = Ini::parse(file, text.as_bytes())?;
        ini.put(setting);
        ini
    };
    let fits = |candidate: &String| {
        Ini::parse(file, candidate.as_bytes()).is_ok_and(|ini| ini.says_the_same_as(&wanted))
    };
    [in_place(text, setting), at_the_end(text, setting)]
        .into_iter()
        .find(fits)
        .ok_or_else(|| EditError::Unwritable {
            section: setting.section.to_owned(),
            key: setting.key.to_owned(),
            value: setting.value.to_owned(),
        })
}

/// A line of the file with what ends it.
struct Whole<'a> {
    text: &'a str,
    end: &'a str,
}

fn whole_lines(text: &str) -> Vec<Whole<'_>> {
    let mut rest = text;
    let mut found = Vec::new();
    for line in ini::lines(text) {
        let after = rest.get(line.len()..).unwrap_or_default();
        let length = if after.starts_with("\r\n") {
            2
        } else {
            after.len().min(1)
        };
        let (end, next) = after.split_at_checked(length).unwrap_or((after, ""));
        found.push(Whole { text: line, end });
        rest = next;
    }
    found
}

/// Where the option is, or should go.
#[derive(Default)]
struct Place {
    /// First line and the one behind the last continuation of the occurrence that counts.
    option: Option<(usize, usize)>,
    /// The line behind the last option (or the header) of the section's last part, and the indentation there.
    behind: Option<(usize, String)>,
}

fn find(lines: &[Whole<'_>], setting: Setting<'_>) -> Place {
    let mut scanner = Scanner::default();
    let mut place = Place::default();
    let (mut inside, mut of_option) = (false, false);
    for (index, line) in lines.iter().enumerate() {
        match scanner.line(line.text) {
            Line::Header(name) => {
                inside = name == setting.section;
                of_option = false;
                if inside {
                    place.behind = Some((index + 1, ini::indent_of(line.text).to_owned()));
                }
            }
            Line::Option(key, _) if inside => {
                of_option = key.to_lowercase() == setting.key;
                if of_option {
                    place.option = Some((index, index + 1));
                }
                place.behind = Some((index + 1, ini::indent_of(line.text).to_owned()));
            }
            Line::Continuation(_) if inside => {
                if let Some((_, end)) = place.option.as_mut().filter(|_| of_option) {
                    *end = index + 1;
                }
                if let Some((behind, _)) = &mut place.behind {
                    *behind = index + 1;
                }
            }
            _ => {}
        }
    }
    place
}

fn in_place(text: &str, setting: Setting<'_>) -> String {
    let lines = whole_lines(text);
    let place = find(&lines, setting);
    let newline = newline_of(&lines);
    let written = |indent: &str| format!("{indent}{} = {}", setting.key, setting.value);
    let mut out = String::with_capacity(text.len() + 64);
    match (place.option, place.behind) {
        (Some((start, end)), _) => {
            for (index, line) in lines.iter().enumerate() {
                if index == start {
                    out.push_str(&written(ini::indent_of(line.text)));
                    out.push_str(if line.end.is_empty() { newline } else { line.end });
                } else if index < start || index >= end || is_comment(line.text) {
                    out.push_str(line.text);
                    out.push_str(line.end);
                }
            }
        }
        (None, Some((behind, indent))) => {
            for (index, line) in lines.iter().enumerate() {
                if index == behind {
                    out.push_str(&written(&indent));
                    out.push_str(newline);
                }
                out.push_str(line.text);
                out.push_str(line.end);
            }
            if behind >= lines.len() {
                end_line(&mut out, newline);
                out.push_str(&written(&indent));
                out.push_str(newline);
            }
        }
        (None, None) => return at_the_end(text, setting),
    }
    out
}

/// A further part of the section behind everything.
fn at_the_end(text: &str, setting: Setting<'_>) -> String {
    let newline = newline_of(&whole_lines(text));
    let mut out = text.to_owned();
    end_line(&mut out, newline);
    out.push_str(&format!(
        "[{}]{newline}{} = {}{newline}",
        setting.section, setting.key, setting.value
    ));
    out
}

fn end_line(out: &mut String, newline: &str) {
    if !out.is_empty() && !out.ends_with(['\n', '\r']) {
        out.push_str(newline);
    }
}

fn newline_of(lines: &[Whole<'_>]) -> &'static str {
    match lines.first().map(|line| line.end) {
        Some("\r\n") => "\r\n",
        Some("\r") => "\r",
        _ => "\n",
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start_matches(ini::is_blank).starts_with(['#', ';'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, section: &str, key: &str, value: &str) -> String {
        set("f", text, Setting { section, key, value }).unwrap()
    }

    #[test]
    fn layout_is_kept() {
        // text, key of [s], result; the value is always `new`.
        for (text, key, expected) in [
            ("", "k", "[s]\nk = new\n"),
            ("[s]\n", "k", "[s]\nk = new\n"),
            ("[s]", "k", "[s]\nk = new\n"),
            ("[s]\nk = 1", "k", "[s]\nk = new\n"),
            ("[s]\nk = 1", "l", "[s]\nk = 1\nl = new\n"),
            ("[a]\nx = 1", "k", "[a]\nx = 1\n[s]\nk = new\n"),
            // Two sections without a blank line between them, and with one.
            (
                "[s]\nx = 1\n[b]\ny = 2\n",
                "k",
                "[s]\nx = 1\nk = new\n[b]\ny = 2\n",
            ),
            (
                "[s]\nx = 1\n\n[b]\ny = 2\n",
                "k",
                "[s]\nx = 1\nk = new\n\n[b]\ny = 2\n",
            ),
            // Comments stay where they are.
            (
                "# top\n[s]\nk = 1\n# of x\nx = 2\n",
                "k",
                "# top\n[s]\nk = new\n# of x\nx = 2\n",
            ),
            // A value of several lines goes as a whole, comments inside of it stay.
            (
                "[s]\nk = 1\n  2\n  # why\n  3\nx = 4\n",
                "k",
                "[s]\nk = new\n  # why\nx = 4\n",
            ),
            (
                "[s]\nx = 1\n  2\n\ny = 3\n",
                "k",
                "[s]\nx = 1\n  2\n\ny = 3\nk = new\n",
            ),
            // Indented options stay indented.
            ("[s]\n  k = 1\n  x = 2\n", "k", "[s]\n  k = new\n  x = 2\n"),
            ("[s]\n  x = 2\n", "k", "[s]\n  x = 2\n  k = new\n"),
            // Every spelling of an option and of a header.
            ("[s] ; note\nK: 1\n", "k", "[s] ; note\nk = new\n"),
            ("[s]\nk\t= 1\n", "k", "[s]\nk = new\n"),
            // The last occurrence counts.
            (
                "[s]\nk = 1\nk = 2\n[s]\nk = 3\n",
                "k",
                "[s]\nk = 1\nk = 2\n[s]\nk = new\n",
            ),
            ("[s]\nk = 1\n[a]\nk = 2\n", "k", "[s]\nk = new\n[a]\nk = 2\n"),
            // Line ends.
            ("[s]\r\nk = 1\r\nx = 2\r\n", "k", "[s]\r\nk = new\r\nx = 2\r\n"),
            ("[s]\r\nx = 2\r\n", "k", "[s]\r\nx = 2\r\nk = new\r\n"),
            // A header that would become a continuation of what is put before it.
            (
                "  [s]\n    [b]\nx = 1\n",
                "k",
                "  [s]\n    [b]\nx = 1\n[s]\nk = new\n",
            ),
        ] {
            assert_eq!(edited(text, "s", key, "new"), expected, "{text:?}");
        }
    }

    #[test]
    fn what_a_file_cannot_say_is_refused() {
        for (section, key, value) in [
            ("s", "k", "a\nb"),
            ("s", "k", " a"),
            ("s", "k", "a\r[x]"),
            ("s", "K", "a"),
            ("s", "k=", "a"),
            ("s", "#k", "a"),
            ("s", "", "a"),
            ("", "k", "a"),
            ("s\n[t", "k", "a"),
            ("DEFAULT", "k", "a"),
        ] {
            let setting = Setting { section, key, value };
            let result = set("f", "[s]\nx = 1\n", setting);
            assert!(
                matches!(result, Err(EditError::Unwritable { .. })),
                "{setting:?}: {result:?}"
            );
        }
        let setting = Setting {
            section: "s",
            key: "k",
            value: "v",
        };
        assert!(matches!(set("f", "x = 1\n", setting), Err(EditError::Syntax(_))));
    }

    proptest::proptest! {
        #[test]
        fn nothing_else_changes(
            text in "(\\[[st]\\]( ; x)?\n|[ ]{0,2}(k|x|K)[ =:]{1,3}[a-c]{0,2}\r?\n|[ ]{0,3}[#;\\[]?[a-b]{0,2}\n|\n){0,12}",
            value in "[a-z=:;#\\[\\] ]{0,8}",
        ) {
            let value = value.trim();
            if let Ok(mut wanted) = Ini::parse("f", text.as_bytes()) {
                let setting = Setting { section: "s", key: "k", value };
                let result = set("f", &text, setting).unwrap();
                wanted.put(setting);
                proptest::prop_assert!(Ini::parse("f", result.as_bytes()).unwrap().says_the_same_as(&wanted));
                for comment in text.lines().filter(|line| is_comment(line)) {
                    proptest::prop_assert!(result.contains(comment));
                }
            }
        }
    }
}
