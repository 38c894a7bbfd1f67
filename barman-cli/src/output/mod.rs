//! Everything that reaches the user: messages, results, progress, and the exit code that follows from them.
//!
//! One [`Output`] exists in a run. It writes to the console as things happen, or gathers one JSON document for the
//! end. A reader that has gone away never stops an operation: failed writes are remembered and told at the end.

pub mod json;
pub mod nagios;

use crate::redact::redact;
use barman_core::{Class, Failure, Level, Message, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nagios::CheckLine;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const RESET: &str = "\u{1b}[0m";

/// How results and messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Console,
    /// One JSON object at the end.
    Json,
    /// The plugin text of `check --nagios` at the end, nothing else.
    Nagios,
}

/// Where the log goes: a message that was printed is not repeated by a log that shares the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStreams {
    /// The log goes to standard error.
    pub stderr: bool,
    /// The log goes to standard error, which is the same open file as standard output.
    pub stdout: bool,
}

/// The settings of an [`Output`].
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The form.
    pub format: Format,
    /// No informational output.
    pub quiet: bool,
    /// Debug messages are shown.
    pub debug: bool,
    /// Colours on the console.
    pub color: bool,
    /// Progress bars on standard error.
    pub progress: bool,
    /// Streams that the log shares.
    pub log: LogStreams,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::Console,
            quiet: false,
            debug: false,
            color: false,
            progress: false,
            log: LogStreams::default(),
        }
    }
}

/// The kinds of messages (`cli.md` 3.1): those of [`Level`], and the unforeseen failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What only somebody who looks for a fault wants to see.
    Debug,
    /// What a command tells.
    Info,
    /// What deserves attention.
    Warning,
    /// What has failed.
    Error,
    /// A failure that nobody foresaw.
    Exception,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG: ",
            Self::Info => "",
            Self::Warning => "WARNING: ",
            Self::Error => "ERROR: ",
            Self::Exception => "EXCEPTION: ",
        }
    }

    fn json_key(self) -> &'static str {
        match self {
            Self::Debug => "_DEBUG",
            Self::Info => "_INFO",
            Self::Warning => "_WARNING",
            Self::Error => "_ERROR",
            Self::Exception => "_EXCEPTION",
        }
    }

    fn color(self) -> Option<&'static str> {
        match self {
            Self::Debug | Self::Info => None,
            Self::Warning => Some(YELLOW),
            Self::Error | Self::Exception => Some(RED),
        }
    }

    /// The level in the log.
    pub fn log_level(self) -> log::Level {
        match self {
            Self::Debug => log::Level::Debug,
            Self::Info => log::Level::Info,
            Self::Warning => log::Level::Warn,
            Self::Error | Self::Exception => log::Level::Error,
        }
    }
}

impl From<Level> for Kind {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Error => Self::Error,
        }
    }
}

/// One standard stream, with the first error that writing to it met.
struct Stream {
    sink: Box<dyn Write + Send>,
    broken: Option<io::Error>,
}

impl Stream {
    fn new(sink: Box<dyn Write + Send>) -> Self {
        Self { sink, broken: None }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.broken.is_none()
            && let Err(error) = self.sink.write_all(bytes).and_then(|()| self.sink.flush())
        {
            self.broken = Some(error);
        }
    }
}

struct State {
    stdout: Stream,
    stderr: Stream,
    document: Map<String, Value>,
    checks: Vec<CheckLine>,
    failed: bool,
    exit_code: Option<u8>,
    raw: bool,
    bar: Option<ProgressBar>,
}

/// The output layer of one run.
pub struct Output {
    settings: Settings,
    state: Mutex<State>,
}

