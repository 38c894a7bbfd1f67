//! What can stand at the cursor: a walk through the grammar. What only the configuration, a catalogue or a directory
//! knows is asked of a [`Source`], and only where it can stand.

use barman_catalog::ids::RESERVED_NAMES;
use clap::{Arg, Command};
use std::collections::HashSet;

/// A word that can stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub word: Vec<u8>,
    /// What it is, for shells that show that; may be empty.
    pub help: String,
}

/// Where names come from that the grammar does not know.
pub trait Source {
    /// Why there are none.
    type Error;

    /// The servers of the configuration.
    ///
    /// # Errors
    ///
    /// There is no configuration to be read.
    fn servers(&self, config: Option<&[u8]>) -> Result<Vec<String>, Self::Error>;

    /// The ids of a server's backups, newest first.
    ///
    /// # Errors
    ///
    /// There is no such server, or its catalogue cannot be read.
    fn backups(&self, config: Option<&[u8]>, server: &[u8]) -> Result<Vec<String>, Self::Error>;

    /// Files and directories that begin so, as they are to be typed; directories end with a slash.
    fn files(&self, beginning: &[u8]) -> Vec<Vec<u8>>;
}

/// What was read of a line.
struct Read<'a> {
    command: Option<&'a Command>,
    /// The value of `--config`.
    config: Option<Vec<u8>>,
    /// The arguments of the command that are no options.
    given: Vec<Vec<u8>>,
    /// The option whose value comes next.
    awaited: Option<&'a Arg>,
    /// Behind `--`.
    only_arguments: bool,
}

/// The words that can stand behind those (without the program's name) and begin so.
///
/// # Errors
///
/// What `source` says.
pub fn find<S: Source>(
    grammar: &Command,
    before: &[Vec<u8>],
    current: &[u8],
    source: &S,
) -> Result<Vec<Candidate>, S::Error> {
    let mut read = Read {
        command: None,
        config: None,
        given: Vec::new(),
        awaited: None,
        only_arguments: false,
    };
    for word in before {
        read.word(grammar, word);
    }
    let command = read.command.unwrap_or(grammar);
    let mut found = Vec::new();
    if let Some(option) = read.awaited {
        found = read.values(option, current, source)?;
        if !is_optional(option) {
            return Ok(beginning_with(current, found));
        }
    }
    if !read.only_arguments {
        if let Some((option, head, value)) = joined(command, current) {
            for candidate in read.values(option, value, source)? {
                let word = [head, &candidate.word].concat();
                found.push(Candidate { word, ..candidate });
            }
            return Ok(beginning_with(current, found));
        }
        if current.starts_with(b"-") {
            return Ok(beginning_with(current, options(command)));
        }
    }
    match read.command {
        None => found.extend(commands(grammar)),
        Some(command) => {
            if let Some(argument) = positional(command, read.given.len()) {
                found.extend(read.values(argument, current, source)?);
            }
        }
    }
    if current.is_empty() && !read.only_arguments {
        found.extend(options(command));
    }
    Ok(beginning_with(current, found))
}

impl<'a> Read<'a> {
    fn word(&mut self, grammar: &'a Command, word: &[u8]) {
        let command = self.command.unwrap_or(grammar);
        let is_option = word.starts_with(b"-") && word.len() > 1 && !self.only_arguments;
        if let Some(option) = self.awaited.take()
            && !(is_option && is_optional(option))
        {
            self.value(option, word);
        } else if !is_option {
            self.argument(grammar, word);
        } else if word == b"--" {
            self.only_arguments = true;
        } else if let Some((option, _, value)) = joined(command, word) {
            self.value(option, value);
        } else if let Some(name) = word.strip_prefix(b"--") {
            self.awaited = long(command, name).filter(|option| takes_value(option));
        } else {
            self.short_options(command, word);
        }
    }

    /// `-qfjson` is `-q -f json`.
    fn short_options(&mut self, command: &'a Command, word: &[u8]) {
        for (at, &letter) in word.iter().enumerate().skip(1) {
            let option = command.get_arguments().find(|option| {
                let shorts = option.get_short_and_visible_aliases().unwrap_or_default();
                shorts.contains(&char::from(letter))
            });
            let Some(option) = option.filter(|option| takes_value(option)) else {
                continue;
            };
            match word.get(at + 1..) {
                Some(value) if !value.is_empty() => self.value(option, value),
                _ => self.awaited = Some(option),
            }
            return;
        }
    }

    fn value(&mut self, option: &Arg, value: &[u8]) {
        if self.command.is_none() && option.get_long() == Some("config") {
            self.config = Some(value.to_vec());
        }
    }

    fn argument(&mut self, grammar: &'a Command, word: &[u8]) {
        if self.command.is_some() {
            self.given.push(word.to_vec());
        } else {
            self.command = grammar
                .get_subcommands()
                .find(|command| names(command).any(|name| name.as_bytes() == word));
        }
    }

