//! Completion of command lines, made of the grammar: commands, options, choices, servers, backups and files.
//!
//! The program is asked as Python's argcomplete does (`cli.md` 18), so that what is registered for Barman
//! (`register-python-argcomplete`) goes on working: the environment has the line, and the answer goes to descriptor 8.
//! The script for bash asks in the same way. Nothing is printed or logged, no server is connected to.

pub mod candidates;
pub mod line;

use crate::{args, environment, user};
use barman_catalog::{BackupStatus, Catalog};
use barman_core::Server;
use barman_core::config::{self, Config, MainFile, Search};
use candidates::{Candidate, Source};
use line::{Line, Quoting};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The script, to be read by bash.
pub const BASH: &str = include_str!("bash.sh");

/// What argcomplete puts between candidates unless it is told otherwise.
const SEPARATOR: u8 = 0x0b;

/// How long a full pipe is waited for: shells read at once.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// What the environment asks for, as it is there.
#[derive(Debug, Default)]
pub struct Variables {
    /// `_ARGCOMPLETE`: at which word of the line the program stands, from 1 on.
    pub start: OsString,
    /// `COMP_LINE`.
    pub line: Option<OsString>,
    /// `COMP_POINT`: how many characters stand before the cursor.
    pub point: Option<OsString>,
    /// `_ARGCOMPLETE_SHELL`.
    pub shell: Option<OsString>,
    /// `_ARGCOMPLETE_IFS`: what stands between candidates.
    pub separator: Option<OsString>,
    /// `_ARGCOMPLETE_DFS`: what stands between a candidate and its description, if that is asked for.
    pub description: Option<OsString>,
    /// `_ARGCOMPLETE_COMP_WORDBREAKS`.
    pub breaks: Option<OsString>,
    /// `_ARGCOMPLETE_SUPPRESS_SPACE`: `1` if the shell puts a blank behind the only candidate.
    pub suppress_space: Option<OsString>,
    /// `_ARGCOMPLETE_STDOUT_FILENAME`: where the answer goes instead of descriptor 8.
    pub output: Option<OsString>,
}

/// Whatever is in the way. The shell shows nothing, so there is nothing to tell.
struct Nothing;

/// Answers, and returns the exit code: 1 if there can be no answer.
#[must_use]
pub fn answer(variables: &Variables) -> u8 {
    match try_answer(variables) {
        Ok(()) => 0,
        Err(Nothing) => 1,
    }
}

fn try_answer(variables: &Variables) -> Result<(), Nothing> {
    // Before the user changes, to whom the pipe may not belong.
    let output = open_output(variables.output.as_deref())?;
    let text = respond(variables)?;
    write(&output, &text, PATIENCE)
}

fn open_output(name: Option<&OsStr>) -> Result<File, Nothing> {
    let mut options = OpenOptions::new();
    // Of this description only; the shell's own goes on waiting.
    options.custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0));
    let opened = match name {
        Some(name) => options.write(true).create(true).truncate(true).open(name),
        None => options.append(true).open("/proc/self/fd/8"),
    };
    opened.map_err(|_| Nothing)
}

/// Writes to what may be a pipe that nobody reads: who types must not wait for it.
fn write(mut output: &File, mut text: &[u8], patience: Timespec) -> Result<(), Nothing> {
    while !text.is_empty() {
        match output.write(text) {
            Ok(0) => return Err(Nothing),
            Ok(count) => text = text.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(output, PollFlags::OUT)], Some(&patience)) {
                    Ok(0) => return Err(Nothing),
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return Err(Nothing),
                }
            }
            Err(_) => return Err(Nothing),
        }
    }
    Ok(())
}

fn respond(variables: &Variables) -> Result<Vec<u8>, Nothing> {
    let start: i64 = number(Some(&variables.start))?;
    let point: i64 = number(variables.point.as_deref())?;
    let text = variables.line.as_deref().ok_or(Nothing)?.as_bytes();
    let separator = single(variables.separator.as_deref())?.unwrap_or(SEPARATOR);
    let shell = variables
        .shell
        .as_deref()
        .and_then(OsStr::to_str)
        .unwrap_or("bash");
    let description = single(variables.description.as_deref())?.or((shell == "zsh").then_some(b':'));
    let Ok(point) = usize::try_from(point) else {
        return Ok(Vec::new());
    };
    let breaks = variables.breaks.as_deref().unwrap_or_default().as_bytes();
    let line = Line::parse(before_cursor(text, point), breaks);
    let Some(before) = usize::try_from(start)
        .ok()
        .and_then(|start| line.before.get(start..))
    else {
        // The cursor stands in the name of the program.
        return Ok(Vec::new());
    };
    let found = candidates::find(&args::grammar(), before, &line.current, &Machine)?;
    let quoting = match shell {
        "fish" | "tcsh" => Quoting::Plain,
        "powershell" => Quoting::Escaped(b'`'),
        _ => Quoting::Escaped(b'\\'),
    };
    let mut words: Vec<Vec<u8>> = found
        .iter()
        .filter_map(|candidate| {
            let spelled = line.spelled(&candidate.word, quoting)?;
            let word = described(spelled, candidate, description);
            (!word.contains(&separator)).then_some(word)
        })
        .collect();
    let shell_adds_space = variables.suppress_space.as_deref() == Some(OsStr::new("1"));
    if let [only] = words.as_mut_slice()
        && !shell_adds_space
        && description.is_none()
        && line.is_unquoted()
        && !only.ends_with(b"/")
    {
        only.push(b' ');
    }
    Ok(words.join(&separator))
}

