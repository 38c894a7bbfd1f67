//! Barman's INI dialect: sections, `key = value`, continuation lines, and nothing clever.
//!
//! Values come out as written (stripped, quotes kept); interpolation is [`super::interpolation`]'s, the meaning of
//! quotes and of `None` is [`unquote`]'s.

/// Options of a section named so belong to every section of the same file.
pub const DEFAULT_SECTION: &str = "DEFAULT";

/// One parsed file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    /// Sections in the order of their first appearance, without `[DEFAULT]`.
    pub sections: Vec<Section>,
    /// The options of `[DEFAULT]`.
    pub defaults: Vec<Entry>,
}

/// One section of a file; a repeated header adds to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Name, exactly as between the brackets.
    pub name: String,
    /// Options in the order of their first appearance; each key once, with its last value.
    pub entries: Vec<Entry>,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Lower-case key.
    pub key: String,
    /// Raw value; lines of a multi-line value are joined by `\n`.
    pub value: String,
    /// Line of the key, from 1.
    pub line: usize,
}

/// A file that is not in the dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IniError {
    /// A line before the first section header.
    #[error("File contains no section headers.\nfile: '{file}', line: {line}\n{text:?}")]
    MissingHeader {
        /// The file.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// Lines that are nothing that may stand in a section; all of them.
    #[error("Source contains parsing errors: '{file}'{}", offending(lines))]
    Syntax {
        /// The file.
        file: String,
        /// Line number, from 1, and text of each.
        lines: Vec<(usize, String)>,
    },
    /// Bytes that are no text.
    #[error("'utf-8' codec can't decode byte 0x{byte:02x} in position {position} of '{file}', line {line}")]
    Encoding {
        /// The file.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// Offset of the first bad byte.
        position: usize,
        /// The bad byte.
        byte: u8,
    },
}

fn offending(lines: &[(usize, String)]) -> String {
    lines
        .iter()
        .map(|(number, text)| format!("\n\t[line {number:2}]: {text:?}"))
        .collect()
}

impl IniError {
    /// What would be right.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::MissingHeader { text, .. } if text.starts_with('\u{feff}') => {
                "the file begins with a byte order mark: save it as UTF-8 without one"
            }
            Self::MissingHeader { .. } => {
                "every option stands below the header of a section, such as [barman]"
            }
            Self::Syntax { .. } => {
                "a line is '[section]', 'option = value', a comment that begins with '#' or ';', \
                 or indented further than the option whose value it continues"
            }
            Self::Encoding { .. } => "save the file as UTF-8",
        }
    }
}

impl Ini {
    /// Parses the bytes of `file` (named in errors only).
    ///
    /// # Errors
    /// [`IniError`]: the file is not in the dialect.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, IniError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let position = error.valid_up_to();
            let before = bytes.get(..position).unwrap_or_default();
            IniError::Encoding {
                file: file.to_owned(),
                line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
                position,
                byte: bytes.get(position).copied().unwrap_or(0),
            }
        })?;
        let mut reader = Reader {
            ini: Self::default(),
            at: At::Nowhere,
            open: None,
        };
        let mut scanner = Scanner::default();
        let mut bad = Vec::new();
        for (index, line) in lines(text).enumerate() {
            let number = index + 1;
            match scanner.line(line) {
                Line::Comment => {}
                Line::Blank => {
                    if let Some(open) = &mut reader.open {
                        open.lines.push(String::new());
                    }
                }
                Line::Continuation(value) => {
                    if let Some(open) = &mut reader.open {
                        open.lines.push(value.to_owned());
                    }
                }
                Line::Header(name) => {
                    reader.close_value();
                    reader.enter(name);
                }
                Line::Option(key, value) => {
                    reader.close_value();
                    reader.open = Some(OpenValue {
                        key: key.to_lowercase(),
                        lines: vec![value.to_owned()],
                        line: number,
                    });
                }
                Line::NoHeader => {
                    return Err(IniError::MissingHeader {
                        file: file.to_owned(),
                        line: number,
                        text: line.to_owned(),
                    });
                }
                Line::Bad => bad.push((number, line.to_owned())),
            }
        }
        reader.close_value();
        if bad.is_empty() {
            Ok(reader.ini)
        } else {
            Err(IniError::Syntax {
                file: file.to_owned(),
                lines: bad,
            })
        }
    }

    /// Sets an option, in a new section if there is none of that name.
    pub(super) fn put(&mut self, setting: super::edit::Setting<'_>) {
        let at = self
            .sections
            .iter()
            .position(|section| section.name == setting.section)
            .unwrap_or_else(|| {
                self.sections.push(Section {
                    name: setting.section.to_owned(),
                    entries: Vec::new(),
                });
                self.sections.len() - 1
            });
        let Some(section) = self.sections.get_mut(at) else {
            return;
        };
        match section.entries.iter_mut().find(|entry| entry.key == setting.key) {
            Some(entry) => setting.value.clone_into(&mut entry.value),
            None => section.entries.push(Entry {
                key: setting.key.to_owned(),
                value: setting.value.to_owned(),
                line: 0,
            }),
        }
    }

    /// Whether another file says the same, wherever its lines are.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let entries = |entries: &[Entry]| -> Vec<(String, String)> {
            entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.clone()))
                .collect()
        };
        let sections = |ini: &Self| -> Vec<(String, Vec<(String, String)>)> {
            ini.sections
                .iter()
                .map(|section| (section.name.clone(), entries(&section.entries)))
                .collect()
        };
        entries(&self.defaults) == entries(&other.defaults) && sections(self) == sections(other)
    }

    /// The section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// What quotes and `None` mean: a value on one line loses one pair of identical quotes around it; `None` is empty.
