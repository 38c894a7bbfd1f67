//! Crashes and failures of the system on demand, and the order of system calls: a program run under `strace`, so that
//! nothing in the program itself knows of the test.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::Program;

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The whole process is killed before the call is done.
    Kill,
    /// The call fails with this error, `ENOSPC` for example.
    Error(&'static str),
}

/// `program`, to which `fault` happens at its `at`-th `call` (from 1, counted for each thread). A run that does not
/// come that far ends as always.
#[must_use]
pub fn with_fault(program: &Program, call: &str, fault: Fault, at: u32) -> Program {
    let what = match fault {
        Fault::Kill => "signal=KILL".to_owned(),
        Fault::Error(error) => format!("error={error}"),
    };
    program.wrapped(
        "strace",
        [
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:{what}:when={at}"),
        ],
    )
}

/// `program`, whose `calls` are recorded in the file `log` with the paths of the descriptors; see [`calls`].
#[must_use]
pub fn recorded(program: &Program, calls: &[&str], log: &Path) -> Program {
    program.wrapped(
        "strace",
        [
            "-f",
            "-qq",
            "-y",
            "-s",
            "65536",
            "-o",
            &log.display().to_string(),
            "-e",
            &format!("trace={}", calls.join(",")),
        ],
    )
}

/// One system call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// The arguments as `strace` shows them: descriptors with their paths, texts in quotes.
    pub arguments: String,
    /// The line of the log in which it began.
    pub begin: usize,
    /// The line of the log in which it ended.
    pub end: usize,
}

/// Reads what [`recorded`] wrote: the calls that succeeded, in the order in which they ended.
///
/// # Errors
/// The log cannot be read.
pub fn calls(log: &Path) -> Result<Vec<Call>> {
    let text = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begun.to_owned()));
            continue;
        }
        let (begin, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                match unfinished.remove(thread) {
                    Some((begin, begun)) => (begin, begun + end),
                    None => continue,
                }
            }
            None => (number, rest.to_owned()),
        };
        let Some((call, result)) = whole.rsplit_once(") ") else {
            continue;
        };
        if result.trim_start().starts_with("= -1") {
            continue;
        }
        if let Some((name, arguments)) = call.split_once('(') {
            calls.push(Call {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                begin,
                end: number,
            });
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_several_threads() {
        let log = "10 fsync(3</a/b>) = 0\n\
                   11 write(4</c>, \"x) = -1\\n\", 3 <unfinished ...>\n\
                   10 unlink(\"/a/b\")      = 0\n\
                   11 <... write resumed>) = 3\n\
                   11 unlink(\"/none\") = -1 ENOENT (No such file or directory)\n\
                   11 +++ killed by SIGKILL +++\n";
        let found: Vec<_> = parse(log)
            .into_iter()
            .map(|call| (call.name, call.arguments, call.begin, call.end))
            .collect();
        let expected = [
            ("fsync", "3</a/b>", 0, 0),
            ("unlink", "\"/a/b\"", 2, 2),
            ("write", "4</c>, \"x) = -1\\n\", 3", 1, 3),
        ];
        assert_eq!(
            found,
            expected.map(|(name, arguments, begin, end)| (name.to_owned(), arguments.to_owned(), begin, end))
        );
    }
}
