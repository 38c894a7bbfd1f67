//! The log: Barman's layout and levels, a file that is opened again when logrotate has moved it, secrets redacted.

pub mod layout;

use crate::args::LogLevel;
use crate::output::LogStreams;
use crate::redact::redact;
use layout::{Layout, Record};
use log::{LevelFilter, Log, Metadata};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Python's number of the level INFO, the default.
pub const INFO: u32 = 20;

/// What the configuration and the command line say about the log.
#[derive(Debug, Clone, Default)]
pub struct Settings<'a> {
    /// `log_file`; none is standard error.
    pub file: Option<&'a Path>,
    /// `log_level`, as written.
    pub level: Option<&'a str>,
    /// `--log-level`.
    pub level_override: Option<LogLevel>,
    /// `log_format`.
    pub format: Option<&'a str>,
}

/// Installs the log of the process, and tells which streams it shares with the console.
pub fn install(settings: &Settings<'_>) -> LogStreams {
    let mut complaints = Vec::new();
    let threshold = match settings.level_override {
        Some(level) => level_number(level),
        None => settings.level.map_or(INFO, |text| {
            parse_level(text).unwrap_or_else(|| {
                complaints.push(format!("unknown log_level in config file: {text}"));
                INFO
            })
        }),
    };
    let layout = settings.format.map_or_else(Layout::default, |template| {
        Layout::parse(template).unwrap_or_else(|reason| {
            complaints.push(format!(
                "the configured log_format cannot be used ({reason}): {template}"
            ));
            Layout::default()
        })
    });
    let sink = match settings.file.map(Destination::open) {
        None => Sink::Stderr,
        Some(Ok(destination)) => Sink::File(destination),
        Some(Err((path, error))) => {
            complaints.push(format!(
                "Failed opening the requested log file '{}': {error}. Using standard error instead.",
                path.display()
            ));
            Sink::Stderr
        }
    };
    let streams = match sink {
        Sink::File(_) => LogStreams::default(),
        Sink::Stderr => LogStreams {
            stderr: true,
            stdout: same_file(),
        },
    };
    let logger = Logger {
        threshold,
        layout,
        sink: Mutex::new(sink),
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(filter(threshold));
    }
    for complaint in complaints {
        log::warn!(target: "barman.utils", "{complaint}");
    }
    streams
}

/// The number of a configured level: a name in any case, or a number; 0 and `NOTSET` mean INFO.
#[must_use]
pub fn parse_level(text: &str) -> Option<u32> {
    let number = match text.trim().to_ascii_uppercase().as_str() {
        "NOTSET" => 0,
        "DEBUG" => 10,
        "INFO" => 20,
        "WARNING" | "WARN" => 30,
        "ERROR" => 40,
        "CRITICAL" | "FATAL" => 50,
        digits => digits.parse().ok()?,
    };
    Some(if number == 0 { INFO } else { number })
}

fn level_number(level: LogLevel) -> u32 {
    match level {
        LogLevel::Debug => 10,
        LogLevel::Notset | LogLevel::Info => INFO,
        LogLevel::Warning => 30,
        LogLevel::Error => 40,
        LogLevel::Critical => 50,
    }
}

fn number_of(level: log::Level) -> u32 {
    match level {
        log::Level::Error => 40,
        log::Level::Warn => 30,
        log::Level::Info => 20,
        log::Level::Debug => 10,
        log::Level::Trace => 5,
    }
}

fn filter(threshold: u32) -> LevelFilter {
    match threshold {
        0..=5 => LevelFilter::Trace,
        6..=10 => LevelFilter::Debug,
        11..=20 => LevelFilter::Info,
        21..=30 => LevelFilter::Warn,
        31..=40 => LevelFilter::Error,
        _ => LevelFilter::Off,
    }
}

