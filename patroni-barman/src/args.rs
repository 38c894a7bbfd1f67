//! The command line of `patroni_barman` as typed values.

use crate::config_switch::{Role, SwitchWhen};
use crate::parser::{Check, Grammar, Matches, OptionSpec, Origin, PositionalSpec, integer};
use std::ffi::OsString;
use std::path::PathBuf;

const HELP: OptionSpec = OptionSpec {
    names: &["-h", "--help"],
    value: None,
    check: Check::Text,
    required: false,
    origin: Origin::Classic,
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
        origin: Origin::Classic,
        help,
    }
}

/// An option that the original does not have.
const fn ours(
    names: &'static [&'static str],
    value: &'static str,
    check: Check,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        origin: Origin::Ours,
        ..option(names, value, check, false, help)
    }
}

/// A global option behind the sub-command, where Patroni puts what its own configuration says.
const fn late(names: &'static [&'static str], value: &'static str, check: Check) -> OptionSpec {
    OptionSpec {
        origin: Origin::Late,
        ..option(names, value, check, false, "")
    }
}

const CA_FILE: &[&str] = &["--ca-file"];
const CERT_FILE: &[&str] = &["--cert-file"];
const KEY_FILE: &[&str] = &["--key-file"];
const LOG_FILE: &[&str] = &["--log-file"];
const MAX_RETRIES: &[&str] = &["--max-retries"];
const RETRY_WAIT: &[&str] = &["--retry-wait"];

const LATE_CA_FILE: OptionSpec = late(CA_FILE, "CA_FILE", Check::Text);
const LATE_CERT_FILE: OptionSpec = late(CERT_FILE, "CERT_FILE", Check::Text);
const LATE_KEY_FILE: OptionSpec = late(KEY_FILE, "KEY_FILE", Check::Text);
const LATE_LOG_FILE: OptionSpec = late(LOG_FILE, "LOG_FILE", Check::Text);
const LATE_MAX_RETRIES: OptionSpec = late(MAX_RETRIES, "MAX_RETRIES", Check::Integer);
const LATE_RETRY_WAIT: OptionSpec = late(RETRY_WAIT, "RETRY_WAIT", Check::Integer);

const TIMEOUT: OptionSpec = ours(
    &["--operation-timeout"],
    "SECONDS",
    Check::Integer,
    "give up watching after this time (default: 0, never)",
);

const PASSED_OVER: &str = "Options of the program but --api-url may also stand here, as Patroni puts them. Arguments that Patroni adds and\nthis program does not know are passed over.";

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
            CERT_FILE,
            "CERT_FILE",
            Check::Text,
            false,
            "PEM certificate of this client, for https",
        ),
        option(
            KEY_FILE,
            "KEY_FILE",
            Check::Text,
            false,
            "its PEM key, if that is in another file",
        ),
        ours(
            CA_FILE,
            "CA_FILE",
            Check::Text,
            "PEM certificates of the authorities that the API's certificate may come from (default: the system's)",
        ),
        option(
            RETRY_WAIT,
            "RETRY_WAIT",
            Check::Integer,
            false,
            "seconds between two attempts to get a usable answer (default: 2)",
        ),
        option(
            MAX_RETRIES,
            "MAX_RETRIES",
            Check::Integer,
            false,
            "number of these attempts (default: 5)",
        ),
        option(
            LOG_FILE,
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
            "seconds between two questions for the state (default: 10)",
        ),
        TIMEOUT,
        LATE_CERT_FILE,
        LATE_KEY_FILE,
        LATE_CA_FILE,
        LATE_RETRY_WAIT,
        LATE_MAX_RETRIES,
        LATE_LOG_FILE,
    ],
    positionals: &[],
    has_commands: false,
    exactly_one: None,
    epilogue: PASSED_OVER,
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
            origin: Origin::Classic,
            help: "take the active model back",
        },
        option(
            &["--switch-when"],
            "SWITCH_WHEN",
            Check::Choice(&["promoted", "demoted", "always"]),
            true,
            "on which role changes: promoted (this node becomes the primary), demoted (a replica), always",
        ),
        TIMEOUT,
        LATE_CERT_FILE,
        LATE_KEY_FILE,
        LATE_CA_FILE,
        LATE_RETRY_WAIT,
        LATE_MAX_RETRIES,
        LATE_LOG_FILE,
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
    epilogue: PASSED_OVER,
};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Show this text.
    Help(String),
    /// Show this text, and tell that there was no sub-command.
    NoCommand(Global, String),
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
    /// PEM certificates of authorities.
    pub ca_file: Option<PathBuf>,
    /// Seconds between two attempts to get a usable answer.
    pub retry_wait: i64,
    /// Number of these attempts.
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
    /// Seconds between two questions for the state.
    pub loop_wait: i64,
    /// Seconds after which to give up.
    pub timeout: Option<i64>,
}

/// Options of `config-switch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSwitch {
    /// The new role of this node.
    pub role: Role,
    /// Server as configured in Barman.
    pub barman_server: String,
    /// Model to apply; may be empty.
    pub barman_model: Option<String>,
    /// Take the active model back.
    pub reset: bool,
    /// On which role changes to switch.
    pub switch_when: SwitchWhen,
    /// Seconds after which to give up.
    pub timeout: Option<i64>,
}

