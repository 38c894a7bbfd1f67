//! Every command of Barman with the exit codes that it can end with (`cli.md` 4, 9 and the sections of the commands), and how much of that the
//! scenarios of a run have seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A command and its exit codes.
#[derive(Debug)]
pub struct Entry {
    /// Its main name.
    pub command: &'static str,
    /// Its other names.
    pub aliases: &'static [&'static str],
    /// Exit codes; a signal is 128 plus its number.
    pub codes: &'static [i32],
    /// Whether our program has it.
    pub available: bool,
}

const fn entry(command: &'static str, codes: &'static [i32]) -> Entry {
    Entry {
        command,
        aliases: &[],
        codes,
        available: true,
    }
}

const fn also(command: &'static str, aliases: &'static [&'static str], codes: &'static [i32]) -> Entry {
    Entry {
        command,
        aliases,
        codes,
        available: true,
    }
}

/// A command that our program refuses by name.
const fn later(command: &'static str, aliases: &'static [&'static str], codes: &'static [i32]) -> Entry {
    Entry {
        command,
        aliases,
        codes,
        available: false,
    }
}

/// The command line without a command: `--help`, `--version`, usage errors, errors of the start.
pub const NO_COMMAND: &str = "(none)";

/// The inventory. Not listed: death by a signal that says nothing about the command.
pub const INVENTORY: [Entry; 39] = [
    entry(NO_COMMAND, &[0, 1, 2]),
    entry("archive-wal", &[0, 1, 2, 143]),
    entry("backup", &[0, 1, 2, 143]),
    entry("check", &[0, 1, 2]),
    entry("check-archived-wal-range", &[0, 1, 2]),
    entry("check-backup", &[0, 1, 2]),
    entry("check-wal-archive", &[0, 1, 2]),
    later("cloud-wal-archive", &[], &[0, 1, 2]),
    later("cloud-wal-restore", &[], &[0, 1, 2]),
    entry("config-switch", &[0, 1, 2]),
    entry("config-update", &[0, 1, 2]),
    entry("cron", &[0, 1, 2]),
    entry("delete", &[0, 1, 2, 143]),
    entry("diagnose", &[0, 1, 2]),
    entry("export-backup", &[0, 1, 2]),
    entry("generate-manifest", &[0, 1, 2]),
    entry("get-wal", &[0, 1, 2, 3]),
    entry("help", &[0, 1, 2]),
    entry("import-backup", &[0, 1, 2]),
    entry("keep", &[0, 1, 2]),
    also("list-backups", &["list-backup"], &[0, 1, 2]),
    entry("list-files", &[0, 1, 2]),
    also("list-processes", &["list-process"], &[0, 1, 2]),
    also("list-servers", &["list-server"], &[0, 1, 2]),
    entry("lock-directory-cleanup", &[0, 1, 2]),
    later("put-wal", &[], &[0, 1, 2]),
    entry("rebuild-xlogdb", &[0, 1, 2]),
    entry("receive-wal", &[0, 1, 2, 143]),
    entry("replication-status", &[0, 1, 2]),
    also("restore", &["recover"], &[0, 1, 2, 143]),
    also("show-backup", &["show-backups"], &[0, 1, 2]),
    also("show-servers", &["show-server"], &[0, 1, 2]),
    entry("status", &[0, 1, 2]),
    also("switch-wal", &["switch-xlog"], &[0, 1, 2]),
    later("sync-backup", &[], &[0, 1, 2]),
    later("sync-info", &[], &[0, 1, 2]),
    later("sync-wals", &[], &[0, 1, 2]),
    entry("terminate-process", &[0, 1, 2]),
    also("verify-backup", &["verify"], &[0, 1, 2]),
];

/// What no scenario shows of the available commands, and why.
const UNSEEN: [(&str, i32, &str); 1] = [(
    "backup",
    143,
    "ours ends with 1 wherever SIGTERM finds it (all-8), as Barman does while it copies",
)];

/// Global options that take a value.
const WITH_VALUE: [&str; 6] = ["-c", "--config", "-f", "--format", "--log-level", "--color"];

/// The main name of the command of a command line. Help and version are the program's, whatever command stands before them.
pub fn command_of(args: &[String]) -> &'static str {
    if args
        .iter()
        .any(|arg| ["-h", "--help", "-v", "--version"].contains(&arg.as_str()))
    {
        return NO_COMMAND;
    }
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            let known = |entry: &&Entry| entry.command == word || entry.aliases.contains(&word);
            return INVENTORY
                .iter()
                .find(known)
                .map_or(NO_COMMAND, |entry| entry.command);
        }
    }
    NO_COMMAND
}