#[must_use]
pub fn unquote(raw: &str) -> &str {
    if raw == "None" {
        return "";
    }
    if raw.contains('\n') {
        return raw;
    }
    ['"', '\'']
        .into_iter()
        .find_map(|quote| raw.strip_prefix(quote)?.strip_suffix(quote))
        .map_or(raw, |inner| if inner == "None" { "" } else { inner })
}

/// Lines by any of the three line ends.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest.filter(|text| !text.is_empty())?;
        let end = current.find(['\n', '\r']);
        let (line, after) = match end {
            None => (current, None),
            Some(end) => {
                let (line, tail) = current.split_at(end);
                (line, tail.strip_prefix("\r\n").or_else(|| tail.get(1..)))
            }
        };
        rest = after;
        Some(line)
    })
}

/// White space as the dialect has it: Unicode's, and the four separators of ASCII.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing but white space.
    Blank,
    /// A comment.
    Comment,
    /// `[name]`.
    Header(&'a str),
    /// `key = value`, both stripped.
    Option(&'a str, &'a str),
    /// A further line of the value above, stripped.
    Continuation(&'a str),
    /// Before the first header.
    NoHeader,
    /// Nothing that may stand in a section.
    Bad,
}

/// Tells line by line what each is.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// A header has been seen.
    in_section: bool,
    /// Indentation of the option line that may be continued.
    indent: usize,
    /// There is such a line.
    open: bool,
}

impl Scanner {
    /// The next line, without its end.
    pub fn line<'a>(&mut self, line: &'a str) -> Line<'a> {
        let value = strip(line);
        if value.starts_with(['#', ';']) {
            return Line::Comment;
        }
        if value.is_empty() {
            return Line::Blank;
        }
        let indent = indent_of(line).chars().count();
        if self.open && indent > self.indent {
            return Line::Continuation(value);
        }
        self.indent = indent;
        if let Some(name) = header(value) {
            self.open = false;
            self.in_section = true;
            return Line::Header(name);
        }
        if !self.in_section {
            return Line::NoHeader;
        }
        match value.split_once(['=', ':']) {
            Some((key, text)) if !strip(key).is_empty() => {
                self.open = true;
                Line::Option(strip(key), strip(text))
            }
            _ => Line::Bad,
        }
    }
}

