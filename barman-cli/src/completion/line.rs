//! The line that is being typed: its words as a shell reads them, and candidates in the spelling that the shell wants.
//!
//! Works on bytes: the names of files need not be UTF-8.

/// Characters that mean something to a shell outside of quotes.
const SPECIAL: &[u8] = b" \t!\"$&'()*;<>?[\\]`{|}";
/// The same between double quotes.
const SPECIAL_IN_DOUBLE_QUOTES: &[u8] = b"!\"$\\`";

/// How a shell wants candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// As they would be typed, with this byte before what is special.
    Escaped(u8),
    /// As they are: the shell quotes by itself.
    Plain,
}

/// A line up to the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The words before the one that is being typed, without their quotes.
    pub before: Vec<Vec<u8>>,
    /// The beginning of the word that is being typed, without its quotes; empty behind a blank.
    pub current: Vec<u8>,
    /// The quote that is still open.
    open: Option<u8>,
    /// As many bytes of `current` are a word of their own to the shell, which replaces only what follows.
    apart: usize,
}

impl Line {
    /// Reads a line. `breaks` are the characters besides blanks that end a word for the shell's line editor (bash:
    /// `COMP_WORDBREAKS`); none if it replaces whole words.
    pub fn parse(text: &[u8], breaks: &[u8]) -> Self {
        let mut line = Self::default();
        let mut begun = false;
        // Behind the last break outside of quotes.
        let mut behind_break = 0;
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            match (line.open, byte) {
                (None, b' ' | b'\t' | b'\n' | b'\r') => {
                    if begun {
                        line.before.push(std::mem::take(&mut line.current));
                    }
                    (line.apart, behind_break) = (0, 0);
                    begun = false;
                    continue;
                }
                (None, b'\'' | b'"') => {
                    line.open = Some(byte);
                    if !breaks.is_empty() {
                        line.apart = line.current.len();
                    }
                }
                (Some(quote), byte) if byte == quote => {
                    line.open = None;
                    line.apart = behind_break;
                }
                (None, b'\\') => line.current.extend(bytes.next()),
                (Some(b'"'), b'\\') => match bytes.next() {
                    Some(next @ (b'"' | b'\\' | b'$' | b'`')) => line.current.push(next),
                    Some(next) => line.current.extend([byte, next]),
                    None => {}
                },
                (None, byte) => {
                    line.current.push(byte);
                    if breaks.contains(&byte) {
                        behind_break = line.current.len();
                        line.apart = behind_break;
                    }
                }
                (Some(_), byte) => line.current.push(byte),
            }
            begun = true;
        }
        line
    }

    /// What replaces the word that is being typed, for a candidate that begins with it; nothing if it cannot be said.
    pub fn spelled(&self, candidate: &[u8], quoting: Quoting) -> Option<Vec<u8>> {
        if candidate.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\0')) {
            return None;
        }
        let rest = candidate.get(self.apart..)?;
        let Quoting::Escaped(escape) = quoting else {
            return Some(rest.to_vec());
        };
        let mut spelled = Vec::with_capacity(rest.len());
        for (at, &byte) in rest.iter().enumerate() {
            match self.open {
                Some(b'\'') if byte == b'\'' => spelled.extend_from_slice(b"'\\''"),
                Some(b'\'') => spelled.push(byte),
                open => {
                    let special = match open {
                        Some(_) => SPECIAL_IN_DOUBLE_QUOTES.contains(&byte),
                        None => SPECIAL.contains(&byte) || self.begins_badly(rest, at),
                    };
                    if special {
                        spelled.push(escape);
                    }
                    spelled.push(byte);
                }
            }
        }
        Some(spelled)
    }

    /// `#` begins a comment, and `~` a home directory unless one was typed.
    fn begins_badly(&self, rest: &[u8], at: usize) -> bool {
        let first = (at == 0 && self.apart == 0).then(|| rest.first()).flatten();
        match first {
            Some(b'#') => true,
            Some(b'~') => !self.current.starts_with(b"~/"),
            _ => false,
        }
    }

    /// Whether a blank may follow a candidate.
    pub fn is_unquoted(&self) -> bool {
        self.open.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Quoting};

    /// bash's own.
    const BREAKS: &[u8] = b" \t\n\"'><=;|&(:";

    #[test]
    fn words_as_a_shell_reads_them() {
        for (text, before, current) in [
            ("", &[][..], ""),
            ("barman", &[], "barman"),
            ("barman ", &["barman"], ""),
            ("  barman\tcheck  m", &["barman", "check"], "m"),
            ("barman 'my server' \"a b", &["barman", "my server"], "a b"),
            ("barman my\\ server m\\", &["barman", "my server"], "m"),
            ("barman \"a\\\"b\\x\" 'a\\'", &["barman", "a\"b\\x"], "a\\"),
            ("barman '' \"\" x", &["barman", "", ""], "x"),
            ("barman \"", &["barman"], ""),
            ("barman \"a\\", &["barman"], "a"),
            ("barman a'b'\\''c", &["barman"], "ab'c"),
        ] {
            let line = Line::parse(text.as_bytes(), BREAKS);
            let words: Vec<&[u8]> = before.iter().map(|word| word.as_bytes()).collect();
            assert_eq!(line.before, words, "{text:?}");
            assert_eq!(line.current, current.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn candidates_as_they_are_typed() {
        let bash = Quoting::Escaped(b'\\');
        for (typed, candidate, quoting, expected) in [
            ("m", "my server", bash, "my\\ server"),
            ("'m", "my server", bash, "my server"),
            ("'i", "it's", bash, "it'\\''s"),
            ("\"$", "$x\"y'z", bash, "\\$x\\\"y'z"),
            ("", "$(x)", bash, "\\$\\(x\\)"),
            ("", "#x~", bash, "\\#x~"),
            ("", "~x#", bash, "\\~x#"),
            ("~/", "~/a b", bash, "~/a\\ b"),
            ("pg:", "pg:1", bash, "1"),
            ("pg\\:", "pg:1", bash, "pg:1"),
            ("\"pg:", "pg:1", bash, "pg:1"),
            ("--format=j", "--format=json", bash, "json"),
            ("--format=\"j", "--format=json", bash, "json"),
            ("ma'i", "main", bash, "in"),
            ("\"pg:\"", "pg:1", bash, "pg:1"),
            ("pg:\"a\"", "pg:ab", bash, "ab"),
            ("m", "my server", Quoting::Escaped(b'`'), "my` server"),
            ("m", "my server", Quoting::Plain, "my server"),
        ] {
            let line = Line::parse(format!("x {typed}").as_bytes(), BREAKS);
            let spelled = line.spelled(candidate.as_bytes(), quoting).unwrap();
            assert_eq!(String::from_utf8(spelled).unwrap(), expected, "{typed:?}");
        }
        let whole = Line::parse(b"x --format=j", b"");
        assert_eq!(whole.spelled(b"--format=json", bash).unwrap(), b"--format=json");
        assert_eq!(whole.spelled(b"--format=\n", bash), None);
    }
}
