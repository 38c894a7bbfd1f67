//! What `show-servers` and `diagnose` tell of PostgreSQL's client programs, which are built in (rows `config-10`, `live-10`).

use crate::conformance::scenario::Scenario;

/// A client program that Barman looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `pg_basebackup`
    BaseBackup,
    /// `pg_receivewal`
    ReceiveWal,
}

/// Whether the server whose version the program has to fit can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// It answers.
    Answers,
    /// Nobody can reach it: Barman does not know whether the program fits.
    Unreachable,
}

type Key = (&'static str, &'static str, &'static str);

/// Keys with our value and the oracle's.
fn keys(program: Program, server: Server) -> Vec<Key> {
    let (mut told, unknown): (Vec<Key>, &[Key]) = match program {
        Program::BaseBackup => (
            vec![
                ("pg_basebackup_path", "built in", "/*"),
                ("pg_basebackup_version", "18", "*.*"),
            ],
            &[("pg_basebackup_compatible", "True", "None")],
        ),
        Program::ReceiveWal => (
            vec![
                ("pg_receivexlog_path", "built in", "/*"),
                ("pg_receivexlog_version", "18", "*.*"),
            ],
            &[
                ("pg_receivexlog_compatible", "True", "None"),
                ("pg_receivexlog_supports_slots", "True", "None"),
            ],
        ),
    };
    if server == Server::Unreachable {
        told.extend(unknown);
    }
    told
}

/// The lines of a console `show-servers`, command `step`, of one server or, with the same lines, of several.
pub(super) fn lines(scenario: Scenario, step: usize, program: Program, server: Server) -> Scenario {
    keys(program, server)
        .into_iter()
        .fold(scenario, |scenario, (key, ours, oracle)| {
            let line = |value: &str| -> &'static str { format!("\t{key}: {value}").leak() };
            scenario
                .stdout(step, "config-10", line(ours), line(oracle))
                .each()
        })
}

/// The members of the JSON of command `step`, wherever they stand, under the row `id`.
pub(super) fn members(
    scenario: Scenario,
    step: usize,
    id: &'static str,
    program: Program,
    server: Server,
) -> Scenario {
    let json = |value: &str| -> &'static str {
        match value {
            "True" => "true",
            "None" => "null",
            text => format!("\"{text}\"").leak(),
        }
    };
    keys(program, server)
        .into_iter()
        .fold(scenario, |scenario, (key, ours, oracle)| {
            scenario
                .json(step, id, format!("*.{key}").leak(), json(ours), json(oracle))
                .each()
        })
}

/// What is told of the programs of the host.
pub(super) fn about_programs(step: usize, scenario: Scenario) -> Scenario {
    scenario
        .json(
            step,
            "live-10",
            "global.system_info.python_executable",
            "\"none\"",
            "\"/*\"",
        )
        .json(
            step,
            "live-10",
            "global.system_info.python_ver",
            "\"none: *\"",
            "\"Python 3.*\"",
        )
        .json(
            step,
            "live-9",
            "global.system_info.ssh_ver",
            "\"OpenSSH_*\"",
            "\"\"",
        )
}