/// The first characters of a line. One that is not UTF-8 has bytes for characters.
fn before_cursor(line: &[u8], characters: usize) -> &[u8] {
    let bytes = match std::str::from_utf8(line) {
        Ok(text) => text.char_indices().nth(characters).map(|(at, _)| at),
        Err(_) => Some(characters),
    };
    bytes.and_then(|end| line.get(..end)).unwrap_or(line)
}

/// The word with its description behind it, in one line; in the word itself the sign between both is escaped.
fn described(word: Vec<u8>, candidate: &Candidate, separator: Option<u8>) -> Vec<u8> {
    let Some(separator) = separator else {
        return word;
    };
    let mut described = Vec::new();
    for byte in word {
        if byte == separator {
            described.push(b'\\');
        }
        described.push(byte);
    }
    described.push(separator);
    let help: Vec<&str> = candidate.help.split_whitespace().collect();
    described.extend_from_slice(help.join(" ").as_bytes());
    described
}

fn number(text: Option<&OsStr>) -> Result<i64, Nothing> {
    let text = text.and_then(OsStr::to_str).ok_or(Nothing)?;
    text.trim().parse().map_err(|_| Nothing)
}

/// A value of one byte.
fn single(value: Option<&OsStr>) -> Result<Option<u8>, Nothing> {
    match value.map(OsStrExt::as_bytes) {
        None => Ok(None),
        Some([byte]) => Ok(Some(*byte)),
        Some(_) => Err(Nothing),
    }
}

/// This machine: its configuration, catalogues and files.
struct Machine;

impl Source for Machine {
    type Error = Nothing;

    fn servers(&self, config: Option<&[u8]>) -> Result<Vec<String>, Nothing> {
        let config = read_config(config)?;
        Ok(config.servers.into_iter().map(|server| server.name).collect())
    }

    fn backups(&self, config: Option<&[u8]>, server: &[u8]) -> Result<Vec<String>, Nothing> {
        let config = read_config(config)?;
        let name = std::str::from_utf8(server).map_err(|_| Nothing)?;
        let server = config.server(name).ok_or(Nothing)?;
        let catalog = Catalog::load(Server::new(server.clone()).layout()).map_err(|_| Nothing)?;
        let useful = catalog
            .usable()
            .filter(|backup| matches!(backup.status, BackupStatus::Done | BackupStatus::WaitingForWals));
        Ok(useful.rev().map(|backup| backup.id.to_string()).collect())
    }

    fn files(&self, beginning: &[u8]) -> Vec<Vec<u8>> {
        let end = beginning
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        let (typed, name) = beginning.split_at_checked(end).unwrap_or_default();
        let directory = match (typed, environment::home()) {
            (b"", _) => PathBuf::from("."),
            (typed, Some(home)) if typed.starts_with(b"~/") => {
                home.join(OsStr::from_bytes(typed.strip_prefix(b"~/").unwrap_or_default()))
            }
            (typed, _) => PathBuf::from(OsStr::from_bytes(typed)),
        };
        let Ok(entries) = std::fs::read_dir(&directory) else {
            return Vec::new();
        };
        let mut files: Vec<Vec<u8>> = entries
            .flatten()
            .filter(|entry| entry.file_name().as_bytes().starts_with(name))
            .map(|entry| {
                let mut word = [typed, entry.file_name().as_bytes()].concat();
                if directory.join(entry.file_name()).is_dir() {
                    word.push(b'/');
                }
                word
            })
            .collect();
        files.sort();
        files
    }
}

/// The configuration as the program itself reads it, but without its log.
fn read_config(option: Option<&[u8]>) -> Result<Config, Nothing> {
    let (variable, home) = (environment::config_file(), environment::home());
    let option = option.map(|typed| expanded(typed, home.as_deref()));
    let search = Search {
        option: option.as_deref(),
        environment: variable.as_deref(),
        home: home.as_deref(),
    };
    let path = config::locate(&search).map_err(|_| Nothing)?;
    // A command may read a pipe or a terminal (`-c /dev/stdin`), and wait for it.
    if !path.is_file() {
        return Err(Nothing);
    }
    let main = MainFile::read(&path).map_err(|_| Nothing)?;
    user::switch_to(&main.globals.barman_user).map_err(|_| Nothing)?;
    main.complete(environment::home().as_deref()).map_err(|_| Nothing)
}

/// What the shell would make of `~/` if the line were run.
fn expanded(typed: &[u8], home: Option<&Path>) -> PathBuf {
    match (typed.strip_prefix(b"~/"), home) {
        (Some(rest), Some(home)) => home.join(OsStr::from_bytes(rest)),
        _ => PathBuf::from(OsString::from_vec(typed.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::io::Read;

    /// More than a pipe holds, to somebody who reads late, and to nobody.
    #[test]
    fn a_full_pipe_is_waited_for_but_not_for_ever() {
        let text: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let pipe = || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
            rustix::fs::fcntl_setfl(&reader, OFlags::empty()).unwrap();
            (File::from(reader), File::from(writer))
        };
        let (mut reader, writer) = pipe();
        let reading = std::thread::spawn(move || {
            let mut found = Vec::new();
            reader.read_to_end(&mut found).map(|_| found)
        });
        let minute = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert!(write(&writer, &text, minute).is_ok());
        drop(writer);
        assert!(reading.join().unwrap().unwrap() == text);

        let (_reader, writer) = pipe();
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        assert!(write(&writer, &text, moment).is_err());
    }
}
