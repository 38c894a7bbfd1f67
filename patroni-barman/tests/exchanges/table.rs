//! Exchanges in the clear.

use std::net::TcpListener;

use testkit::executed;

use crate::run::{Row, compare, config_switch, outcome, recover};
use crate::service::{Act, Script, ok, status, with};

const CREATED: &str = r#"{"operation_id":"20261121T050225"}"#;
const NOT_FOUND: &str = "{\"error\":\"404 Not Found: Server 'main' does not exist\"}\n";
const PAGE: &str =
    "<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n<p>no body</p>\n";

fn state(word: &str) -> Act {
    ok(&format!(
        r#"{{"operation_id":"20261121T050225","status":"{word}"}}"#
    ))
}

/// A service that is well, and then this.
fn script(create: Vec<Act>, poll: Vec<Act>) -> Script {
    Script {
        health: vec![ok("\"OK\"")],
        create,
        poll,
        cancel: Vec::new(),
    }
}

fn created(poll: Vec<Act>) -> Script {
    script(vec![ok(CREATED)], poll)
}

fn health(acts: Vec<Act>) -> Script {
    Script {
        health: acts,
        ..created(vec![state("DONE")])
    }
}

/// `recover` with `--max-retries 0`.
fn without_attempts() -> Vec<String> {
    let mut words = recover(&[]);
    words[1] = "0".to_owned();
    words
}

fn raw(text: &str) -> Act {
    Act::Raw(text.as_bytes().to_vec())
}