    /// What can stand for an option's value or an argument.
    fn values<S: Source>(&self, arg: &Arg, current: &[u8], source: &S) -> Result<Vec<Candidate>, S::Error> {
        let choices = arg.get_possible_values();
        if !choices.is_empty() && arg.get_action().takes_values() {
            return Ok(choices
                .iter()
                .map(|choice| candidate(choice.get_name(), choice.get_help().map(ToString::to_string)))
                .collect());
        }
        let plain = |word: String| candidate(&word, None);
        let name = arg.get_value_names().and_then(<[_]>::first);
        let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        let config = self.config.as_deref();
        Ok(match name.map(clap::builder::Str::as_str) {
            Some("SERVER") if many => {
                let all = self.given.is_empty().then(|| "all".to_owned());
                let servers = source.servers(config)?.into_iter().chain(all);
                servers
                    .filter(|name| self.given.iter().all(|given| given != name.as_bytes()))
                    .map(plain)
                    .collect()
            }
            Some("SERVER") => source.servers(config)?.into_iter().map(plain).collect(),
            Some("BACKUP_ID") => {
                let Some(server) = self.given.first() else {
                    return Ok(Vec::new());
                };
                let ids = source.backups(config, server)?;
                // Behind the ids (`cli.md` 18).
                let shortcuts = RESERVED_NAMES.iter().filter(|_| !ids.is_empty());
                let shortcuts: Vec<String> = shortcuts.map(|word| (*word).to_owned()).collect();
                ids.into_iter().chain(shortcuts).map(plain).collect()
            }
            Some(
                "PATH"
                | "DIR"
                | "DESTINATION_DIRECTORY"
                | "OUTPUT_DIRECTORY"
                | "TARBALL"
                | "WAL_PATH"
                | "WAL_DEST",
            ) => {
                let files = source.files(current).into_iter();
                files
                    .map(|word| Candidate {
                        word,
                        help: String::new(),
                    })
                    .collect()
            }
            _ => Vec::new(),
        })
    }
}

/// The argument at a place: the last one stays if it can be repeated.
fn positional(command: &Command, at: usize) -> Option<&Arg> {
    let last = command.get_positionals().last();
    let repeated = last.filter(|arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1));
    command.get_positionals().nth(at).or(repeated)
}

/// `--option=value`: the option, its part with `=`, the value.
fn joined<'a, 'w>(command: &'a Command, word: &'w [u8]) -> Option<(&'a Arg, &'w [u8], &'w [u8])> {
    let name = word.strip_prefix(b"--")?;
    let equals = name.iter().position(|byte| *byte == b'=')?;
    let option = long(command, name.get(..equals)?).filter(|option| takes_value(option))?;
    let (head, value) = word.split_at_checked(equals + b"--=".len())?;
    Some((option, head, value))
}

/// A long option by its name, or by a beginning that no other one has.
fn long<'a>(command: &'a Command, name: &[u8]) -> Option<&'a Arg> {
    let known = |option: &&Arg| {
        option
            .get_long()
            .is_some_and(|long| long.as_bytes().starts_with(name))
    };
    let mut candidates: Vec<&Arg> = command.get_arguments().filter(known).collect();
    candidates.sort_by_key(|option| option.get_long().map_or(0, str::len));
    match candidates.as_slice() {
        [only] => Some(only),
        [first, ..] if first.get_long().is_some_and(|long| long.as_bytes() == name) => Some(first),
        _ => None,
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

/// The value of `--reuse-backup` need not follow.
fn is_optional(option: &Arg) -> bool {
    option.get_num_args().is_some_and(|count| count.min_values() == 0)
}

fn names(command: &Command) -> impl Iterator<Item = &str> {
    std::iter::once(command.get_name()).chain(command.get_all_aliases())
}

fn commands(grammar: &Command) -> impl Iterator<Item = Candidate> {
    grammar.get_subcommands().flat_map(|command| {
        let help = command.get_about().map(ToString::to_string);
        names(command).map(move |name| candidate(name, help.clone()))
    })
}

/// Every spelling of every option.
fn options(command: &Command) -> Vec<Candidate> {
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    options
        .flat_map(|option| {
            let long = option.get_long().map(|long| format!("--{long}"));
            let shorts = option.get_short_and_visible_aliases().unwrap_or_default();
            let shorts = shorts.into_iter().map(|short| format!("-{short}"));
            let help = option.get_help().map(ToString::to_string);
            shorts
                .chain(long)
                .map(move |spelling| candidate(&spelling, help.clone()))
        })
        .collect()
}

fn candidate(word: &str, help: Option<String>) -> Candidate {
    Candidate {
        word: word.as_bytes().to_vec(),
        help: help.unwrap_or_default(),
    }
}

/// Those that begin so, each word once.
fn beginning_with(current: &[u8], mut found: Vec<Candidate>) -> Vec<Candidate> {
    let mut known = HashSet::new();
    found.retain(|candidate| candidate.word.starts_with(current) && known.insert(candidate.word.clone()));
    found
}
