//! Runs a row of a table with both programs.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use openssl::ssl::SslAcceptor;
use testkit::{Program, TestDir, cache};

use crate::service::{Script, Seen, Service};

/// What was seen of a run, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub code: i32,
    /// `S` for `GET /status`, `C` for the creation of an operation, `P` for a question for its state; anything else as
    /// it is.
    pub requests: String,
    /// First letters of the levels of the log lines.
    pub levels: String,
}

pub fn outcome(code: i32, requests: &str, levels: &str) -> Outcome {
    Outcome {
        code,
        requests: requests.to_owned(),
        levels: levels.to_owned(),
    }
}

/// One exchange.
pub struct Row {
    pub name: &'static str,
    pub arguments: Vec<String>,
    /// `{port}` is the service's.
    pub url: String,
    pub script: Script,
    pub tls: Option<fn() -> SslAcceptor>,
    pub environment: Vec<(&'static str, PathBuf)>,
    /// What ours does.
    pub ours: Outcome,
    /// What the original does, if that is another thing, and the row of `docs/differences.md`.
    pub original: Option<(&'static str, Outcome)>,
    /// Texts that the log of ours must have.
    pub told: Vec<&'static str>,
}

impl Row {
    pub fn new(name: &'static str, script: Script, ours: Outcome) -> Self {
        Self {
            name,
            arguments: recover(&[]),
            url: "http://127.0.0.1:{port}".to_owned(),
            script,
            tls: None,
            environment: Vec::new(),
            ours,
            original: None,
            told: Vec::new(),
        }
    }

    pub fn arguments(mut self, arguments: Vec<String>) -> Self {
        self.arguments = arguments;
        self
    }

    pub fn url(mut self, url: &str) -> Self {
        self.url = url.to_owned();
        self
    }

    pub fn ours_is(mut self, outcome: Outcome) -> Self {
        self.ours = outcome;
        self
    }

    pub fn original(mut self, id: &'static str, outcome: Outcome) -> Self {
        self.original = Some((id, outcome));
        self
    }

    pub fn told(mut self, texts: &[&'static str]) -> Self {
        self.told = texts.to_vec();
        self
    }
}

/// Two attempts without a pause between.
const QUICK: [&str; 4] = ["--max-retries", "2", "--retry-wait", "0"];

/// Words behind the options of the program: `recover` with what it needs, and more.
pub fn recover(more: &[&str]) -> Vec<String> {
    let words = [
        "recover",
        "--barman-server",
        "main",
        "--ssh-command",
        "ssh secret@node",
        "--datadir=/x",
        "--loop-wait",
        "0",
    ];
    owned(&[&QUICK[..], &words, more].concat())
}

/// The same for `config-switch`.
pub fn config_switch(role: &str, more: &[&str]) -> Vec<String> {
    let words = ["config-switch", "--barman-server", "main"];
    let end = ["on_role_change", role, "batman"];
    owned(&[&QUICK[..], &words, more, &end].concat())
}

pub fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What one program did with a row.
pub struct Played {
    outcome: Outcome,
    seen: Vec<Seen>,
    connections: usize,
    stderr: String,
}

pub fn play(row: &Row, program: PathBuf) -> Played {
    let service = Service::start(&row.script, row.tls.map(|make| make())).unwrap();
    let mut program = Program::new(program);
    for (name, value) in &row.environment {
        program = program.env(name, value);
    }
    let url = row.url.replace("{port}", &service.port().to_string());
    let arguments = ["--api-url".to_owned(), url]
        .into_iter()
        .chain(row.arguments.clone());
    let finished = program.run(arguments).unwrap();
    let seen = service.seen();
    let requests: Vec<&str> = seen
        .iter()
        .map(|seen| {
            let line = seen.line.strip_suffix(" HTTP/1.1").unwrap();
            match line {
                "GET /status" => "S",
                "POST /servers/main/operations" => "C",
                "GET /servers/main/operations/20261121T050225" => "P",
                other => other,
            }
        })
        .collect();
    let levels = finished.stderr.lines().filter_map(level).collect();
    Played {
        outcome: Outcome {
            code: finished.code.unwrap_or(-1),
            requests: requests.join(" "),
            levels,
        },
        connections: service.connections(),
        seen,
        stderr: finished.stderr,
    }
}

/// The level of a log line, if it is one.
pub fn level(line: &str) -> Option<char> {
    let shape: String = line
        .chars()
        .take(23)
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape != "0000-00-00 00:00:00,000" {
        return None;
    }
    let (level, _) = line.get(23..)?.strip_prefix(' ')?.split_once(": ")?;
    matches!(level, "INFO" | "WARNING" | "ERROR").then(|| level.chars().next())?
}

fn complaints(row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    let ours = play(row, env!("CARGO_BIN_EXE_patroni_barman").into());
    if ours.outcome != row.ours {
        wrong.push(format!(
            "ours {:?}, expected {:?}\n{}",
            ours.outcome, row.ours, ours.stderr
        ));
    }
    if ours.outcome.code != 2 || !ours.outcome.levels.is_empty() {
        for line in ours.stderr.lines().filter(|line| level(line).is_none()) {
            wrong.push(format!("no log line: {line}"));
        }
    }
    // patroni-10: the ssh command and the password of every row.
    for secret in ["secret", "hunter2"] {
        if ours.stderr.contains(secret) {
            wrong.push(format!("a secret in the log: {}", ours.stderr));
        }
    }
    for text in row.told.iter().filter(|text| !ours.stderr.contains(*text)) {
        wrong.push(format!("not told: {text}\n{}", ours.stderr));
    }
    let original = play(row, cache::patroni_program("patroni_barman"));
    match &row.original {
        Some((id, expected)) => {
            let differences = include_str!("../../../docs/differences.md");
            if !differences.contains(&format!("| {id} |")) {
                wrong.push(format!("docs/differences.md has no {id}"));
            }
            if original.outcome != *expected {
                wrong.push(format!(
                    "the original {:?}, expected {expected:?}\n{}",
                    original.outcome, original.stderr
                ));
            }
            if *expected == row.ours {
                wrong.push(format!("{id} makes no difference"));
            }
        }
        None => {
            if original.outcome != ours.outcome {
                wrong.push(format!(
                    "the original {:?}\n{}",
                    original.outcome, original.stderr
                ));
            }
            if original.seen != ours.seen {
                wrong.push(format!("ours {:?}\nthe original {:?}", ours.seen, original.seen));
            }
            // Ours keeps none for long, and none for a POST (patroni-24).
            let connections = original.connections..=original.connections + ours.seen.len();
            if !connections.contains(&ours.connections) {
                wrong.push(format!(
                    "{} connections, the original {}",
                    ours.connections, original.connections
                ));
            }
        }
    }
    wrong
        .into_iter()
        .map(|wrong| format!("{}: {wrong}", row.name))
        .collect()
}

/// Plays all rows, a few at a time, and insists on each.
pub fn compare(rows: Vec<Row>) {
    let oracle = cache::patroni_program("patroni_barman");
    assert!(
        oracle.exists(),
        "{} is missing: run `cargo xtask setup`",
        oracle.display()
    );
    let count = rows.len();
    let queue = Mutex::new(rows);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(row) = { queue.lock().unwrap().pop() } {
                    let complaints = complaints(&row);
                    wrong.lock().unwrap().extend(complaints);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} faults in {count} exchanges:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A directory of the test for a file, with its content.
pub fn file(dir: &TestDir, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}
