//! The layout of log records (`log_format`): Python's `%(field)s` templates.

use std::fmt::Write as _;

/// Barman's layout.
pub const DEFAULT: &str = "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s";

/// One log record, as layouts see it.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When.
    pub time: &'a jiff::Zoned,
    /// The emitting part (`barman.backup`).
    pub name: &'a str,
    /// Python's number of the level (10 DEBUG ... 50 CRITICAL).
    pub level: u32,
    /// The text.
    pub message: &'a str,
    /// The file and line that emitted it.
    pub file: &'a str,
    /// The line.
    pub line: u32,
}

/// The name of a level.
#[must_use]
pub fn level_name(level: u32) -> &'static str {
    match level {
        0..=10 => "DEBUG",
        11..=20 => "INFO",
        21..=30 => "WARNING",
        31..=40 => "ERROR",
        _ => "CRITICAL",
    }
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field {
        field: Field,
        left: bool,
        zeros: bool,
        width: usize,
        precision: Option<usize>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Time,
    Created,
    Milliseconds,
    Process,
    Name,
    LevelName,
    LevelNumber,
    Message,
    Path,
    FileName,
    Module,
    Line,
    Function,
    ProcessName,
    ThreadName,
    Thread,
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "asctime" => Self::Time,
            "created" => Self::Created,
            "msecs" | "relativeCreated" => Self::Milliseconds,
            "process" => Self::Process,
            "name" => Self::Name,
            "levelname" => Self::LevelName,
            "levelno" => Self::LevelNumber,
            "message" => Self::Message,
            "pathname" => Self::Path,
            "filename" => Self::FileName,
            "module" => Self::Module,
            "lineno" => Self::Line,
            "funcName" => Self::Function,
            "processName" => Self::ProcessName,
            "threadName" => Self::ThreadName,
            "thread" => Self::Thread,
            _ => return None,
        })
    }
}

impl Default for Layout {
    /// Barman's layout.
    fn default() -> Self {
        Self::parse(DEFAULT).unwrap_or(Self { pieces: Vec::new() })
    }
}

impl Layout {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(template: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('%') {
            pieces.push(Piece::Literal(literal.to_owned()));
            if let Some(after) = after.strip_prefix('%') {
                pieces.push(Piece::Literal("%".to_owned()));
                rest = after;
                continue;
            }
            let (name, conversion) = after
                .strip_prefix('(')
                .and_then(|field| field.split_once(')'))
                .ok_or_else(|| "a '%' is not followed by '(name)'".to_owned())?;
            let field = Field::named(name).ok_or_else(|| format!("there is no field '{name}'"))?;
            let flags_end = conversion
                .find(|c: char| !matches!(c, '-' | '0' | '+' | ' ' | '#'))
                .unwrap_or(conversion.len());
            let (flags, conversion) = conversion.split_at(flags_end);
            let (width, conversion) = number(conversion)?;
            let (precision, conversion) = match conversion.strip_prefix('.') {
                Some(digits) => number(digits).map(|(value, rest)| (Some(value), rest))?,
                None => (None, conversion),
            };
            let mut characters = conversion.chars();
            if !matches!(characters.next(), Some('s' | 'd' | 'i' | 'f' | 'r' | 'a')) {
                return Err(format!("'%({name})' has no known type behind it"));
            }
            rest = characters.as_str();
            pieces.push(Piece::Field {
                field,
                left: flags.contains('-'),
                zeros: flags.contains('0'),
                width,
                precision,
            });
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        Ok(Self { pieces })
    }

    /// The line (or lines) of a record, without final newline.
    #[must_use]
    pub fn format(&self, record: &Record<'_>) -> String {
        let mut text = String::with_capacity(record.message.len() + 80);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Field {
                    field,
                    left,
                    zeros,
                    width,
                    precision,
                } => {
                    let value = value(*field, record);
                    let cut: String = match (precision, field) {
                        (Some(length), Field::Name | Field::LevelName | Field::Message) => {
                            value.chars().take(*length).collect()
                        }
                        _ => value,
                    };
                    let padding = width.saturating_sub(cut.chars().count());
                    let fill = if *zeros && !*left { '0' } else { ' ' };
                    let pad: String = std::iter::repeat_n(fill, padding).collect();
                    let _ = if *left {
                        write!(text, "{cut}{pad}")
                    } else {
                        write!(text, "{pad}{cut}")
                    };
                }
            }
        }
        text
    }
}

/// A width or precision; large ones are mistakes and would only fill the disk.
fn number(text: &str) -> Result<(usize, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let value = if digits.is_empty() {
        0
    } else {
        digits
            .parse()
            .ok()
            .filter(|value| *value <= 1000)
            .ok_or("a width is too large")?
    };
    Ok((value, rest))
}

fn value(field: Field, record: &Record<'_>) -> String {
    let milliseconds = record.time.millisecond();
    match field {
        Field::Time => {
            let (date, time) = (record.time.date(), record.time.time());
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02},{milliseconds:03}",
                date.year(),
                date.month(),
                date.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        }
        Field::Created => format!("{}.{milliseconds:03}", record.time.timestamp().as_second()),
        Field::Milliseconds => milliseconds.to_string(),
        Field::Process => std::process::id().to_string(),
        Field::Name => record.name.to_owned(),
        Field::LevelName => level_name(record.level).to_owned(),
        Field::LevelNumber => record.level.to_string(),
        Field::Message => record.message.to_owned(),
        Field::Path => record.file.to_owned(),
        Field::FileName => record.file.rsplit('/').next().unwrap_or_default().to_owned(),
        Field::Module => record.name.rsplit('.').next().unwrap_or_default().to_owned(),
        Field::Line => record.line.to_string(),
        Field::Function => "-".to_owned(),
        Field::ProcessName => "MainProcess".to_owned(),
        Field::ThreadName => std::thread::current().name().unwrap_or("MainThread").to_owned(),
        Field::Thread => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(template: &str) -> String {
        let time: jiff::Zoned = "2026-11-21T04:45:55.42+01:00[+01:00]".parse().unwrap();
        let record = Record {
            time: &time,
            name: "barman.cli",
            level: 40,
            message: "Unknown server 'x'\nsecond",
            file: "a/b.rs",
            line: 7,
        };
        Layout::parse(template).map_or_else(
            |reason| format!("refused: {reason}"),
            |layout| layout.format(&record),
        )
    }

    #[test]
    fn templates() {
        let pid = std::process::id();
        assert_eq!(
            line(DEFAULT),
            format!("2026-11-21 04:45:55,420 [{pid}] barman.cli ERROR: Unknown server 'x'\nsecond")
        );
        let table = [
            (
                "%(levelname)-8s|%(levelname)8s|%(levelname).3s|%(lineno)04d",
                "ERROR   |   ERROR|ERR|0007",
            ),
            ("100%% %(levelno)s %(filename)s %(module)s", "100% 40 b.rs cli"),
            ("%(created)s %(msecs)03d", "1795232755.420 420"),
            ("plain", "plain"),
            ("%(nosuch)s", "refused: there is no field 'nosuch'"),
            ("%s", "refused: a '%' is not followed by '(name)'"),
            ("%(name)", "refused: '%(name)' has no known type behind it"),
            ("%(name)99999s", "refused: a width is too large"),
        ];
        for (template, expected) in table {
            assert_eq!(line(template), expected, "{template}");
        }
    }
}