/// Where the inventory and the help of our program disagree about what is not yet available.
pub fn stale(help: &str) -> Vec<String> {
    let marked = |command: &str| {
        let mut lines = help
            .lines()
            .skip_while(|line| line.split_whitespace().next() != Some(command));
        let first = lines.next()?;
        // A long description goes on in lines that are indented further.
        let rest = lines.take_while(|line| line.starts_with("      "));
        let words: Vec<&str> = std::iter::once(first)
            .chain(rest)
            .flat_map(str::split_whitespace)
            .collect();
        Some(words.join(" ").contains("(not yet available)"))
    };
    let judge = |entry: &Entry| match marked(entry.command) {
        None => Some(format!("the help does not name {}", entry.command)),
        Some(true) if entry.available => Some(format!(
            "the help calls {} not yet available, the inventory of the conformance scenarios does not",
            entry.command
        )),
        Some(false) if !entry.available => Some(format!(
            "{} is available now: say so in the inventory of the conformance scenarios, and compare it with the oracle",
            entry.command
        )),
        Some(_) => None,
    };
    INVENTORY
        .iter()
        .filter(|entry| entry.command != NO_COMMAND)
        .filter_map(judge)
        .collect()
}

/// What was seen: the scenarios that made a command end with an exit code in both programs.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<(&'static str, i32), BTreeSet<&'static str>>);

impl Coverage {
    /// Notes that both programs ended these arguments with this code.
    pub fn note(&mut self, scenario: &'static str, args: &[String], code: i32) {
        self.0
            .entry((command_of(args), code))
            .or_default()
            .insert(scenario);
    }

    /// Adds what another one has seen.
    pub fn add(&mut self, other: Self) {
        for (key, scenarios) in other.0 {
            self.0.entry(key).or_default().extend(scenarios);
        }
    }

    fn seen(&self, command: &str, code: i32) -> usize {
        let of = |((c, n), _): &(&(&str, i32), &BTreeSet<&str>)| *c == command && *n == code;
        self.0.iter().find(of).map_or(0, |(_, scenarios)| scenarios.len())
    }

    /// Commands that our program has and no scenario ran to success, and exit codes that the inventory does not know.
    pub fn faults(&self) -> Vec<String> {
        let untested = INVENTORY
            .iter()
            .filter(|entry| entry.available && self.seen(entry.command, 0) == 0)
            .map(|entry| {
                format!(
                    "{} is available, but no scenario runs it to success",
                    entry.command
                )
            });
        let unknown = self.0.keys().filter_map(|(command, code)| {
            let entry = INVENTORY.iter().find(|entry| entry.command == *command)?;
            (!entry.codes.contains(code))
                .then(|| format!("{command} ended with {code}, which the inventory does not know"))
        });
        let reason = |command: &str, code: i32| UNSEEN.iter().any(|(c, n, _)| *c == command && *n == code);
        let unseen = INVENTORY
            .iter()
            .filter(|entry| entry.available)
            .flat_map(|entry| entry.codes.iter().map(|code| (entry.command, *code)))
            .filter(move |(command, code)| {
                *code != 0 && (self.seen(command, *code) == 0) != reason(command, *code)
            })
            .map(|(command, code)| match self.seen(command, code) {
                0 => format!("no scenario ends {command} with {code}, and no reason is given for that"),
                _ => format!("{command} is seen to end with {code}: take it out of what is not seen"),
            });
        untested.chain(unknown).chain(unseen).collect()
    }

