//! The command line: one declarative grammar, and usage errors in Barman's form.

pub mod commands;
pub mod values;

pub use commands::Command;

use barman_core::failure::nearest;
use clap::builder::styling::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// The line of `barman --version`. Scripts compare its first word, the version of Barman whose behaviour this is.
pub const VERSION: &str = concat!(
    "3.20.1 Barman by EnterpriseDB (www.enterprisedb.com), as implemented by barman-rs ",
    env!("CARGO_PKG_VERSION")
);

/// Commands whose work is not there yet: they parse, and are refused by name.
pub const NOT_YET_AVAILABLE: [&str; 6] = [
    "cloud-wal-archive",
    "cloud-wal-restore",
    "put-wal",
    "sync-backup",
    "sync-info",
    "sync-wals",
];

/// Options, by command, whose work is not there yet: the operations refuse them by name.
const OPTIONS_NOT_YET_AVAILABLE: [(&str, &str); 6] = [
    ("backup", "incremental"),
    ("restore", "remote-ssh-command"),
    ("restore", "delta-restore"),
    ("restore", "network-compression"),
    ("restore", "recovery-option-port"),
    ("restore", "snapshot-recovery-instance"),
];

const OVERVIEW: &str = "\
Where to start:
  barman check main                        is everything ready?
  barman receive-wal --create-slot main    prepare WAL streaming
  barman cron                              start what should run; call it every minute
  barman backup main                       take a base backup
  barman list-backups main                 what is there
  barman restore main latest /srv/restored

Options go before the command, its own options behind it. 'barman COMMAND --help' explains a command.";

/// When console output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Never.
    Never,
    /// Always.
    Always,
    /// When standard output and standard error are terminals.
    Auto,
}

/// Values of `--log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// As INFO.
    Notset,
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What to look at.
    Warning,
    /// What failed.
    Error,
    /// What ended the program.
    Critical,
}

/// Values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Lines for people.
    Console,
    /// One JSON object.
    Json,
}

/// Backup and recovery manager for PostgreSQL
#[derive(Debug, Clone, Parser)]
#[command(
    name = "barman",
    version = VERSION,
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    infer_long_args = true,
    args_override_self = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    after_help = OVERVIEW,
    styles = Styles::plain()
)]
pub struct Invocation {
    /// Show the version
    #[arg(short, long, action = ArgAction::Version)]
    version: Option<bool>,
    /// Configuration file (default: $BARMAN_CONFIG_FILE, ~/.barman.conf, /etc/barman.conf, /etc/barman/barman.conf)
    #[arg(short, long, value_name = "PATH", value_parser = values::path())]
    pub config: Option<PathBuf>,
    /// Coloured console output
    #[arg(long, value_enum, default_value = "auto", overrides_with = "colour")]
    pub color: Color,
    /// As --color
    // An argument of its own: `--col` is ambiguous between the two spellings.
    #[arg(long, value_enum, hide = true, overrides_with = "color")]
    colour: Option<Color>,
    /// Level of the log
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// No informational output
    #[arg(short, long)]
    pub quiet: bool,
    /// Show debug messages
    #[arg(short, long)]
    pub debug: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "console")]
    pub format: OutputFormat,
    /// What to do; nothing shows this help
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What a command line asks for without a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Early {
    /// For standard output (exit code 0), or for standard error.
    pub text: String,
    /// 0 for help and version, 2 for usage errors.
    pub exit_code: u8,
}

/// Reads a command line; the first word is the program's name.
///
/// # Errors
///
/// Help, version, or what is wrong with the command line.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, Early> {
    let words: Vec<OsString> = words.into_iter().collect();
    let parsed = grammar()
        .try_get_matches_from(&words)
        .and_then(|matches| Invocation::from_arg_matches(&matches))
        .map_err(|error| early(&error, &words))?;
    Ok(Invocation {
        color: parsed.colour.unwrap_or(parsed.color),
        ..parsed
    })
}

/// The help of the program.
#[must_use]
pub fn help() -> String {
    grammar().render_help().to_string()
}

