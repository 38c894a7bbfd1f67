//! Rewrites the configuration files of a restored server so that it cannot damage anything (`restore.md` 13.5):
//! settings that would archive into the same place or stop recovery at an old target are commented out.
//!
//! Works on bytes: a file in another encoding is as good as one in UTF-8. Pure; `conf_files` does the files.

/// A setting that was commented out, and what it was replaced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Zero-based line number in the original file.
    pub line: usize,
    /// The setting, as spelled in the file.
    pub key: String,
    /// The value it has now; `None` when it is only commented out.
    pub value: Option<&'static str>,
}

/// A setting to look at before the server is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Danger {
    /// Zero-based line number in the new file.
    pub line: usize,
    /// The setting, as spelled in the file.
    pub key: String,
    /// The rest of its line: value, quotes, comment.
    pub value: String,
}

/// A rewritten file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The new content.
    pub content: Vec<u8>,
    /// What was changed.
    pub changes: Vec<Change>,
}

const MARKER: &[u8] = b"#BARMAN#";

const MANGLED: &[&str] = &[
    "archive_command",
    "recovery_target",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_lsn",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
];

const DANGEROUS: &[&str] = &[
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "ssl_crl_file",
    "unix_socket_directory",
    "unix_socket_directories",
    "include",
    "include_dir",
    "include_if_exists",
];

/// Key and value of a line that is a setting. A trailing comment belongs to the value.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = line.iter().position(|byte| !blank(byte))?;
    let rest = line.get(start..)?;
    if rest.first() == Some(&b'#') {
        return None;
    }
    let end = rest
        .iter()
        .position(|byte| blank(byte) || *byte == b'=')
        .unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    let (key, value) = rest.split_at(end);
    let skip = |bytes: &[u8]| bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let value = value.get(skip(value)..)?;
    let value = value.strip_prefix(b"=").unwrap_or(value);
    let value = value.get(skip(value)..)?;
    let trimmed = value
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(0, |last| last + 1);
    Some((key, value.get(..trimmed)?))
}

fn lines_of(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn find<'a>(keys: &[&'a str], key: &[u8]) -> Option<&'a str> {
    keys.iter()
        .copied()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(key))
}

/// Comments out what must not be in force and appends `append` (lines without line ends).
///
/// `version` is `server_version_num`: from PostgreSQL 15 on `archive_library` archives, too.
#[must_use]
pub fn rewrite(content: &[u8], version: u32, append: &[String]) -> Rewritten {
    let mut new = Vec::with_capacity(content.len() + 256);
    let mut changes = Vec::new();
    let mut kept_a_line = false;
    for (number, line) in lines_of(content).enumerate() {
        let key = split(line).map(|(key, _)| key);
        let mangled = key.and_then(|key| {
            find(MANGLED, key).or_else(|| {
                if version >= 150_000 {
                    find(&["archive_library"], key)
                } else {
                    None
                }
            })
        });
        let (Some(known), Some(key)) = (mangled, key) else {
            new.extend_from_slice(line);
            kept_a_line = true;
            continue;
        };
        new.extend_from_slice(MARKER);
        new.extend_from_slice(line);
        let value = (known == "archive_command").then_some("false");
        if let Some(value) = value {
            end_line(&mut new);
            new.extend_from_slice(format!("{known} = {value}\n").as_bytes());
        }
        changes.push(Change {
            line: number,
            key: text(key),
            value,
        });
    }
    if !append.is_empty() {
        if kept_a_line {
            new.push(b'\n');
        }
        end_line(&mut new);
        for line in append {
            new.extend_from_slice(line.as_bytes());
            new.push(b'\n');
        }
    }
    Rewritten {
        content: new,
        changes,
    }
}

fn end_line(content: &mut Vec<u8>) {
    if content.last().is_some_and(|byte| *byte != b'\n') {
        content.push(b'\n');
    }
}

/// The settings of a file that its owner should look at before starting the server.
#[must_use]
pub fn dangers(content: &[u8]) -> Vec<Danger> {
    scan(content, DANGEROUS)
}

/// The settings of an included file that are dangerous, or would have been commented out in a main file.
#[must_use]
pub fn dangers_of_include(content: &[u8], version: u32) -> Vec<Danger> {
    let mut keys: Vec<&str> = DANGEROUS.iter().chain(MANGLED).copied().collect();
    if version >= 150_000 {
        keys.push("archive_library");
    }
    scan(content, &keys)
}

fn scan(content: &[u8], keys: &[&str]) -> Vec<Danger> {
    lines_of(content)
        .enumerate()
        .filter_map(|(line, bytes)| {
            let (key, value) = split(bytes)?;
            find(keys, key)?;
            Some(Danger {
                line,
                key: text(key),
                value: text(value),
            })
        })
        .collect()
}

/// An include directive: what it names and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Include {
    /// `include` or `include_if_exists`: one file.
    File(String),
    /// `include_dir`: every `*.conf` of a directory.
    Directory(String),
}

/// The include directives of a file, in order.
#[must_use]
pub fn includes(content: &[u8]) -> Vec<Include> {
    scan(content, &["include", "include_if_exists", "include_dir"])
        .into_iter()
        .filter_map(|directive| {
            let name = unquote(&directive.value)?;
            Some(if directive.key.eq_ignore_ascii_case("include_dir") {
                Include::Directory(name)
            } else {
                Include::File(name)
            })
        })
        .collect()
}

/// The value of a setting without its quotes and comment.
fn unquote(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('\'') else {
        return value
            .split([' ', '\t', '#'])
            .next()
            .filter(|word| !word.is_empty())
            .map(str::to_owned);
    };
    let mut name = String::new();
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' if characters.peek() == Some(&'\'') => {
                characters.next();
                name.push('\'');
            }
            '\'' => return (!name.is_empty()).then_some(name),
            '\\' => name.push(escaped(&mut characters)?),
            other => name.push(other),
        }
    }
    None
}

