//! `patroni_barman` beside the one of Patroni.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, anyhow};
use testkit::{Program, cache};

use super::super::measure;
use super::super::row::{Contest, OURS, Row, Side, Target, memory, wall};
use super::super::world::World;

/// The original.
const PATRONI: &str = "patroni";

/// Rounds: these end in milliseconds.
const ROUNDS: usize = 11;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "commands/patroni-barman",
            "start of `patroni_barman` (its help)",
            targets(),
            |world| contest(world, |_| vec!["--help".to_owned()]),
        ),
        Row::new(
            "commands/patroni-barman-recover",
            "`patroni_barman recover`, an API that answers at once: three requests",
            targets(),
            |world| {
                contest(world, |api| {
                    let words = [
                        "recover",
                        "--barman-server=main",
                        "--ssh-command=ssh",
                        "--datadir=/data",
                    ];
                    let url = format!("--api-url=http://127.0.0.1:{api}");
                    [url].into_iter().chain(words.map(str::to_owned)).collect()
                })
            },
        ),
    ]
}

fn targets() -> [Target; 2] {
    [wall(0.010), memory(10.0)]
}

/// Ours beside the one of Patroni; `arguments` get the port of an API.
fn contest(world: &mut World, arguments: impl Fn(u16) -> Vec<String>) -> Result<Contest> {
    let api = world.shared("an API whose operations are done at once", |_| done_at_once())?;
    let arguments = arguments(*api);
    let side = |name, program: Program| {
        let arguments = arguments.clone();
        Side::new(name, move || Ok(measure::run(&program, &arguments)?.0))
    };
    let original = cache::patroni_program("patroni_barman");
    let peer = if original.exists() {
        Ok(side(PATRONI, Program::new(original)))
    } else {
        Err(anyhow!("{} is not there", original.display()))
    };
    Ok(Contest::of(side(OURS, world.ours("patroni_barman")))
        .against_or_missing(PATRONI, peer)
        .at_least(ROUNDS))
}

/// An API for the rest of this run: its port.
fn done_at_once() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let port = listener.local_addr().context("find the port")?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One after the other: the programs do not overlap, and each uses one connection.
            let _ = answer(&stream);
        }
    });
    Ok(port)
}

/// Answers the requests of a connection until it ends.
fn answer(stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    let (mut line, mut first, mut length) = (String::new(), String::new(), 0);
    while lines.read_line(&mut line)? > 0 {
        let trimmed = line.trim_end();
        if first.is_empty() {
            first = trimmed.to_owned();
        } else if let Some((name, value)) = trimmed.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        } else {
            io::copy(&mut lines.by_ref().take(length), &mut io::sink())?;
            let body = if first.starts_with("POST") {
                r#"{"operation_id":"20261121T050225"}"#
            } else if first.starts_with("GET /status") {
                "\"OK\""
            } else {
                r#"{"operation_id":"20261121T050225","status":"DONE"}"#
            };
            // In one piece: the kernel would hold a second one back until the client has told that it has the first.
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            (&*stream).write_all(answer.as_bytes())?;
            (first, length) = (String::new(), 0);
        }
        line.clear();
    }
    Ok(())
}