#[test]
fn the_way_it_should_go() {
    let done = || created(vec![state("IN_PROGRESS"), state("IN_PROGRESS"), state("DONE")]);
    compare(vec![
        Row::new("restored", done(), outcome(0, "S C P P P", "IIII")).told(&["20261121T050225"]),
        Row::new(
            "failed",
            created(vec![state("FAILED")]),
            outcome(1, "S C P", "IE"),
        ),
        // patroni-26.
        Row::new(
            "failed, and why",
            created(vec![ok(
                r#"{"operation_id":"x","output":"Starting\nERROR: ssh secret@node: no route\n","status":"FAILED"}"#,
            )]),
            outcome(1, "S C P", "IE"),
        )
        .told(&["failed, Barman said: Starting; ERROR: ***: no route; its output is on the Barman host"]),
        Row::new(
            "switched",
            created(vec![state("DONE")]),
            outcome(0, "S C P", "II"),
        )
        .arguments(config_switch(
            "primary",
            &["--barman-model", "my \"mödel\"", "--switch-when", "promoted"],
        )),
        Row::new("reset", created(vec![state("DONE")]), outcome(0, "S C P", "II"))
            .arguments(config_switch("replica", &["--reset", "--switch-when", "always"])),
        Row::new(
            "switch failed",
            created(vec![state("FAILED")]),
            outcome(2, "S C P", "IE"),
        )
        .arguments(config_switch(
            "promoted",
            &["--reset", "--switch-when", "promoted"],
        )),
        Row::new(
            "a number for an id",
            script(vec![ok(r#"{"operation_id":7}"#)], vec![state("DONE")]),
            outcome(0, "S C GET /servers/main/operations/7", "II"),
        ),
        Row::new(
            "no id",
            script(
                vec![ok(r#"{"operation_id":null}"#)],
                vec![ok(r#"{"status":"PENDING"}"#)],
            ),
            outcome(
                2,
                "S C GET /servers/main/operations/None GET /servers/main/operations/None",
                "IWWE",
            ),
        ),
        Row::new(
            "blanks around",
            script(
                vec![ok(" \n{ \"operation_id\" : \"20261121T050225\" } ")],
                vec![state("DONE")],
            ),
            outcome(0, "S C P", "II"),
        ),
        Row::new(
            "chunked",
            script(
                vec![raw(
                    "HTTP/1.1 202 ACCEPTED\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1b\r\n{\"operation_id\":\"20261121T0\r\n7\r\n50225\"}\r\n0\r\n\r\n",
                )],
                vec![state("DONE")],
            ),
            outcome(0, "S C P", "II"),
        ),
        Row::new(
            "until the end of the connection",
            health(vec![raw(
                "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n\"OK\"",
            )]),
            outcome(0, "S C P", "II"),
        ),
        Row::new(
            "closed after each answer",
            Script {
                health: vec![raw(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n\"OK\"",
                )],
                ..created(vec![state("DONE")])
            },
            outcome(0, "S C P", "II"),
        ),
        Row::new(
            "a long head",
            health(vec![raw(&format!(
                "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\"OK\"",
                "x".repeat(40_000)
            ))]),
            outcome(0, "S C P", "II"),
        ),
        Row::new(
            "kept, but closed",
            Script {
                health: vec![raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\"OK\"")],
                ..created(vec![state("DONE")])
            },
            outcome(0, "S C P", "II"),
        ),
    ]);
}

#[test]
fn the_service_is_not_well() {
    let skip = config_switch("replica", &["--reset", "--switch-when", "promoted"]);
    compare(vec![
        Row::new("NO", health(vec![ok("\"NO\"")]), outcome(254, "S", "E")),
        Row::new(
            "an object",
            health(vec![ok("{\"status\":\"OK\"}")]),
            outcome(254, "S", "E"),
        ),
        Row::new(
            "OK with 500",
            health(vec![status(500, "\"OK\"")]),
            outcome(0, "S C P", "II"),
        ),
        Row::new("OK without quotes", health(vec![ok("OK")]), outcome(2, "S", "E"))
            .original("patroni-2", outcome(1, "S", "")),
        Row::new("a page", health(vec![status(503, PAGE)]), outcome(2, "S", "E"))
            .told(&["503", "Bad Request no body"])
            .original("patroni-2", outcome(1, "S", "")),
        Row::new("nothing", health(vec![ok("")]), outcome(2, "S", "E"))
            .original("patroni-2", outcome(1, "S", "")),
        Row::new(
            "not UTF-8",
            health(vec![Act::Answer(200, Vec::new(), b"\"\xff\"".to_vec())]),
            outcome(2, "S", "E"),
        )
        .original("patroni-2", outcome(1, "S", "")),
        Row::new("closed", health(vec![Act::Close]), outcome(2, "S S S S", "WWWE"))
            .original("patroni-1", outcome(1, "S S S S", "WWW")),
        Row::new(
            "closed once",
            health(vec![Act::Close, ok("\"OK\"")]),
            outcome(0, "S S C P", "WII"),
        ),
        Row::new(
            "not HTTP",
            health(vec![raw("SSH-2.0-OpenSSH_9.2p1\r\n")]),
            outcome(2, "S S S S", "WWWE"),
        )
        .original("patroni-1", outcome(1, "S S S S", "WWW")),
        Row::new(
            "cut off",
            health(vec![raw("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n\"OK\"")]),
            outcome(2, "S S S S", "WWWE"),
        )
        .original("patroni-1", outcome(1, "S S S S", "WWW")),
        Row::new(
            "cut in its head",
            health(vec![raw("HTTP/1.1 200 OK\r\nContent-Le")]),
            outcome(2, "S S S S", "WWWE"),
        )
        .original("patroni-2", outcome(1, "S", "W")),
        Row::new(
            "cut chunks",
            health(vec![raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\"O",
            )]),
            outcome(2, "S S S S", "WWWE"),
        )
        .original("patroni-1", outcome(1, "S S S S", "WWW")),
        Row::new(
            "huge",
            health(vec![ok(&format!("\"{}\"", "x".repeat(3 << 20)))]),
            outcome(2, "S", "E"),
        )
        .told(&["more than 1048576 bytes"])
        .original("patroni-18", outcome(254, "S", "E")),
        Row::new("a switch", health(vec![ok("OK")]), outcome(3, "S", "E"))
            .arguments(config_switch("primary", &["--reset", "--switch-when", "always"]))
            .original("patroni-2", outcome(1, "S", "")),
        Row::new(
            "a switch that is skipped",
            health(vec![ok("\"OK\"")]),
            outcome(1, "", "I"),
        )
        .arguments(skip.clone())
        .told(&["role=replica", "switch_when=promoted"])
        .original("patroni-6", outcome(1, "S", "I")),
        Row::new(
            "a switch that is skipped, and no service",
            health(vec![ok("\"NO\"")]),
            outcome(1, "", "I"),
        )
        .arguments(skip)
        .original("patroni-6", outcome(254, "S", "E")),
        Row::new("an empty model", health(vec![ok("\"OK\"")]), outcome(4, "", "E"))
            .arguments(config_switch(
                "primary",
                &["--barman-model=", "--switch-when", "always"],
            ))
            .original("patroni-6", outcome(4, "S", "E")),
        Row::new("nobody there", Script::default(), outcome(2, "", "WWWE"))
            .url("http://127.0.0.1:1")
            .original("patroni-1", outcome(1, "", "WWW")),
        Row::new(
            "nobody there for a switch",
            Script::default(),
            outcome(3, "", "WWWE"),
        )
        .arguments(config_switch("primary", &["--reset", "--switch-when", "always"]))
        .url("http://127.0.0.1:1")
        .original("patroni-1", outcome(1, "", "WWW")),
    ]);
}

#[test]
fn operations_that_are_not_created() {
    let create = |act: Act| script(vec![act], vec![state("DONE")]);
    compare(vec![
        Row::new(
            "unknown server",
            create(status(404, NOT_FOUND)),
            outcome(2, "S C", "E"),
        )
        .told(&["404", "Server 'main' does not exist"])
        .original("patroni-3", outcome(2, "S C C", "WWE")),
        Row::new(
            "unknown server, switch",
            create(status(404, NOT_FOUND)),
            outcome(3, "S C", "E"),
        )
        .arguments(config_switch("primary", &["--reset", "--switch-when", "always"]))
        .original("patroni-3", outcome(3, "S C C", "WWE")),
        Row::new("400", create(status(400, PAGE)), outcome(2, "S C", "E"))
            .told(&["HTTP status 400: 400 Bad Request Bad Request no body"])
            .original("patroni-2", outcome(1, "S C", "")),
        Row::new("415", create(status(415, PAGE)), outcome(2, "S C", "E"))
            .original("patroni-2", outcome(1, "S C", "")),
        Row::new("500", create(status(500, PAGE)), outcome(2, "S C C", "WWE"))
            .original("patroni-4", outcome(1, "S C", "")),
        Row::new(
            "500 once",
            script(vec![status(500, PAGE), status(202, CREATED)], vec![state("DONE")]),
            outcome(0, "S C C P", "WII"),
        )
        .original("patroni-4", outcome(1, "S C", "")),
        Row::new("502", create(status(502, PAGE)), outcome(2, "S C", "E"))
            .original("patroni-2", outcome(1, "S C", "")),
        Row::new(
            "502 that is an object",
            create(status(502, "{}")),
            outcome(2, "S C", "E"),
        )
        .original("patroni-4", outcome(2, "S C C", "WWE")),
        Row::new(
            "503, later",
            create(with(503, "Retry-After", "1", "{}")),
            outcome(2, "S C C", "WWE"),
        ),
        Row::new(
            "an object without an id",
            create(ok("{}")),
            outcome(2, "S C", "E"),
        )
        .told(&["it may run all the same"])
        .original("patroni-25", outcome(2, "S C C", "WWE")),
        Row::new("a list", create(ok("[1]")), outcome(2, "S C", "E"))
            .original("patroni-2", outcome(1, "S C", "")),
        Row::new("a string", create(ok("\"x\"")), outcome(2, "S C", "E"))
            .original("patroni-2", outcome(1, "S C", "")),
        Row::new(
            "an echo of the request",
            create(status(400, "{\"remote_ssh_command\": \"ssh secret@node\"}")),
            outcome(2, "S C", "E"),
        )
        .told(&["***"])
        .original("patroni-3", outcome(2, "S C C", "WWE")),
        Row::new("closed", create(Act::Close), outcome(2, "S C", "E"))
            .told(&["it may run all the same"])
            .original("patroni-1", outcome(1, "S C", "")),
        Row::new(
            "cut off",
            create(raw("HTTP/1.1 202 OK\r\nContent-Length: 99\r\n\r\n{\"ope")),
            outcome(2, "S C", "E"),
        )
        .original("patroni-1", outcome(1, "S C", "")),
        Row::new(
            "gone",
            Script {
                health: vec![Act::LastAnswer(b"\"OK\"".to_vec())],
                ..Script::default()
            },
            outcome(2, "S", "WWWE"),
        ),
        Row::new(
            "gone, switch",
            Script {
                health: vec![Act::LastAnswer(b"\"OK\"".to_vec())],
                ..Script::default()
            },
            outcome(3, "S", "WWWE"),
        )
        .arguments(config_switch("primary", &["--reset", "--switch-when", "always"])),
        Row::new("no attempt", create(ok(CREATED)), outcome(2, "S", "E")).arguments(without_attempts()),
        Row::new(
            "an id that is a list",
            create(ok("{\"operation_id\":[]}")),
            outcome(2, "S C", "E"),
        )
        .original(
            "patroni-19",
            outcome(0, "S C GET /servers/main/operations/%5B%5D", "II"),
        ),
    ]);
}

#[test]
fn operations_that_are_lost() {
    compare(vec![
        Row::new(
            "404",
            created(vec![status(404, NOT_FOUND)]),
            outcome(2, "S C P P", "IWWE"),
        ),
        Row::new(
            "404 once",
            created(vec![status(404, NOT_FOUND), state("DONE")]),
            outcome(0, "S C P P", "IWI"),
        ),
        Row::new(
            "404, switch",
            created(vec![status(404, NOT_FOUND)]),
            outcome(3, "S C P P", "IWWE"),
        )
        .arguments(config_switch("primary", &["--reset", "--switch-when", "always"])),
        Row::new(
            "404 for people",
            created(vec![status(404, PAGE)]),
            outcome(2, "S C P P", "IWWE"),
        )
        .original("patroni-4", outcome(1, "S C P", "I")),
        Row::new(
            "closed",
            created(vec![Act::Close]),
            outcome(2, "S C P P P P", "IWWWE"),
        ),
        Row::new(
            "closed twice",
            created(vec![Act::Close, Act::Close, state("DONE")]),
            outcome(0, "S C P P P", "IWWI"),
        ),
        Row::new(
            "503, later",
            created(vec![with(503, "Retry-After", "0", "{}")]),
            outcome(2, "S C P P P P P P P P", "IIIIWIIIWE"),
        )
        .original("patroni-17", outcome(2, "S C P P P P P P P P", "IWWE")),
        Row::new(
            "429, later, then done",
            created(vec![with(429, "Retry-After", "1", "{}"), state("DONE")]),
            outcome(0, "S C P P", "III"),
        )
        .original("patroni-17", outcome(0, "S C P P", "II")),
        Row::new(
            "500",
            created(vec![status(500, PAGE), state("DONE")]),
            outcome(0, "S C P P", "IWI"),
        )
        .original("patroni-4", outcome(1, "S C P", "I")),
        Row::new("403", created(vec![status(403, "{}")]), outcome(2, "S C P", "IE"))
            .original("patroni-3", outcome(2, "S C P P", "IWWE")),
        Row::new(
            "unknown word",
            created(vec![ok(r#"{"status":"done"}"#)]),
            outcome(2, "S C P P", "IWWE"),
        ),
        Row::new(
            "a number",
            created(vec![ok(r#"{"status":1}"#)]),
            outcome(2, "S C P P", "IWWE"),
        ),
        Row::new(
            "null, then done",
            created(vec![ok(r#"{"status":null}"#), state("DONE")]),
            outcome(0, "S C P P", "IWI"),
        ),
        Row::new("a list", created(vec![ok("[]")]), outcome(2, "S C P", "IE"))
            .original("patroni-2", outcome(1, "S C P", "I")),
        Row::new(
            "no JSON",
            created(vec![ok("IN_PROGRESS")]),
            outcome(2, "S C P", "IE"),
        )
        .original("patroni-2", outcome(1, "S C P", "I")),
        Row::new(
            "an echo of the request",
            created(vec![ok(r#"{"remote_ssh_command": "ssh secret@node"}"#)]),
            outcome(2, "S C P P", "IWWE"),
        )
        .told(&["***"]),
        Row::new(
            "compressed, which nobody asked for, and broken",
            created(vec![with(200, "Content-Encoding", "gzip", "\u{1f}x")]),
            outcome(2, "S C P", "IE"),
        )
        .original("patroni-2", outcome(1, "S C P", "I")),
        Row::new(
            "a fresh count for each question",
            created(vec![
                ok("{}"),
                state("IN_PROGRESS"),
                ok("{}"),
                state("IN_PROGRESS"),
                ok("{}"),
                state("DONE"),
            ]),
            outcome(0, "S C P P P P P P", "IWIWIWI"),
        ),
    ]);
}

#[test]
fn redirects() {
    let there = "http://127.0.0.1:{port}/status?2";
    let poll = "http://127.0.0.1:{port}/poll";
    compare(vec![
        Row::new(
            "once",
            health(vec![with(302, "Location", there, ""), ok("\"OK\"")]),
            outcome(0, "S GET /status?2 C P", "III"),
        ),
        Row::new(
            "relative, with what no URL may have",
            health(vec![with(301, "Location", "a b/../c d", ""), ok("\"OK\"")]),
            outcome(0, "S GET /c%20d C P", "III"),
        ),
        Row::new(
            "three times",
            health(
                [307, 308, 303]
                    .map(|code| with(code, "Location", there, ""))
                    .into_iter()
                    .chain([ok("\"OK\"")])
                    .collect(),
            ),
            outcome(0, "S GET /status?2 GET /status?2 GET /status?2 C P", "IIIII"),
        ),
        Row::new(
            "for ever",
            health(vec![with(302, "Location", "/status", "")]),
            outcome(2, "S S S S", "IIIE"),
        )
        .original("patroni-1", outcome(1, "S S S S", "III")),
        Row::new(
            "without a target",
            health(vec![status(302, "\"OK\"")]),
            outcome(0, "S C P", "II"),
        ),
        Row::new(
            "to nowhere",
            health(vec![with(302, "Location", "http://127.0.0.1:1/", "")]),
            outcome(2, "S", "IWWE"),
        )
        .original("patroni-1", outcome(1, "S", "IWW")),
        Row::new(
            "to another scheme",
            health(vec![with(302, "Location", "ftp://h/", "")]),
            outcome(2, "S", "E"),
        )
        .original("patroni-1", outcome(1, "S", "I")),
        Row::new(
            "with a password",
            health(vec![
                with(302, "Location", "http://u:hunter2@127.0.0.1:{port}/x", ""),
                ok("\"OK\""),
            ]),
            outcome(0, "S GET /x C P", "III"),
        ),
        Row::new(
            "POST stays POST",
            script(
                vec![with(301, "Location", "/again", ""), ok(CREATED)],
                vec![state("DONE")],
            ),
            outcome(0, "S C POST /again P", "III"),
        ),
        Row::new(
            "but not with 303",
            script(
                vec![with(303, "Location", poll, "")],
                vec![ok(CREATED), state("DONE")],
            ),
            outcome(0, "S C GET /poll P", "III"),
        ),
        Row::new(
            "then closed",
            health(vec![with(302, "Location", "/x", ""), Act::Close]),
            outcome(2, "S GET /x GET /x GET /x", "IWWE"),
        )
        .original("patroni-1", outcome(1, "S GET /x GET /x GET /x", "IWW")),
    ]);
}

#[test]
fn urls() {
    let good = || created(vec![state("DONE")]);
    let done = || outcome(0, "S C P", "II");
    let mut proxies = Row::new("proxies of the environment", good(), done());
    proxies.environment = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "all_proxy",
        "ALL_PROXY",
    ]
    .map(|name| (name, "http://127.0.0.1:1".into()))
    .to_vec();
    let mut rows = vec![
        Row::new("blanks before", good(), done()).url(" \n\thttp://127.0.0.1:{port}"),
        Row::new("slash", good(), done()).url("http://127.0.0.1:{port}/"),
        Row::new("user and password", good(), done()).url("http://u:hunter2@127.0.0.1:{port}"),
        Row::new("upper case", good(), done()).url("HTTP://LOCALHOST:{port}"),
        proxies,
        Row::new("path", good(), outcome(0, "GET /a/status POST /a/servers/main/operations GET /a/servers/main/operations/20261121T050225", "II"))
            .url("http://127.0.0.1:{port}/a/?q=1"),
        Row::new("path without slash", good(), outcome(0, "S C P", "WII"))
            .url("http://127.0.0.1:{port}/api")
            .original("patroni-12", done()),
        Row::new("no scheme", good(), outcome(2, "", "E"))
            .url("127.0.0.1:{port}")
            .original("patroni-1", outcome(1, "", "WWW")),
        Row::new("another scheme", good(), outcome(2, "", "E"))
            .url("ftp://u:hunter2@127.0.0.1:{port}/")
            .original("patroni-1", outcome(1, "", "")),
        Row::new("no host", good(), outcome(2, "", "E"))
            .url("http://")
            .original("patroni-1", outcome(1, "", "")),
        Row::new("a server's name with blanks", good(),
            outcome(0, "S POST /servers/a%20%C3%A9/operations GET /servers/a%20%C3%A9/operations/20261121T050225", "II"))
            .arguments(recover(&["--barman-server", "a é"])),
        Row::new("a server's name with more", good(),
            outcome(0, "S POST /servers/a%2Fb%3Fc/operations GET /servers/a%2Fb%3Fc/operations/20261121T050225", "II"))
            .arguments(recover(&["--barman-server", "a/b?c"]))
            .original("patroni-11", outcome(0, "S POST /servers/a/b?c/operations GET /servers/a/b?c/operations/20261121T050225", "II")),
    ];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => rows.push(Row::new("an address of IPv6", good(), done()).url("http://[::1]:{port}")),
        Err(error) => executed::unproved(&format!("there is no IPv6: {error}")),
    }
    compare(rows);
}
