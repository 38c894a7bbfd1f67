//! The command line of `patroni_barman` as typed values.

use crate::parser::{Check, Grammar, Matches, OptionSpec, PositionalSpec, integer};
use std::ffi::OsString;
use std::path::PathBuf;

const HELP: OptionSpec = OptionSpec {
    names: &["-h", "--help"],
    value: None,
    check: Check::Text,
    required: false,
    help: "show this help message and exit",
};

const fn option(
    names: &'static [&'static str],
    value: &'static str,
    check: Check,
    required: bool,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        names,
        value: Some(value),
        check,
        required,
        help,
    }
}

const PROGRAM: Grammar = Grammar {
    program: "patroni_barman",
    about: "Restores from a Barman host, and switches configuration models, through pg-backup-api.",
    options: &[
        HELP,
        option(
            &["--api-url"],
            "API_URL",
            Check::Text,
            true,
            "URL of the API, such as http://localhost:7480",
        ),
        option(
            &["--cert-file"],
            "CERT_FILE",
            Check::Text,
            false,
            "client certificate (https)",
        ),
        option(
            &["--key-file"],
            "KEY_FILE",
            Check::Text,
            false,
            "key of the client certificate (https)",
        ),
        option(
            &["--retry-wait"],
            "RETRY_WAIT",
            Check::Integer,
            false,
            "seconds after a malformed answer (default: 2)",
        ),
        option(
            &["--max-retries"],
            "MAX_RETRIES",
            Check::Integer,
            false,
            "attempts per call when answers are malformed (default: 5)",
        ),
        option(
            &["--log-file"],
            "LOG_FILE",
            Check::Text,
            false,
            "file to append the log to (default: standard error)",
        ),
    ],
    positionals: &[PositionalSpec {
        name: "{recover,config-switch}",
        check: Check::Choice(&["recover", "config-switch"]),
        help: "restore a backup; switch the configuration model",
    }],
    has_commands: true,
    exactly_one: None,
    epilogue: "Example:\n  patroni_barman --api-url http://barman:7480 recover --barman-server main \\\n    --ssh-command 'ssh postgres@node1' --data-directory /var/lib/postgresql/data",
};

const RECOVER: Grammar = Grammar {
    program: "patroni_barman recover",
    about: "Restores a backup into the data directory of this node, for bootstrap and replica creation.",
    options: &[
        HELP,
        option(
            &["--barman-server"],
            "BARMAN_SERVER",
            Check::Text,
            true,
            "server as configured in Barman",
        ),
        option(
            &["--backup-id"],
            "BACKUP_ID",
            Check::Text,
            false,
            "backup to restore (default: latest)",
        ),
        option(
            &["--ssh-command"],
            "SSH_COMMAND",
            Check::Text,
            true,
            "how the Barman host reaches this node",
        ),
        option(
            &["--data-directory", "--datadir"],
            "DATA_DIRECTORY",
            Check::Text,
            true,
            "destination on this node",
        ),
        option(
            &["--loop-wait"],
            "LOOP_WAIT",
            Check::Integer,
            false,
            "seconds between two polls (default: 10)",
        ),
    ],
    positionals: &[],
    has_commands: false,
    exactly_one: None,
    epilogue: "Arguments that Patroni adds and this program does not know are ignored.",
};

const CONFIG_SWITCH: Grammar = Grammar {
    program: "patroni_barman config-switch",
    about: "Applies a configuration model to a server when the role of this node changes.",
    options: &[
        HELP,
        option(
            &["--barman-server"],
            "BARMAN_SERVER",
            Check::Text,
            true,
            "server as configured in Barman",
        ),
        option(
            &["--barman-model"],
            "BARMAN_MODEL",
            Check::Text,
            false,
            "model to apply",
        ),
        OptionSpec {
            names: &["--reset"],
            value: None,
            check: Check::Text,
            required: false,
            help: "take the active model back",
        },
        option(
            &["--switch-when"],
            "SWITCH_WHEN",
            Check::Choice(&["promoted", "demoted", "always"]),
            true,
            "on which role changes: promoted, demoted or always",
        ),
    ],
    positionals: &[
        PositionalSpec {
            name: "action",
            check: Check::Choice(&["on_role_change"]),
            help: "on_role_change",
        },
        PositionalSpec {
            name: "role",
            check: Check::Choice(&["primary", "promoted", "standby_leader", "replica", "demoted"]),
            help: "the new role of this node",
        },
        PositionalSpec {
            name: "cluster",
            check: Check::Text,
            help: "name of the Patroni cluster (not used)",
        },
    ],
    has_commands: false,
    exactly_one: Some(("--barman-model", "--reset")),
    epilogue: "Arguments that Patroni adds and this program does not know are ignored.",
};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Show this text.
    Help(String),
    /// Show this text, and tell that there was no sub-command.
    NoCommand(String),
    /// Do this.
    Run(Global, Command),
}