/// The white space with which a line begins.
pub(super) fn indent_of(line: &str) -> &str {
    let end = line.find(|c| !is_blank(c)).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

enum At {
    Nowhere,
    Defaults,
    Section(usize),
}

/// The option whose value may still be continued.
struct OpenValue {
    key: String,
    lines: Vec<String>,
    line: usize,
}

struct Reader {
    ini: Ini,
    at: At,
    open: Option<OpenValue>,
}

impl Reader {
    fn enter(&mut self, name: &str) {
        if name == DEFAULT_SECTION {
            self.at = At::Defaults;
            return;
        }
        let sections = &mut self.ini.sections;
        let index = sections
            .iter()
            .position(|section| section.name == name)
            .unwrap_or_else(|| {
                sections.push(Section {
                    name: name.to_owned(),
                    entries: Vec::new(),
                });
                sections.len() - 1
            });
        self.at = At::Section(index);
    }

    fn close_value(&mut self) {
        let Some(open) = self.open.take() else { return };
        let entries = match self.at {
            At::Nowhere => return,
            At::Defaults => &mut self.ini.defaults,
            At::Section(index) => match self.ini.sections.get_mut(index) {
                Some(section) => &mut section.entries,
                None => return,
            },
        };
        let value = open.lines.join("\n").trim_end_matches(is_blank).to_owned();
        let entry = Entry {
            key: open.key,
            value,
            line: open.line,
        };
        match entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }
}

/// Name of a section header: up to the **last** `]` of the line.
fn header(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('[')?;
    let name = rest.get(..rest.rfind(']')?)?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String, String)> {
        let ini = Ini::parse("f", text.as_bytes()).unwrap();
        ini.sections
            .iter()
            .flat_map(|s| {
                s.entries
                    .iter()
                    .map(|e| (s.name.clone(), e.key.clone(), e.value.clone()))
            })
            .collect()
    }

    fn one(text: &str) -> String {
        let all = values(&format!("[s]\n{text}"));
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].2.clone()
    }

    #[test]
    fn values_as_the_dialect_has_them() {
        for (text, expected) in [
            ("k = 1 ; foo", "1 ; foo"),
            ("k=a=b", "a=b"),
            ("k : a = b", "a = b"),
            ("k =", ""),
            ("k = \"a\" ", "\"a\""),
            ("K = v\r\n", "v"),
            ("k = a\n  b\n  c", "a\nb\nc"),
            ("k = a\n  # comment\n  b", "a\nb"),
            ("k = a\n\n  b\n\n\n", "a\n\nb"),
            ("k = a\n  other = b", "a\nother = b"),
            ("k = a\n  [x]", "a\n[x]"),
            ("  k = a\n  k = b", "b"),
            ("k = a\nK: b", "b"),
            ("k = \u{a0}x\u{2003}", "x"),
        ] {
            assert_eq!(one(text), expected, "{text:?}");
        }
    }

    #[test]
    fn section_headers() {
        for (line, name) in [
            ("[a] ; note", "a"),
            ("[a] ; see [b]", "a] ; see [b"),
            ("[ a ]", " a "),
            ("   [x]", "x"),
            ("[a]b", "a"),
        ] {
            let ini = Ini::parse("f", line.as_bytes()).unwrap();
            assert_eq!(
                ini.sections.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
                [name],
                "{line}"
            );
        }
        let merged = values("[a]\nx=1\n[b]\ny=2\n[a]\nz=3\n");
        let names: Vec<_> = merged.iter().map(|(s, k, _)| format!("{s}.{k}")).collect();
        assert_eq!(names, ["a.x", "a.z", "b.y"]);
        let ini = Ini::parse("f", b"[DEFAULT]\nx = 1\n[s]\n").unwrap();
        assert_eq!((ini.defaults.len(), ini.sections.len()), (1, 1));
    }

    #[test]
    fn errors_name_file_lines_and_text() {
        let error = Ini::parse("/etc/b.conf", b"\n# c\nfoo = 1\n[s]\n").unwrap_err();
        assert_eq!(
            error,
            IniError::MissingHeader {
                file: "/etc/b.conf".into(),
                line: 3,
                text: "foo = 1".into()
            }
        );
        let text = Ini::parse("/etc/b.conf", b"[s]\nfoo\n= x\nok = 1\n[]\n[x\n")
            .unwrap_err()
            .to_string();
        for part in [
            "/etc/b.conf",
            "[line  2]",
            "[line  3]",
            "[line  5]",
            "[line  6]",
            "foo",
            "= x",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let error = Ini::parse("f", b"[s]\nk = \xff\n").unwrap_err();
        assert_eq!(
            error,
            IniError::Encoding {
                file: "f".into(),
                line: 2,
                position: 8,
                byte: 0xff
            }
        );
        assert!(
            Ini::parse("f", "\u{feff}[s]\n".as_bytes()).is_err(),
            "a byte order mark is no white space"
        );
    }

    #[test]
    fn quotes() {
        for (raw, expected) in [
            ("\"a\"", "a"),
            ("'a'", "a"),
            ("\"\"a\"\"", "\"a\""),
            ("\"a\" \"b\"", "a\" \"b"),
            ("\"a'", "\"a'"),
            ("\"", "\""),
            ("\"\"", ""),
            ("None", ""),
            ("\"None\"", ""),
            ("none", "none"),
            ("\" 5k\"", " 5k"),
            ("\"a\nb\"", "\"a\nb\""),
        ] {
            assert_eq!(unquote(raw), expected, "{raw:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Ini::parse("f", &bytes);
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]=:#; \na-c\"%]{0,60}") {
            let _ = Ini::parse("f", text.as_bytes());
        }
    }
}
