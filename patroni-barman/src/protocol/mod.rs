//! The protocol of `pg-backup-api` as types: what is asked (`requests`), what is answered (`answers`). Both sides use
//! them: everything can be written and read. Nothing here touches a network.
//!
//! Requests are written in the spelling of Python's `json.dumps`, which is what the service has always been sent.
//! They are read with the rules of the service ([`NewOperation::read`]), which says what it does not like ([`Refusal`]).
//! Answers are written as the service does ([`to_body`]). They are read leniently where the protocol is lenient (the HTTP status and the content type say nothing about a
//! body) and strictly otherwise.
//!
//! Two things go beyond `pg-backup-api` 2.2.0, and mean nothing to whoever does not know them: an answer may have
//! [`Operation::output`], and `DELETE /servers/<server>/operations/<id>` asks to end an operation. A service that does
//! answers with 200, 202 or 204, and the operation ends as [`OperationStatus::Failed`].
//!
//! ```
//! use patroni_barman::protocol::{
//!     Created, NewOperation, OperationStatus, read_body, read_created, read_progress, to_body,
//! };
//!
//! let body = NewOperation::Reset.to_json();
//! assert_eq!(body, r#"{"type": "config_switch", "reset": true}"#);
//! assert_eq!(NewOperation::read(&read_body(body.as_bytes()).unwrap()).unwrap(), NewOperation::Reset);
//!
//! let answer = to_body(&Created { operation_id: "20261121T050225".to_owned() });
//! assert_eq!(answer, "{\"operation_id\":\"20261121T050225\"}\n");
//! assert_eq!(read_created(answer.as_bytes()).unwrap(), "20261121T050225");
//! let answer = br#"{"operation_id":"20261121T050225","status":"IN_PROGRESS"}"#;
//! assert_eq!(read_progress(answer).unwrap().status, OperationStatus::InProgress);
//! ```

mod answers;
mod requests;

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

pub use answers::{
    Created, HEALTHY, ListedOperation, NotFound, Operation, OperationList, OperationStatus, Progress, Unfit,
    read_created, read_health, read_not_found, read_progress,
};
pub use requests::{ConfigUpdate, NewOperation, Refusal, read_body};

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a JSON boolean",
        Value::Number(_) => "a JSON number",
        Value::String(_) => "a JSON string",
        Value::Array(_) => "a JSON list",
        Value::Object(_) => "a JSON object",
    }
}

/// Most characters of a foreign text that are shown.
const EXCERPT: usize = 200;

/// Most lines of the end of a foreign text that are shown.
const LAST_LINES: usize = 3;

/// The begin of a foreign text in one line: markup and control characters are blanks, and runs of blanks are one.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(16 * EXCERPT)).unwrap_or_default());
    let mut shown = String::new();
    let (mut count, mut in_tag, mut blank) = (0, false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '<' if characters
                .peek()
                .is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!')) =>
            {
                in_tag = true;
            }
            '>' if in_tag => in_tag = false,
            _ if in_tag => continue,
            character if !character.is_whitespace() && !character.is_control() => {
                if blank && !shown.is_empty() {
                    shown.push(' ');
                }
                blank = false;
                shown.push(character);
                count += 1;
                if count == EXCERPT {
                    shown.push('…');
                    return shown;
                }
                continue;
            }
            _ => {}
        }
        blank = true;
    }
    shown
}

/// The end of a foreign text of several lines, where programs say why they failed: its last lines, as [`excerpt`] shows
/// them.
pub(crate) fn end_of(text: &str) -> String {
    let mut last: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LAST_LINES)
        .collect();
    last.reverse();
    let end = last.join("; ");
    let shown = end
        .char_indices()
        .rev()
        .nth(EXCERPT - 2)
        .and_then(|(start, _)| end.get(start..));
    excerpt(shown.unwrap_or(&end).as_bytes())
}

/// An answer as the service writes it: no blanks, ASCII only, a line end behind it.
pub fn to_body(answer: &impl Serialize) -> String {
    written(answer, Style::Compact) + "\n"
}

/// How Python writes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `json.dumps` with its defaults: `", "` and `": "`.
    Default,
    /// With `,` and `:`.
    Compact,
}

/// The types of this module in memory: nothing can fail.
fn written(value: &impl Serialize, style: Style) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter(style));
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Python's JSON: ASCII only.
struct PythonFormatter(Style);

impl PythonFormatter {
    fn comma<W: ?Sized + io::Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        match self.0 {
            _ if first => Ok(()),
            Style::Default => writer.write_all(b", "),
            Style::Compact => writer.write_all(b","),
        }
    }
}

impl Formatter for PythonFormatter {
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.comma(writer, first)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.comma(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(match self.0 {
            Style::Default => b": ",
            Style::Compact => b":",
        })
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            let mut units = [0; 2];
            // Python escapes DEL too.
            if character.is_ascii() && character != '\u{7f}' {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_short_and_in_one_line() {
        assert_eq!(
            excerpt(b"<!doctype html>\n<h1>Bad\tRequest</h1>\r\n<p>no \x1b[31m body</p>"),
            "Bad Request no [31m body"
        );
        assert_eq!(excerpt(&[b'x'; 5000]).chars().count(), EXCERPT + 1);
        assert_eq!(excerpt(b"a < b"), "a < b");
        assert_eq!(excerpt(b""), "");
    }

    #[test]
    fn the_end_of_an_output_says_why() {
        assert_eq!(
            end_of("Starting remote restore\n\nA\n  ERROR: no  such\nB\n\n"),
            "A; ERROR: no such; B"
        );
        assert_eq!(end_of(""), "");
        let long = end_of(&format!("{}end", "é".repeat(5000)));
        assert!(
            long.ends_with("éend") && long.chars().count() <= EXCERPT + 1,
            "{long}"
        );
    }
}
