//! The one-line verdict of `check --nagios`, with performance data and a line for each failed check.

use barman_core::ops::check::CheckResult;
use std::fmt::Write as _;

/// One result of one check, and whose it is.
#[derive(Debug, Clone)]
pub struct CheckLine {
    /// The server's name.
    pub server: String,
    /// Whether the server is active: failures of others are only mentioned.
    pub active: bool,
    /// What the check found.
    pub result: CheckResult,
}

/// The text for standard output, and the exit code (0 or 2).
#[must_use]
pub fn verdict(lines: &[CheckLine], errors: bool) -> (String, u8) {
    let mut servers: Vec<&str> = Vec::new();
    for line in lines {
        if !servers.contains(&line.server.as_str()) {
            servers.push(&line.server);
        }
    }
    let failed = |server: &str| {
        lines
            .iter()
            .filter(|line| line.server == server && !line.result.ok)
            .collect::<Vec<_>>()
    };
    let active = |server: &str| {
        lines
            .iter()
            .filter(|line| line.server == server)
            .all(|line| line.active)
    };
    let (issues, ignored): (Vec<&str>, Vec<&str>) = servers
        .iter()
        .copied()
        .filter(|server| !failed(server).is_empty())
        .partition(|server| active(server));
    let ignoring: String = ignored
        .iter()
        .map(|server| format!(" * IGNORING: {server}"))
        .collect();
    if !issues.is_empty() {
        return (critical_text(lines, &servers, &issues, &ignoring, failed), 2);
    }
    if errors {
        return ("BARMAN CRITICAL - Global configuration errors\n".to_owned(), 2);
    }
    let good: Vec<&str> = servers
        .iter()
        .copied()
        .filter(|server| failed(server).is_empty())
        .collect();
    let mut text = match good.as_slice() {
        [] => "BARMAN OK - No server configured".to_owned(),
        [one] => format!("BARMAN OK - Ready to serve the Espresso backup for {one}"),
        many => format!(
            "BARMAN OK - Ready to serve the Espresso backup for {} servers * {}",
            many.len(),
            many.join(" * ")
        ),
    };
    text.push_str(&ignoring);
    if !good.is_empty() {
        text.push_str(&performance(lines));
    }
    text.push('\n');
    (text, 0)
}

fn critical_text<'a>(
    lines: &'a [CheckLine],
    servers: &[&str],
    issues: &[&str],
    ignoring: &str,
    failed: impl Fn(&str) -> Vec<&'a CheckLine>,
) -> String {
    let parts: Vec<String> = issues
        .iter()
        .map(|server| {
            let names: Vec<&str> = failed(server)
                .iter()
                .map(|line| line.result.name.as_str())
                .collect();
            format!("{server} FAILED: {}", names.join(", "))
        })
        .collect();
    let head = match servers {
        [only] => format!("BARMAN CRITICAL - server {only} has issues"),
        _ => format!(
            "BARMAN CRITICAL - {} server out of {} have issues",
            issues.len(),
            servers.len()
        ),
    };
    let mut text = format!("{head} * {}{ignoring}{}\n", parts.join(" * "), performance(lines));
    for line in issues.iter().flat_map(|server| failed(server)) {
        let hint = if line.result.hint.is_empty() {
            String::new()
        } else {
            format!(" ({})", line.result.hint)
        };
        let _ = writeln!(text, "{}.{}: FAILED{hint}", line.server, line.result.name);
    }
    text
}

fn performance(lines: &[CheckLine]) -> String {
    let values: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            let bytes = line.result.perfdata?;
            let suffix = if line.result.name == "wal size" {
                "_wals"
            } else {
                ""
            };
            Some(format!("{}{suffix}={bytes}B", line.server))
        })
        .collect();
    if values.is_empty() {
        String::new()
    } else {
        format!("|{}", values.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(server: &str, check: &str, ok: bool, active: bool, perfdata: Option<u64>) -> CheckLine {
        let result = CheckResult {
            name: check.into(),
            ok,
            hint: if ok { String::new() } else { "why".into() },
            perfdata,
            reason: None,
        };
        CheckLine {
            server: server.into(),
            active,
            result,
        }
    }

    #[test]
    fn table() {
        let size = |server: &str| line(server, "backup minimum size", true, true, Some(7));
        let wals = |server: &str| line(server, "wal size", true, true, Some(0));
        let bad = |server: &str, active| line(server, "ssh", false, active, None);
        let table: Vec<(Vec<CheckLine>, bool, &str, u8)> = vec![
            (vec![], false, "BARMAN OK - No server configured\n", 0),
            (vec![], true, "BARMAN CRITICAL - Global configuration errors\n", 2),
            (
                vec![size("a"), wals("a")],
                false,
                "BARMAN OK - Ready to serve the Espresso backup for a|a=7B a_wals=0B\n",
                0,
            ),
            (
                vec![size("a")],
                true,
                "BARMAN CRITICAL - Global configuration errors\n",
                2,
            ),
            (
                vec![size("a"), size("b"), bad("i", false)],
                false,
                "BARMAN OK - Ready to serve the Espresso backup for 2 servers * a * b * IGNORING: i|a=7B b=7B\n",
                0,
            ),
            (
                vec![bad("i", false)],
                false,
                "BARMAN OK - No server configured * IGNORING: i\n",
                0,
            ),
            (
                vec![bad("i", false)],
                true,
                "BARMAN CRITICAL - Global configuration errors\n",
                2,
            ),
            (
                vec![size("a"), bad("b", true), bad("b", true), bad("i", false)],
                false,
                "BARMAN CRITICAL - 1 server out of 3 have issues * b FAILED: ssh, ssh * IGNORING: i|a=7B\n\
                 b.ssh: FAILED (why)\nb.ssh: FAILED (why)\n",
                2,
            ),
        ];
        for (lines, errors, text, code) in table {
            assert_eq!(verdict(&lines, errors), (text.to_owned(), code));
        }
    }
}