/// The character that stands behind a backslash (PostgreSQL, `guc-file.l`: `DeescapeQuotedString`): a control
/// character by its letter, one by up to three octal digits, any other as it is.
fn escaped(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    Some(match characters.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        digit @ '0'..='7' => {
            let mut code = digit.to_digit(8)?;
            for _ in 0..2 {
                let Some(next) = characters.peek().and_then(|digit| digit.to_digit(8)) else {
                    break;
                };
                characters.next();
                code = code * 8 + next;
            }
            // PostgreSQL keeps the lowest byte; what is no ASCII is a piece of a character that cannot be told here.
            u8::try_from(code & 0xFF)
                .ok()
                .filter(u8::is_ascii)
                .map_or(char::REPLACEMENT_CHARACTER, char::from)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(content: &str, append: &[&str]) -> String {
        let append: Vec<String> = append.iter().map(|line| (*line).to_owned()).collect();
        String::from_utf8(rewrite(content.as_bytes(), 150_000, &append).content).unwrap()
    }

    #[test]
    fn mangles_line_by_line() {
        for (before, after) in [
            (
                "archive_command = 'x' # c\n",
                "#BARMAN#archive_command = 'x' # c\narchive_command = false\n",
            ),
            (
                "  recovery_target_time = 'x'\n",
                "#BARMAN#  recovery_target_time = 'x'\n",
            ),
            (
                "recovery_target_action='pause'\n",
                "#BARMAN#recovery_target_action='pause'\n",
            ),
            (
                "recovery_target\t'immediate'\n",
                "#BARMAN#recovery_target\t'immediate'\n",
            ),
            ("#archive_command = 'x'\n", "#archive_command = 'x'\n"),
            (
                "archive_mode = on\nport = 5432\n",
                "archive_mode = on\nport = 5432\n",
            ),
            ("archive_command_x = 'y'\n", "archive_command_x = 'y'\n"),
            // Without a final newline the replacement must not become part of the comment.
            (
                "archive_command = 'x'",
                "#BARMAN#archive_command = 'x'\narchive_command = false\n",
            ),
            (
                "ARCHIVE_COMMAND = 'y'\n",
                "#BARMAN#ARCHIVE_COMMAND = 'y'\narchive_command = false\n",
            ),
            (
                "archive_library = 'basic_archive'\n",
                "#BARMAN#archive_library = 'basic_archive'\n",
            ),
            (
                "archive_command\n",
                "#BARMAN#archive_command\narchive_command = false\n",
            ),
            ("", ""),
        ] {
            assert_eq!(rewritten(before, &[]), after, "{before:?}");
        }
    }

    #[test]
    fn appended_lines_are_set_off_by_an_empty_line() {
        for (before, after) in [
            ("", "a = 1\nb = 2\n"),
            ("x = 1\n", "x = 1\n\na = 1\nb = 2\n"),
            ("x = 1", "x = 1\na = 1\nb = 2\n"),
            (
                "recovery_target_xid = '1'\n",
                "#BARMAN#recovery_target_xid = '1'\na = 1\nb = 2\n",
            ),
            (
                "recovery_target_xid = '1'",
                "#BARMAN#recovery_target_xid = '1'\na = 1\nb = 2\n",
            ),
        ] {
            assert_eq!(rewritten(before, &["a = 1", "b = 2"]), after, "{before:?}");
        }
    }

    #[test]
    fn changes_tell_the_line_of_the_original() {
        let content = b"port = 1\narchive_command = 'x'\nrecovery_target_name = 'y'\narchive_library = 'z'\n";
        let changes = rewrite(content, 140_000, &[]).changes;
        assert_eq!(
            changes,
            [
                Change {
                    line: 1,
                    key: "archive_command".into(),
                    value: Some("false")
                },
                Change {
                    line: 2,
                    key: "recovery_target_name".into(),
                    value: None
                },
            ]
        );
        assert_eq!(rewrite(content, 150_000, &[]).changes.len(), 3);
    }

    #[test]
    fn dangers_show_the_value_as_written() {
        let content =
            b"a=1\ninclude 'x.conf'\n#data_directory = 'q'\n unix_socket_directories = '/run/pg' # c \n";
        assert_eq!(
            dangers(content),
            [
                Danger {
                    line: 1,
                    key: "include".into(),
                    value: "'x.conf'".into()
                },
                Danger {
                    line: 3,
                    key: "unix_socket_directories".into(),
                    value: "'/run/pg' # c".into()
                },
            ]
        );
    }

    #[test]
    fn includes_are_read_without_their_quotes() {
        let content =
            b"include 'a''b.conf'\ninclude_dir = 'conf.d' # c\ninclude_if_exists x.conf\ninclude ''\n\
              include 'a\\tb\\\\\\'\\1012\\51\\q'\n";
        assert_eq!(
            includes(content),
            [
                Include::File("a'b.conf".into()),
                Include::Directory("conf.d".into()),
                Include::File("x.conf".into()),
                Include::File("a\tb\\'A2)q".into()),
            ]
        );
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let content = b"application_name = '\xe9'\narchive_command = '\xff'\n";
        let new = rewrite(content, 150_000, &[]).content;
        assert_eq!(
            new,
            b"application_name = '\xe9'\n#BARMAN#archive_command = '\xff'\narchive_command = false\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(content: Vec<u8>) {
            let new = rewrite(&content, 150_000, &["x = 1".to_owned()]);
            proptest::prop_assert!(new.content.len() >= content.len());
            let _ = dangers(&new.content);
            let _ = includes(&content);
        }
    }
}