    /// The table, and how much of it is covered.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "Coverage: scenarios for each command and exit code (`.` none yet, blank: the command never ends so)\n",
        );
        let codes: BTreeSet<i32> = INVENTORY.iter().flat_map(|entry| entry.codes).copied().collect();
        let _ = write!(text, "  {:26}", "command");
        for code in &codes {
            let _ = write!(text, "{code:>5}");
        }
        text.push('\n');
        for entry in INVENTORY {
            let _ = write!(text, "  {:26}", entry.command);
            for code in &codes {
                let cell = match (entry.codes.contains(code), self.seen(entry.command, *code)) {
                    (false, _) => String::new(),
                    (true, 0) => ".".to_owned(),
                    (true, n) => n.to_string(),
                };
                let _ = write!(text, "{cell:>5}");
            }
            text.push_str(if entry.available {
                "\n"
            } else {
                "  not yet available\n"
            });
        }
        for (command, code, why) in UNSEEN {
            let _ = writeln!(text, "  Not seen: {command} with exit code {code}: {why}");
        }
        let share = |entries: &mut dyn Iterator<Item = &Entry>| {
            let (mut seen, mut all) = (0, 0);
            for entry in entries {
                all += entry.codes.len();
                seen += entry
                    .codes
                    .iter()
                    .filter(|code| self.seen(entry.command, **code) > 0)
                    .count();
            }
            format!(
                "{seen} of {all} ({}%)",
                (100 * seen).checked_div(all).unwrap_or(0)
            )
        };
        let _ = writeln!(
            text,
            "  {} of the available commands' exit codes, {} of all commands'",
            share(&mut INVENTORY.iter().filter(|entry| entry.available)),
            share(&mut INVENTORY.iter()),
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_is_behind_the_global_options() {
        let cases = [
            ("list-servers", "list-servers"),
            ("-f json -q show-backups main latest", "show-backup"),
            ("--format=json recover main latest x", "restore"),
            ("--log-level DEBUG cron", "cron"),
            ("--version", NO_COMMAND),
            ("status --help", NO_COMMAND),
            ("", NO_COMMAND),
            ("nonsense", NO_COMMAND),
        ];
        for (line, expected) in cases {
            assert_eq!(command_of(&args(line)), expected, "{line}");
        }
    }

    #[test]
    fn the_inventory_has_each_command_once() {
        let names: BTreeSet<&str> = INVENTORY
            .iter()
            .flat_map(|e| e.aliases.iter().chain([&e.command]))
            .copied()
            .collect();
        let aliases: usize = INVENTORY.iter().map(|entry| entry.aliases.len()).sum();
        assert_eq!(names.len(), INVENTORY.len() + aliases);
    }

    #[test]
    fn the_help_must_agree_about_what_is_there() {
        let help: String = INVENTORY
            .iter()
            .map(|entry| {
                format!(
                    "  {:24}  Does something{}\n",
                    entry.command,
                    if entry.available {
                        ""
                    } else {
                        " (not yet\n                            available)"
                    }
                )
            })
            .collect();
        assert_eq!(stale(&help), [""; 0]);
        let help = help.replacen(
            "  sync-wals                 Does something (not yet\n                            available)",
            "  sync-wals                 Does something",
            1,
        );
        assert_eq!(stale(&help).len(), 1);
    }

    #[test]
    fn what_is_available_must_have_succeeded() {
        let mut coverage = Coverage::default();
        for entry in INVENTORY.iter().filter(|entry| entry.available) {
            let name = if entry.command == NO_COMMAND {
                ""
            } else {
                entry.command
            };
            for code in entry.codes {
                if !UNSEEN.iter().any(|(c, n, _)| *c == entry.command && n == code) {
                    coverage.note("x", &args(name), *code);
                }
            }
        }
        assert_eq!(coverage.faults(), [""; 0]);
        coverage.note("x", &args("cron"), 7);
        coverage.0.remove(&("delete", 0));
        coverage.0.remove(&("get-wal", 3));
        coverage.note("x", &args("backup"), 143);
        assert_eq!(
            coverage.faults(),
            [
                "delete is available, but no scenario runs it to success",
                "cron ended with 7, which the inventory does not know",
                "backup is seen to end with 143: take it out of what is not seen",
                "no scenario ends get-wal with 3, and no reason is given for that"
            ]
        );
        assert!(coverage.table().contains(&format!("\n  {:26}    .", "delete")));
    }
}