/// The whole grammar, for parsing, help, completion scripts and the manual.
#[must_use]
pub fn grammar() -> clap::Command {
    adapt(Invocation::command())
}

/// What holds for the program and every command.
fn adapt(command: clap::Command) -> clap::Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let command = if NOT_YET_AVAILABLE.contains(&command.get_name()) {
        command.about(format!("{about} (not yet available)"))
    } else {
        command
    };
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| adapt_argument(&name, arg));
    // One form of help, the one that fits a screen.
    let help = clap::Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::HelpShort)
        .help("Show this help");
    command.arg(help).mut_subcommands(adapt)
}

fn adapt_argument(command: &str, arg: clap::Arg) -> clap::Arg {
    // `-1` is a value, not an option: options are letters here.
    let arg = if arg.get_action().takes_values() {
        arg.allow_negative_numbers(true)
    } else {
        arg
    };
    let long = arg.get_long().unwrap_or_default();
    if !OPTIONS_NOT_YET_AVAILABLE.contains(&(command, long)) {
        return arg;
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} (not yet available)"))
}

fn early(error: &clap::Error, words: &[OsString]) -> Early {
    match error.kind() {
        ErrorKind::DisplayVersion => Early {
            text: format!("{VERSION}\n"),
            exit_code: 0,
        },
        ErrorKind::DisplayHelp => Early {
            text: error.to_string(),
            exit_code: 0,
        },
        _ => Early {
            text: usage_error(error, words),
            exit_code: 2,
        },
    }
}

/// Usage, the reason behind the name of the program and command, and what was probably meant.
fn usage_error(error: &clap::Error, words: &[OsString]) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    let usage = match error.get(ContextKind::Usage) {
        // What clap makes of the words around an unknown option is no usage of any command.
        Some(ContextValue::StyledStr(usage)) if !unknown => usage.to_string(),
        _ if unknown => with_command(words, |_, command| command.render_usage().to_string()),
        _ => usage_of_argument(&argument, words),
    };
    let usage = usage.trim();
    // `Usage: barman backup [OPTIONS] ...` tells which command it was about.
    let program = usage
        .trim_start_matches("Usage:")
        .split_whitespace()
        .take(2)
        .take_while(|word| word.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect::<Vec<_>>()
        .join(" ");
    let misread = unknown.then(|| misread(&argument, words)).flatten();
    let (reason, hints) = match misread {
        Some(Misread::Ambiguous(candidates)) => (
            format!(
                "ambiguous option: {argument} could match {}",
                candidates.join(", ")
            ),
            Vec::new(),
        ),
        Some(Misread::Misplaced) => (
            reason(error),
            vec![format!(
                "'{argument}' is an option of barman itself: put it before the command"
            )],
        ),
        None if error.kind() == ErrorKind::InvalidUtf8 => (not_text(words), Vec::new()),
        None => (reason(error), suggestions(error)),
    };
    let hints = match misspelled_elsewhere(&argument, words) {
        Some(hint) if unknown && hints.is_empty() => vec![hint],
        _ => hints,
    };
    let hints = match of_help(&argument, words) {
        Some(hint) if unknown => vec![hint],
        _ => hints,
    };
    let mut text = format!("{usage}\n{program}: error: {reason}\n");
    for hint in hints {
        text.push_str(&format!("HINT: {hint}\n"));
    }
    text
}

/// Why an option that exists was not understood.
enum Misread {
    /// It is the beginning of several.
    Ambiguous(Vec<String>),
    /// It belongs before the command.
    Misplaced,
}

fn misread(argument: &str, words: &[OsString]) -> Option<Misread> {
    let candidates = |command: &clap::Command| -> Vec<String> {
        command
            .get_arguments()
            .filter_map(|known| match argument.strip_prefix("--") {
                Some(prefix) => known
                    .get_long()
                    .filter(|long| !prefix.is_empty() && long.starts_with(prefix))
                    .map(|long| format!("--{long}")),
                None => known
                    .get_short()
                    .map(|short| format!("-{short}"))
                    .filter(|short| short == argument),
            })
            .collect()
    };
    with_command(words, |root, command| {
        let own = candidates(command);
        if own.len() > 1 {
            return Some(Misread::Ambiguous(own));
        }
        let elsewhere = command.get_name() != root.get_name() && !candidates(root).is_empty();
        elsewhere.then_some(Misread::Misplaced)
    })
}

