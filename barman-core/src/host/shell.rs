//! Text of the shell: words taken from it, and words put into it so that the shell takes them as they are.

/// A word for a shell: as it is when every character is harmless, otherwise between single quotes.
#[must_use]
pub fn quote(word: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_./@%+=:,-".contains(&byte);
    if !word.is_empty() && word.bytes().all(harmless) {
        word.to_owned()
    } else {
        between_quotes(word)
    }
}

/// A word between single quotes: never an assignment, an option of the shell's or a keyword.
#[must_use]
pub fn between_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A word of a command of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// As it stands there.
    raw: &'a str,
    quotes: Quotes,
}

/// What quotes are in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They keep blanks together.
    Count,
    /// Characters like others: one of the text is never closed.
    Literal,
}

impl<'a> Word<'a> {
    /// As it stands there, quotes included.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// What it stands for, without its quotes.
    #[must_use]
    pub fn value(self) -> String {
        if self.quotes == Quotes::Literal {
            return self.raw.to_owned();
        }
        let mut value = String::with_capacity(self.raw.len());
        let mut open = None;
        let mut characters = self.raw.chars().peekable();
        while let Some(character) = characters.next() {
            match (open, character) {
                (None, '\'' | '"') => open = Some(character),
                (Some(quote), _) if quote == character => open = None,
                (Some('"'), '\\') => {
                    match characters.next_if(|next| matches!(next, '"' | '\\' | '$' | '`')) {
                        Some(next) => value.push(next),
                        None => value.push('\\'),
                    }
                }
                _ => value.push(character),
            }
        }
        value
    }
}

/// The words of a command as the options `ssh_command` and `primary_ssh_command` have it: what stands between blanks.
///
/// Single and double quotes keep blanks together, as in a shell; nothing else of a shell counts: no variables, no
/// patterns, and a backslash outside of quotes is one (`ssh DOMAIN\user@host`). With a quote that is never closed all
/// quotes are characters like others, as they always are for Barman.
#[must_use]
pub fn words(text: &str) -> Vec<Word<'_>> {
    quoted_words(text).unwrap_or_else(|| {
        let literal = |raw| Word {
            raw,
            quotes: Quotes::Literal,
        };
        text.split_whitespace().map(literal).collect()
    })
}

/// `None` if a quote is never closed.
fn quoted_words(text: &str) -> Option<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut open = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (open, character) {
            (None, blank) if blank.is_whitespace() => words.extend(start.take().map(|start| (start, at))),
            (None, '\'' | '"') => {
                open = Some(character);
                start.get_or_insert(at);
            }
            (Some(quote), _) if quote == character => open = None,
            (Some('"'), '\\') => drop(characters.next_if(|(_, next)| matches!(next, '"' | '\\'))),
            (Some(_), _) => {}
            (None, _) => drop(start.get_or_insert(at)),
        }
    }
    if open.is_some() {
        return None;
    }
    words.extend(start.map(|start| (start, text.len())));
    let word = |(from, to)| {
        Some(Word {
            raw: text.get(from..to)?,
            quotes: Quotes::Count,
        })
    };
    words.into_iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_between_blanks_and_quotes() {
        let cases: [(&str, &[&str]); 14] = [
            ("", &[]),
            (" \t\n", &[]),
            ("ssh barman@pg", &["ssh", "barman@pg"]),
            (" ssh\t-p  22\n pg ", &["ssh", "-p", "22", "pg"]),
            (
                "ssh -o 'ProxyCommand=nc a b' pg",
                &["ssh", "-o", "ProxyCommand=nc a b", "pg"],
            ),
            (
                "ssh -o ProxyCommand=\"nc 'a' b\"c ''",
                &["ssh", "-o", "ProxyCommand=nc 'a' bc", ""],
            ),
            ("ssh \"a\\\"b\\\\c\\$d\\e\"", &["ssh", "a\"b\\c$d\\e"]),
            ("ssh 'a\\' b", &["ssh", "a\\", "b"]),
            // As Barman has them.
            ("ssh DOMAIN\\user@pg", &["ssh", "DOMAIN\\user@pg"]),
            ("ssh a\\ b", &["ssh", "a\\", "b"]),
            ("ssh $HOME ~ * a;b", &["ssh", "$HOME", "~", "*", "a;b"]),
            ("ssh it's 'a b'", &["ssh", "it's", "'a", "b'"]),
            ("ssh \"a b", &["ssh", "\"a", "b"]),
            ("ssh é\u{a0}è", &["ssh", "é", "è"]),
        ];
        for (text, expected) in cases {
            let values: Vec<String> = words(text).into_iter().map(Word::value).collect();
            assert_eq!(values, expected, "{text}");
        }
        let raw: Vec<&str> = words("\"/my dir/ssh\"  x 'y'")
            .into_iter()
            .map(Word::raw)
            .collect();
        assert_eq!(raw, ["\"/my dir/ssh\"", "x", "'y'"]);
    }

    #[test]
    fn a_shell_takes_quoted_words_as_they_are() {
        for word in [
            "", "a", "A=1", "it's", "a b", "$HOME", "`id`", "\\", "a\nb", "-e", "é",
        ] {
            for quoted in [quote(word), between_quotes(word)] {
                let output = std::process::Command::new("/bin/sh")
                    .arg("-c")
                    .arg(format!("printf '%s|' {quoted}"))
                    .output()
                    .unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{word}|"));
            }
        }
        assert_eq!(quote("/a/b-c.conf"), "/a/b-c.conf");
    }
}