impl Output {
    /// An output on the standard streams of the process.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // The descriptor itself: WAL files are bytes, not lines to be searched for.
        let stdout: Box<dyn Write + Send> = match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => Box::new(File::from(descriptor)),
            Err(_) => Box::new(io::stdout()),
        };
        Self::with_streams(settings, stdout, Box::new(io::stderr()))
    }

    /// An output on other streams than those of the process.
    #[must_use]
    pub fn with_streams(
        settings: Settings,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> Self {
        let state = State {
            stdout: Stream::new(stdout),
            stderr: Stream::new(stderr),
            document: Map::new(),
            checks: Vec::new(),
            failed: false,
            exit_code: None,
            raw: false,
            bar: None,
        };
        Self {
            settings,
            state: Mutex::new(state),
        }
    }

    /// The form in which this output writes.
    #[must_use]
    pub fn format(&self) -> Format {
        self.settings.format
    }

    /// Tells something, and copies it to the log under `target`.
    pub fn info(&self, target: &str, text: &str) {
        self.tell(Kind::Info, target, text, true);
    }

    /// Tells something that the log does not repeat.
    pub fn info_unlogged(&self, text: &str) {
        self.tell(Kind::Info, "", text, false);
    }

    /// A long list of paths, as information that the log does not repeat: written in portions on the console, byte for
    /// byte, and gathered in the document otherwise. It ends when the result is dropped.
    #[must_use]
    pub fn paths(&self) -> Paths<'_> {
        Paths {
            output: self,
            portion: Vec::new(),
        }
    }

    /// Warns.
    pub fn warning(&self, target: &str, text: &str) {
        self.tell(Kind::Warning, target, text, true);
    }

    /// Warns of something that even a Nagios plugin has to say: settings of the program itself.
    pub fn start_up_warning(&self, target: &str, text: &str) {
        if self.settings.format == Format::Nagios {
            let mut state = self.state();
            self.print(&mut state, false, &format!("WARNING: {text}"), None);
        }
        self.tell(Kind::Warning, target, text, true);
    }

    /// Reports a failure that was foreseen: the exit code will be 1.
    pub fn error(&self, target: &str, text: &str) {
        self.tell(Kind::Error, target, text, true);
    }

    /// Reports a failure that nobody foresaw: the exit code will be 1.
    pub fn exception(&self, target: &str, text: &str) {
        self.tell(
            Kind::Exception,
            target,
            &format!("{text}\nSee log file for more details."),
            true,
        );
    }

    /// Says what the user can do about the message before. Console only: it is an addition to Barman's output.
    pub fn hint(&self, text: &str) {
        if self.settings.format == Format::Console {
            let mut state = self.state();
            self.print(&mut state, false, &format!("HINT: {text}"), None);
        }
    }

    /// As [`hint`](Self::hint), about the lines before it: dropped where they are.
    pub fn line_hint(&self, text: &str) {
        if !self.settings.quiet {
            self.hint(text);
        }
    }

    /// Reports an error of an operation in the way its class asks for.
    pub fn failure(&self, target: &str, failure: &dyn Failure) {
        // The text is exact; what is behind it belongs to the hint or the log.
        let text = failure.to_string();
        for cause in causes(failure) {
            log::info!(target: target, "caused by: {cause}");
        }
        match failure.class() {
            Class::Info => self.info(target, &text),
            Class::Error | Class::Interrupted => self.error(target, &text),
            Class::Exception => self.exception(target, &text),
        }
        if let Some(hint) = failure.hint() {
            self.hint(&hint);
        }
        if !matches!(failure.class(), Class::Info) && failure.exit_code() != 1 {
            self.exit_with(failure.exit_code());
        }
    }

    /// A line of a command's result: standard output of the console, nothing elsewhere.
    pub fn line(&self, text: &str) {
        if self.settings.format == Format::Console && !self.settings.quiet {
            let mut state = self.state();
            self.print(&mut state, true, text, None);
        }
    }

    /// A member of the JSON document, at the top level.
    pub fn member(&self, key: &str, value: Value) {
        if self.settings.format == Format::Json {
            self.state()
                .document
                .insert(key.to_owned(), without_secrets(value));
        }
    }

    /// A member of the object that the JSON document has under `key` (made when it is not there).
    pub fn nested_member(&self, key: &str, member: &str, value: Value) {
        if self.settings.format == Format::Json {
            let mut state = self.state();
            let slot = state
                .document
                .entry(key.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(members) = slot {
                members.insert(member.to_owned(), without_secrets(value));
            }
        }
    }

    /// One result of `check`: printed at once on the console, kept for the other forms. Failures of active servers
    /// make the exit code 1.
    pub fn check(&self, line: CheckLine) {
        let result = &line.result;
        if self.settings.format == Format::Console {
            let status = match (result.ok, self.settings.color) {
                (true, true) => format!("{GREEN}OK{RESET}"),
                (false, true) => format!("{RED}FAILED{RESET}"),
                (_, false) => result.status().to_owned(),
            };
            let hint = if result.hint.is_empty() {
                String::new()
            } else {
                format!(" ({})", result.hint)
            };
            self.line(&format!("\t{}: {status}{hint}", result.name));
        } else if self.settings.format == Format::Json {
            let entry = json!({ "hint": result.hint, "status": result.status() });
            self.nested_member(&line.server, &result.key(), entry);
        }
        let mut state = self.state();
        if !result.ok && line.active && self.settings.format != Format::Nagios {
            state.failed = true;
        }
        state.checks.push(line);
    }

    /// Writes bytes to standard output as they are, whatever the format. No JSON document follows them.
    ///
    /// # Errors
    ///
    /// The write failed: unlike messages, the bytes are the purpose of the command.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.raw |= !bytes.is_empty();
        state.stdout.sink.write_all(bytes)
    }

    /// Hands everything that was written to standard output on to its reader.
    ///
    /// # Errors
    ///
    /// The write failed.
    pub fn flush(&self) -> io::Result<()> {
        self.state().stdout.sink.flush()
    }

    /// Writes a text to standard output, whatever the format and however quiet: the help.
    pub fn text(&self, text: &str) {
        self.state().stdout.write(text.as_bytes());
    }

    /// Marks the run as failed without saying anything.
    pub fn fail(&self) {
        self.state().failed = true;
    }

    /// Sets an exit code other than 1 for a failed run. The first one stays.
    pub fn exit_with(&self, code: u8) {
        let mut state = self.state();
        state.failed = true;
        state.exit_code.get_or_insert(code);
    }

    /// Whether something has failed so far.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Writes what belongs to the end, and returns the exit code of the run.
    #[must_use]
    pub fn finish(&self) -> u8 {
        let mut state = self.state();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        match self.settings.format {
            Format::Json if !self.settings.quiet && !state.raw => {
                let document = Value::Object(std::mem::take(&mut state.document));
                let text = json::to_text(&document);
                state.stdout.write(text.as_bytes());
            }
            Format::Nagios => {
                let (text, code) = nagios::verdict(&state.checks, state.failed);
                state.stdout.write(redact(&text).as_bytes());
                state.failed = code != 0;
                state.exit_code = (code != 0).then_some(code);
            }
            Format::Json | Format::Console => {}
        }
        if let Err(error) = state.stdout.sink.flush() {
            state.stdout.broken.get_or_insert(error);
        }
        // A reader that had enough (`| head`) is no failure. A full disk is: somebody will miss what is not there.
        if let Some(error) = state.stdout.broken.take()
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let text = format!("EXCEPTION: cannot write to standard output: {error}\n");
            state.stderr.write(text.as_bytes());
            state.failed = true;
        }
        match (state.failed, state.exit_code) {
            (false, _) => 0,
            (true, code) => code.unwrap_or(1),
        }
    }

    fn tell(&self, kind: Kind, target: &str, text: &str, logged: bool) {
        let mut state = self.state();
        if matches!(kind, Kind::Error | Kind::Exception) {
            state.failed = true;
        }
        let printed = match self.settings.format {
            Format::Console => self.tell_console(&mut state, kind, text),
            Format::Json => {
                if kind != Kind::Debug || self.settings.debug {
                    let list = state
                        .document
                        .entry(kind.json_key())
                        .or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(items) = list {
                        items.push(Value::String(redact(text).into_owned()));
                    }
                }
                if state.raw && matches!(kind, Kind::Error | Kind::Exception) {
                    // The document is lost to the raw bytes on standard output; the reason must not be.
                    self.print(&mut state, false, &format!("{}{text}", kind.prefix()), None);
                }
                false
            }
            Format::Nagios => false,
        };
        drop(state);
        if logged && !printed {
            log::log!(target: target, kind.log_level(), "{text}");
        }
    }

    /// Prints a message; returns whether the log would repeat it on the same stream.
    fn tell_console(&self, state: &mut State, kind: Kind, text: &str) -> bool {
        match kind {
            Kind::Debug if !self.settings.debug => false,
            Kind::Info if self.settings.quiet => false,
            Kind::Info => {
                self.print(state, true, text, None);
                self.settings.log.stdout
            }
            _ => {
                self.print(state, false, &format!("{}{text}", kind.prefix()), kind.color());
                self.settings.log.stderr
            }
        }
    }

    fn print(&self, state: &mut State, to_stdout: bool, text: &str, color: Option<&str>) {
        let text = redact(text);
        let line = match color {
            Some(color) if self.settings.color => format!("{color}{text}{RESET}\n"),
            _ => format!("{text}\n"),
        };
        let State {
            stdout, stderr, bar, ..
        } = state;
        let stream = if to_stdout { stdout } else { stderr };
        match bar {
            Some(bar) => bar.suspend(|| stream.write(line.as_bytes())),
            None => stream.write(line.as_bytes()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many bytes of a list are written at once.
const PORTION: usize = 64 << 10;

/// A list of paths that is being written; see [`Output::paths`].
pub struct Paths<'o> {
    output: &'o Output,
    portion: Vec<u8>,
}

impl Paths<'_> {
    /// The next path. Asks for no more once nobody reads them.
    pub fn push(&mut self, path: &Path) -> ControlFlow<()> {
        let settings = &self.output.settings;
        match settings.format {
            Format::Console if settings.quiet => {}
            Format::Console => {
                let bytes = path.as_os_str().as_bytes();
                match std::str::from_utf8(bytes) {
                    Ok(text) => self.portion.extend_from_slice(redact(text).as_bytes()),
                    Err(_) => self.portion.extend_from_slice(bytes),
                }
                self.portion.push(b'\n');
                if self.portion.len() >= PORTION {
                    return self.flush();
                }
            }
            Format::Json | Format::Nagios => self.output.info_unlogged(&path.to_string_lossy()),
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let mut state = self.output.state();
        if !self.portion.is_empty() {
            state.stdout.write(&self.portion);
            self.portion.clear();
        }
        match state.stdout.broken {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Drop for Paths<'_> {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl Progress for Output {
    fn message(&self, message: Message<'_>) {
        self.tell(message.level.into(), message.target, message.text, message.logged);
    }

    fn begin(&self, what: &str, total: Option<u64>) {
        if !self.settings.progress {
            return;
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = if total.is_some() {
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
        } else {
            "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        self.state().bar = Some(bar);
    }

    fn position(&self, done: u64) {
        if self.settings.progress
            && let Some(bar) = &self.state().bar
        {
            bar.set_position(done);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// The same, with every text in it redacted.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(key, member)| (key, without_secrets(member)))
            .collect(),
        other => other,
    }
}

/// What caused an error, for the log: as far as its own text does not quote it.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let text = error.to_string();
    std::iter::successors(error.source(), |cause| cause.source())
        .map(ToString::to_string)
        .filter(|cause| !text.contains(cause))
        .collect()
}

#[cfg(test)]
mod tests;