/// Which word is no text, where one is needed.
fn not_text(words: &[OsString]) -> String {
    match words.iter().find(|word| word.to_str().is_none()) {
        Some(word) => format!("invalid UTF-8 in the argument '{}'", word.to_string_lossy()),
        None => "invalid UTF-8 in the arguments".to_owned(),
    }
}

/// A misspelled option of the program behind a command.
fn misspelled_elsewhere(argument: &str, words: &[OsString]) -> Option<String> {
    let given = argument.strip_prefix("--")?;
    with_command(words, |root, command| {
        let known = root.get_arguments().filter(|known| !known.is_hide_set());
        let meant = nearest(given, known.filter_map(clap::Arg::get_long))?;
        (command.get_name() != root.get_name()).then(|| {
            format!("did you mean --{meant}? It is an option of barman itself: put it before the command")
        })
    })
}

/// `barman help COMMAND` is not a way to ask for it: there is another.
fn of_help(argument: &str, words: &[OsString]) -> Option<String> {
    with_command(words, |root, command| {
        let about_command = command.get_name() == "help" && root.find_subcommand(argument).is_some();
        about_command.then(|| format!("'barman {argument} --help' explains the command"))
    })
}

/// Hands the whole grammar and the command that the words name, or the program, to a function.
fn with_command<T>(words: &[OsString], tell: impl FnOnce(&clap::Command, &mut clap::Command) -> T) -> T {
    let mut grammar = grammar();
    grammar.build();
    let root = grammar.clone();
    let matches = root.clone().ignore_errors(true).try_get_matches_from(words).ok();
    let name = matches.as_ref().and_then(clap::ArgMatches::subcommand_name);
    match name.and_then(|name| grammar.find_subcommand_mut(name)) {
        Some(command) => tell(&root, command),
        None => tell(&root, &mut root.clone()),
    }
}

/// Errors about a value do not tell whose argument it is: it is the sub-command's if that has one of this form.
fn usage_of_argument(argument: &str, words: &[OsString]) -> String {
    with_command(words, |root, command| {
        if command.get_arguments().any(|known| known.to_string() == argument) {
            command.render_usage().to_string()
        } else {
            root.clone().render_usage().to_string()
        }
    })
}

fn reason(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => format!("unrecognized arguments: {argument}"),
        ErrorKind::InvalidSubcommand => format!(
            "invalid command: '{}'",
            context(error, ContextKind::InvalidSubcommand)
        ),
        ErrorKind::MissingRequiredArgument => format!("the following arguments are required: {argument}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("argument {argument}: expected one argument"),
        ErrorKind::InvalidValue => {
            format!(
                "argument {argument}: invalid choice: '{value}' (choose from {})",
                context(error, ContextKind::ValidValue)
            )
        }
        ErrorKind::ValueValidation => match std::error::Error::source(error) {
            Some(source) => format!("argument {argument}: {source}"),
            None => format!("argument {argument}: invalid value: '{value}'"),
        },
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

fn suggestions(error: &clap::Error) -> Vec<String> {
    let found: Vec<String> = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .map(|kind| context(error, kind))
    .filter(|words| !words.is_empty())
    .collect();
    let found = if found.is_empty() {
        in_other_case(error)
    } else {
        found
    };
    found
        .into_iter()
        .map(|words| format!("did you mean {words}?"))
        .collect()
}

/// The choice that was meant by a word in upper or lower case.
fn in_other_case(error: &clap::Error) -> Vec<String> {
    let given = context(error, ContextKind::InvalidValue);
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(choices)) => choices
            .iter()
            .filter(|choice| choice.eq_ignore_ascii_case(&given))
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        // The best suggestion is the last one.
        Some(ContextValue::Strings(list)) if kind == ContextKind::SuggestedSubcommand => list
            .iter()
            .rev()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        Some(ContextValue::Strings(list)) => list.join(", "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