/// Options before the sub-command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// Base URL of the API.
    pub api_url: String,
    /// PEM client certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM private key.
    pub key_file: Option<PathBuf>,
    /// Seconds after a malformed answer.
    pub retry_wait: i64,
    /// Attempts per call when answers are malformed.
    pub max_retries: i64,
    /// File that the log is appended to.
    pub log_file: Option<PathBuf>,
}

/// A sub-command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `recover`.
    Recover(Recover),
    /// `config-switch`.
    ConfigSwitch(ConfigSwitch),
}

/// Options of `recover`. Nothing but the integer is checked: the API decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recover {
    /// Server as configured in Barman.
    pub barman_server: String,
    /// Backup to restore.
    pub backup_id: String,
    /// How the Barman host reaches this node.
    pub ssh_command: String,
    /// Destination on this node.
    pub data_directory: String,
    /// Seconds between two polls.
    pub loop_wait: i64,
}

/// Options of `config-switch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSwitch {
    /// The new role of this node.
    pub role: String,
    /// Server as configured in Barman.
    pub barman_server: String,
    /// Model to apply; may be empty.
    pub barman_model: Option<String>,
    /// Take the active model back.
    pub reset: bool,
    /// `promoted`, `demoted` or `always`.
    pub switch_when: String,
}

/// Reads the words behind the program's name.
///
/// # Errors
///
/// The text of a usage error, for standard error.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let words: Vec<String> = words
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut global = PROGRAM.parse(&words)?;
    if global.help {
        return Ok(Parsed::Help(PROGRAM.help()));
    }
    let command = match global.positionals.first().map(String::as_str) {
        Some("recover") => {
            let mut own = RECOVER.parse(&global.rest)?;
            if own.help {
                return Ok(Parsed::Help(RECOVER.help()));
            }
            RECOVER.check_required(&own)?;
            Some(Command::Recover(recover(&mut own)))
        }
        Some(_) => {
            let mut own = CONFIG_SWITCH.parse(&global.rest)?;
            if own.help {
                return Ok(Parsed::Help(CONFIG_SWITCH.help()));
            }
            CONFIG_SWITCH.check_required(&own)?;
            Some(Command::ConfigSwitch(config_switch(&mut own)))
        }
        None => None,
    };
    PROGRAM.check_required(&global)?;
    Ok(match command {
        Some(command) => Parsed::Run(global_options(&mut global), command),
        None => Parsed::NoCommand(PROGRAM.help()),
    })
}

fn text(matches: &mut Matches, name: &str) -> Option<String> {
    matches.options.remove(name)
}

fn number(matches: &mut Matches, name: &str, default: i64) -> i64 {
    text(matches, name)
        .and_then(|value| integer(&value))
        .unwrap_or(default)
}

fn global_options(matches: &mut Matches) -> Global {
    Global {
        api_url: text(matches, "--api-url").unwrap_or_default(),
        cert_file: text(matches, "--cert-file").map(PathBuf::from),
        key_file: text(matches, "--key-file").map(PathBuf::from),
        retry_wait: number(matches, "--retry-wait", 2),
        max_retries: number(matches, "--max-retries", 5),
        log_file: text(matches, "--log-file").map(PathBuf::from),
    }
}

fn recover(matches: &mut Matches) -> Recover {
    Recover {
        barman_server: text(matches, "--barman-server").unwrap_or_default(),
        backup_id: text(matches, "--backup-id").unwrap_or_else(|| "latest".to_owned()),
        ssh_command: text(matches, "--ssh-command").unwrap_or_default(),
        data_directory: text(matches, "--data-directory").unwrap_or_default(),
        loop_wait: number(matches, "--loop-wait", 10),
    }
}