/// Whether standard output and standard error are the same open file or terminal.
fn same_file() -> bool {
    match (rustix::fs::fstat(io::stdout()), rustix::fs::fstat(io::stderr())) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

enum Sink {
    Stderr,
    File(Destination),
}

/// An open log file that notices when its name means another file.
struct Destination {
    path: PathBuf,
    file: File,
    id: (u64, u64),
    /// Only the beginning of the last record could be written.
    torn: bool,
    /// That records are lost was told.
    told: bool,
}

impl Destination {
    fn open(path: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let opened = || {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            // Opening a FIFO that nobody reads would wait for a reader.
            let no_wait = OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .custom_flags(no_wait.bits().cast_signed())
                .open(path)?;
            let flags = rustix::fs::fcntl_getfl(&file)?;
            rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
            let metadata = file.metadata()?;
            Ok((file, (metadata.dev(), metadata.ino())))
        };
        let (file, id) = opened().map_err(|error| (path.to_owned(), error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            id,
            torn: false,
            told: false,
        })
    }

    fn write(&mut self, line: &str) {
        let current = std::fs::metadata(&self.path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .ok();
        if current != Some(self.id)
            && let Ok(reopened) = Self::open(&self.path)
        {
            *self = Self {
                told: self.told,
                ..reopened
            };
        }
        if let Err(error) = self.append(line)
            && !self.told
        {
            self.told = true;
            let text = format!(
                "WARNING: cannot write to the log file '{}', records are lost: {error}\n",
                self.path.display()
            );
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// One write of a whole record: several processes append to this file.
    fn append(&mut self, line: &str) -> io::Result<()> {
        let text = if self.torn {
            format!("\n{line}")
        } else {
            line.to_owned()
        };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(count) if count > 0 => {
                    rest = rest.get(count..).unwrap_or_default();
                    // What was cut off before has its line end now, at least.
                    self.torn = !rest.is_empty();
                }
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct Logger {
    threshold: u32,
    layout: Layout,
    sink: Mutex<Sink>,
}

impl Logger {
    /// Crates that we use may warn; their finer records would drown ours.
    fn is_ours(target: &str) -> bool {
        target.starts_with("barman") || target == "Command"
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = number_of(metadata.level());
        level >= self.threshold && (Self::is_ours(metadata.target()) || level >= 30)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        let redacted = redact(&message);
        let mut line = self.layout.format(&Record {
            time: &jiff::Zoned::now(),
            name: record.target(),
            level: number_of(record.level()),
            message: &redacted,
            file: record.file().unwrap_or_default(),
            line: record.line().unwrap_or_default(),
        });
        line.push('\n');
        match &mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Stderr => {
                let _ = io::stderr().write_all(line.as_bytes());
            }
            Sink::File(destination) => destination.write(&line),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let table = [
            ("NOTSET", Some(20)),
            ("0", Some(20)),
            ("debug", Some(10)),
            ("Warning", Some(30)),
            ("15", Some(15)),
            ("CRITICAL", Some(50)),
            ("loud", None),
            ("-1", None),
        ];
        for (text, number) in table {
            assert_eq!(parse_level(text), number, "{text}");
        }
    }

    #[test]
    fn a_moved_file_is_opened_again() {
        let home = tempfile::tempdir().unwrap();
        let (path, moved) = (home.path().join("new/barman.log"), home.path().join("old.log"));
        let mut destination = Destination::open(&path).unwrap_or_else(|(_, error)| panic!("{error}"));
        destination.write("one\n");
        #[allow(clippy::disallowed_methods, reason = "plays logrotate")]
        std::fs::rename(&path, &moved).unwrap();
        destination.write("two\n");
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }

    #[test]
    fn foreign_records_need_to_be_warnings() {
        let logger = Logger {
            threshold: 10,
            layout: Layout::default(),
            sink: Mutex::new(Sink::Stderr),
        };
        let enabled =
            |target, level| logger.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("barman.cli", log::Level::Debug) && enabled("Command", log::Level::Debug));
        assert!(!enabled("tokio_postgres::query", log::Level::Debug) && enabled("rustls", log::Level::Warn));
        assert!(!enabled("barman.cli", log::Level::Trace));
    }
}
