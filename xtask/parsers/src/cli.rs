//! What the programs read from command lines and put into logs (`barman-cli`, `patroni-barman`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use barman_cli::args::{self, values};
use barman_cli::completion::candidates::{self, Source};
use barman_cli::completion::line::{Line, Quoting};
use barman_cli::logging::layout::{Layout, Record};
use barman_cli::{logging, redact};

use crate::input::{choice, reached, text};

/// Words as a shell would pass them, one a line, at most so many.
fn words(bytes: &[u8]) -> impl Iterator<Item = OsString> {
    let lines = bytes.split(|byte| *byte == b'\n').take(40);
    lines.map(|line| OsString::from_vec(line.to_vec()))
}

/// The command line of `barman`, and each kind of option value.
pub fn barman_arguments(bytes: &[u8]) {
    let given = std::iter::once(OsString::from("barman")).chain(words(bytes));
    match args::parse(given) {
        Ok(_) => reached(),
        Err(early) => {
            assert!(matches!(early.exit_code, 0 | 2));
            assert!(!early.text.is_empty());
        }
    }
    let Some(text) = text(bytes) else { return };
    if let Ok(number) = values::integer(text) {
        assert_eq!(values::integer(&number.to_string()), Ok(number));
        assert_eq!(values::non_negative(text).is_ok(), number >= 0);
        assert_eq!(values::positive(text).is_ok(), number > 0);
    }
    if let Ok(timeline) = values::target_timeline(text) {
        assert_eq!(values::target_timeline(&timeline.to_string()), Ok(timeline));
    }
    let _ = (
        values::size(text),
        values::absolute_path(text),
        values::backup_name(text),
    );
}

/// Names as a configuration, a catalogue or a directory may have them.
struct Names;

impl Source for Names {
    type Error = ();

    fn servers(&self, _: Option<&[u8]>) -> Result<Vec<String>, ()> {
        Ok(
            ["main", "$(main)", "my 'server\"", "pg:1", "m\n", "~m", "#m", "é"]
                .map(str::to_owned)
                .into(),
        )
    }

    fn backups(&self, _: Option<&[u8]>, server: &[u8]) -> Result<Vec<String>, ()> {
        if server.is_empty() {
            return Err(());
        }
        Ok(vec!["20261121T101500".to_owned(), "20261120T101500".to_owned()])
    }

    fn files(&self, beginning: &[u8]) -> Vec<Vec<u8>> {
        [&b"/"[..], b" a;b", b"\xff`"]
            .map(|end| [beginning, end].concat())
            .into()
    }
}

/// A line that a shell wants to have completed.
pub fn completion(bytes: &[u8]) {
    let (breaks, bytes) = choice(bytes, 2);
    let breaks: &[u8] = if breaks == 0 { b"" } else { b" \t\n\"'><=;|&(:" };
    let line = Line::parse(bytes, breaks);
    let Ok(found) = candidates::find(&args::grammar(), &line.before, &line.current, &Names) else {
        return;
    };
    for candidate in found {
        reached();
        assert!(candidate.word.starts_with(&line.current));
        let Some(spelled) = line.spelled(&candidate.word, Quoting::Escaped(b'\\')) else {
            assert!(
                candidate
                    .word
                    .iter()
                    .any(|byte| matches!(byte, b'\n' | b'\r' | 0))
            );
            continue;
        };
        assert!(!spelled.contains(&b'\n'));
        // What is put in the place of a word is one word, and that one.
        if breaks.is_empty() && line.is_unquoted() {
            let again = Line::parse(&spelled, b"");
            assert_eq!((again.before.len(), again.current == candidate.word), (0, true));
            assert!(again.is_unquoted());
        }
    }
}

/// The command line of `patroni_barman`.
pub fn patroni_arguments(bytes: &[u8]) {
    match patroni_barman::args::parse(words(bytes)) {
        Ok(_) => reached(),
        Err(usage) => assert!(!usage.is_empty()),
    }
}

/// `log_format` and `log_level`: no template makes a line without bounds.
pub fn log_format(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let _ = logging::parse_level(text);
    let Ok(layout) = Layout::parse(text) else { return };
    reached();
    let time: jiff::Zoned = "2026-11-21T04:47:24.5+01:00[+01:00]".parse().expect("a time");
    let line = layout.format(&Record {
        time: &time,
        name: "barman.backup",
        level: 20,
        message: "a message, 日本",
        file: "src/file.rs",
        line: 7,
    });
    assert!(line.len() <= (text.len() + 1) * 2000, "{} bytes", line.len());
}

/// Secrets out of texts: what is left has no more secrets; a connection string shows none.
pub fn redacted(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let _ = redact::redact(text);
    // A secret without quotes, blanks or ends of sentences, wherever it stands.
    let word: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(20)
        .collect();
    if word.len() >= 12 {
        reached();
        for line in [
            format!("cannot connect: host=h password={word} user=u"),
            format!("cannot connect: host=h password = '{word}' user=u"),
            format!("cannot connect to postgresql://u:{word}@h/db"),
            format!("cannot connect to postgresql://u@h/db?password={word}&x=y"),
        ] {
            let shown = redact::redact(&line);
            assert!(!shown.contains(&word), "{shown}");
        }
    }
}