/// Reads the words behind the program's name.
///
/// # Errors
///
/// The text of a usage error, for standard error.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut undecodable = false;
    let words: Vec<String> = words
        .into_iter()
        .map(|word| {
            word.into_string().unwrap_or_else(|word| {
                undecodable = true;
                word.to_string_lossy().into_owned()
            })
        })
        .collect();
    let mut global = PROGRAM.parse(&words)?;
    if global.help {
        return Ok(Parsed::Help(PROGRAM.help()));
    }
    let word = global.positionals.first().cloned();
    let grammar = match word.as_deref() {
        Some("recover") => &RECOVER,
        Some(_) => &CONFIG_SWITCH,
        None => {
            PROGRAM.check_required(&global)?;
            PROGRAM.check_text(&global, undecodable)?;
            let options = global_options(&mut global, &mut Matches::default());
            return Ok(Parsed::NoCommand(options, PROGRAM.help()));
        }
    };
    let mut own = grammar.parse(&global.rest)?;
    if own.help {
        return Ok(Parsed::Help(grammar.help()));
    }
    grammar.check_required(&own)?;
    PROGRAM.check_required(&global)?;
    // A path or a command that is not what was written must never be used.
    PROGRAM.check_text(&global, undecodable)?;
    grammar.check_text(&own, undecodable)?;
    let options = global_options(&mut global, &mut own);
    let command = match word.as_deref() {
        Some("recover") => Command::Recover(recover(&mut own)),
        _ => Command::ConfigSwitch(
            config_switch(&mut own)
                .ok_or_else(|| CONFIG_SWITCH.error("role and --switch-when are not understood"))?,
        ),
    };
    Ok(Parsed::Run(options, command))
}

fn text(matches: &mut Matches, name: &str) -> Option<String> {
    matches.options.remove(name)
}

fn number(matches: &mut Matches, name: &str) -> Option<i64> {
    text(matches, name).and_then(|value| integer(&value))
}

/// What stands before the sub-command counts before what stands behind it.
fn global_options(early: &mut Matches, late: &mut Matches) -> Global {
    // An empty path is none, as in the original, and none before the sub-command leaves the one behind it.
    let given = |matches: &mut Matches, name| text(matches, name).filter(|path| !path.is_empty());
    let mut path = |name| {
        let path = given(early, name).or_else(|| given(late, name));
        path.map(PathBuf::from)
    };
    let [cert_file, key_file, ca_file, log_file] =
        ["--cert-file", "--key-file", "--ca-file", "--log-file"].map(&mut path);
    let mut seconds = |name, default| {
        number(early, name)
            .or_else(|| number(late, name))
            .unwrap_or(default)
    };
    let (retry_wait, max_retries) = (seconds("--retry-wait", 2), seconds("--max-retries", 5));
    Global {
        api_url: text(early, "--api-url").unwrap_or_default(),
        cert_file,
        key_file,
        ca_file,
        retry_wait,
        max_retries,
        log_file,
    }
}

fn recover(matches: &mut Matches) -> Recover {
    Recover {
        barman_server: text(matches, "--barman-server").unwrap_or_default(),
        backup_id: text(matches, "--backup-id").unwrap_or_else(|| "latest".to_owned()),
        ssh_command: text(matches, "--ssh-command").unwrap_or_default(),
        data_directory: text(matches, "--data-directory").unwrap_or_default(),
        loop_wait: number(matches, "--loop-wait").unwrap_or(10),
        timeout: number(matches, "--operation-timeout"),
    }
}

fn config_switch(matches: &mut Matches) -> Option<ConfigSwitch> {
    Some(ConfigSwitch {
        role: Role::of(matches.positionals.get(1)?)?,
        barman_server: text(matches, "--barman-server").unwrap_or_default(),
        barman_model: text(matches, "--barman-model"),
        reset: text(matches, "--reset").is_some(),
        switch_when: SwitchWhen::of(&text(matches, "--switch-when")?)?,
        timeout: number(matches, "--operation-timeout"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &[&str]) -> String {
        match parse(line.iter().map(OsString::from)) {
            Ok(Parsed::Help(text)) => format!("help: {}", text.lines().next().unwrap_or_default()),
            Ok(Parsed::NoCommand(..)) => "no command".to_owned(),
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
                    global.api_url,
                    c.role.as_str(),
                    c.barman_server,
                    c.barman_model,
                    c.reset,
                    c.switch_when.as_str()
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
            with(&[], &["--data-directory", "/e", "--api-url=v"]),
            "u 2 5: m latest [ssh x] [/e] 10"
        );
        // Options of the program, behind the sub-command: what is before it counts more, what is wrong not at all.
        for (before, after, numbers) in [
            (&[][..], &["--max-retries=1", "--retry-wait", "7"][..], "7 1"),
            (&["--max-retries=3"], &["--max-retries=1"], "2 3"),
            (&[], &["--max-retries=x", "--retry-wait"], "2 5"),
            (&[], &["--max=1", "--retry-wait=1.5", "--log-file"], "2 5"),
        ] {
            let got = with(before, after);
            assert_eq!(got, format!("u {numbers}: m latest [ssh x] [/d] 10"), "{after:?}");
        }
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