fn config_switch(matches: &mut Matches) -> ConfigSwitch {
    ConfigSwitch {
        role: matches.positionals.get(1).cloned().unwrap_or_default(),
        barman_server: text(matches, "--barman-server").unwrap_or_default(),
        barman_model: text(matches, "--barman-model"),
        reset: text(matches, "--reset").is_some(),
        switch_when: text(matches, "--switch-when").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &[&str]) -> String {
        match parse(line.iter().map(OsString::from)) {
            Ok(Parsed::Help(text)) => format!("help: {}", text.lines().next().unwrap_or_default()),
            Ok(Parsed::NoCommand(_)) => "no command".to_owned(),
            Ok(Parsed::Run(global, Command::Recover(c))) => format!(
                "{} {} {}: {} {} [{}] [{}] {}",
                global.api_url,
                global.retry_wait,
                global.max_retries,
                c.barman_server,
                c.backup_id,
                c.ssh_command,
                c.data_directory,
                c.loop_wait
            ),
            Ok(Parsed::Run(global, Command::ConfigSwitch(c))) => {
                format!(
                    "{}: {} {} {:?} {} {}",
                    global.api_url, c.role, c.barman_server, c.barman_model, c.reset, c.switch_when
                )
            }
            Err(text) => text.lines().last().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn program() {
        let table: &[(&[&str], &str)] = &[
            (&["--help"], "help: usage: patroni_barman [-h]"),
            (
                &[],
                "patroni_barman: error: the following arguments are required: --api-url",
            ),
            (&["--api-url", "u"], "no command"),
            (&["--api=u"], "no command"),
            (
                &["--foo", "bar", "recover"],
                "patroni_barman: error: argument {recover,config-switch}: invalid choice: 'bar'",
            ),
            (
                &["--"],
                "patroni_barman: error: argument {recover,config-switch}: invalid choice: '--'",
            ),
            (
                &["--api-url", "-x"],
                "patroni_barman: error: argument --api-url: expected one argument",
            ),
            (
                &["--max-retries", "1.5"],
                "patroni_barman: error: argument --max-retries: invalid int value: '1.5'",
            ),
            (&["recover", "--help"], "help: usage: patroni_barman recover"),
        ];
        for (line, expected) in table {
            let got = outcome(line);
            assert!(got.starts_with(expected), "{line:?}: {got}");
        }
    }

    #[test]
    fn recover_command() {
        const GOOD: &[&str] = &["--barman-server", "m", "--ssh-command=ssh x", "--datadir", "/d"];
        let with = |before: &[&str], after: &[&str]| {
            let line: Vec<&str> = ["--api-url", "u"]
                .iter()
                .chain(before)
                .chain(&["recover"])
                .chain(GOOD)
                .chain(after)
                .copied()
                .collect();
            outcome(&line)
        };
        assert_eq!(with(&[], &[]), "u 2 5: m latest [ssh x] [/d] 10");
        assert_eq!(
            with(
                &["-q", "--foo=bar", "--retry-wait", " +1_0 "],
                &["--scope", "c", "word", "-x"]
            ),
            "u 10 5: m latest [ssh x] [/d] 10"
        );
        assert_eq!(
            with(&[], &["--loop-wait", "-1", "--backup-id="]),
            "u 2 5: m  [ssh x] [/d] -1"
        );
        assert_eq!(
            with(&[], &["--data-directory", "/e", "--max-retries=1", "--api-url=v"]),
            "u 2 5: m latest [ssh x] [/e] 10"
        );
        assert_eq!(
            with(&[], &["--ssh-command", "-x y", "--backup", "b"]),
            "u 2 5: m b [-x y] [/d] 10"
        );
        assert_eq!(
            with(&[], &["--ssh-command", "-x"]),
            "patroni_barman recover: error: argument --ssh-command: expected one argument"
        );
        assert_eq!(
            with(&[], &["--data", "/x"]),
            "patroni_barman recover: error: ambiguous option: --data could match --data-directory, --datadir"
        );
        // The sub-command's complaint comes before the program's.
        assert_eq!(
            outcome(&["recover", "--backup-id", "x"]),
            "patroni_barman recover: error: the following arguments are required: --barman-server, --ssh-command, --data-directory/--datadir"
        );
        let line: Vec<&str> = ["recover"].iter().chain(GOOD).copied().collect();
        assert_eq!(
            outcome(&line),
            "patroni_barman: error: the following arguments are required: --api-url"
        );
    }

    #[test]
    fn config_switch_command() {
        let with = |words: &str| {
            outcome(
                &["--api-url=u", "config-switch"]
                    .into_iter()
                    .chain(words.split(' '))
                    .collect::<Vec<_>>(),
            )
        };
        let program = "patroni_barman config-switch: error: ";
        let table = [
            (
                "--barman-server m --reset --switch-when always on_role_change replica c",
                "u: replica m None true always",
            ),
            (
                "on_role_change --barman-server m primary --barman-m x c extra --switch-when promoted",
                "u: primary m Some(\"x\") false promoted",
            ),
            (
                "--barman-server m --barman-model= --switch-when always on_role_change demoted c",
                "u: demoted m Some(\"\") false always",
            ),
        ];
        for (words, expected) in table {
            assert_eq!(with(words), expected, "{words}");
        }
        let refused = [
            ("--barman m", "ambiguous option"),
            (
                "--foo bar on_role_change",
                "argument action: invalid choice: 'bar'",
            ),
            (
                "on_role_change master c",
                "argument role: invalid choice: 'master'",
            ),
            (
                "--reset --barman-model x",
                "argument --barman-model: not allowed with argument --reset",
            ),
            ("--reset=1", "argument --reset: ignored explicit argument '1'"),
            (
                "--barman-server m --switch-when always on_role_change replica c",
                "one of the arguments --barman-model --reset is required",
            ),
            (
                "--barman-server m --reset",
                "the following arguments are required: action, role, cluster, --switch-when",
            ),
        ];
        for (words, reason) in refused {
            let got = with(words);
            assert!(got.starts_with(&format!("{program}{reason}")), "{words}: {got}");
        }
    }
}
