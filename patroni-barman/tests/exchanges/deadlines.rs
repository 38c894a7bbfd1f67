//! Services that say nothing (patroni-5), and what ends the wait for them. The original waits for ever.

use std::io::Write as _;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use patroni_barman::protocol::NewOperation;
use patroni_barman::{
    ApiError, ApiOptions, Deadlines, Event, Host, PgBackupApi, RecoverExit, RecoverOptions, Silent,
    TlsOptions, TransportErrorKind, recover,
};
use rustix::process::Signal;
use testkit::{Background, Program, TestDir, wait_until};

use crate::certificates::{acceptor, all};
use crate::run::file;
use crate::service::{Act, Script, Service, drip, ok, status, with};

/// Keeps the messages, and the waits instead of waiting.
#[derive(Default)]
struct Notes {
    messages: Vec<String>,
    waited: Vec<u64>,
    patience: usize,
}

impl Host for Notes {
    fn tell(&mut self, event: &Event<'_>) {
        self.messages.push(format!("{} {event}", event.level()));
    }

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        if !time.is_zero() {
            self.waited.push(time.as_secs());
        }
        if self.waited.len() > self.patience {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// What is waited for where something comes, whatever the machine has to do besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of a client that waits for nothing in vain.
fn patient(url: &str) -> PgBackupApi {
    api(url, PATIENCE, PATIENCE)
}

fn api(url: &str, connect: Duration, answer: Duration) -> PgBackupApi {
    let options = ApiOptions {
        deadlines: Deadlines { connect, answer },
        tls: TlsOptions::default(),
        ..ApiOptions::default()
    };
    PgBackupApi::new(url, options).unwrap()
}

fn started(act: Act) -> (Service, String) {
    let script = Script {
        health: vec![act.clone()],
        create: vec![act.clone()],
        poll: vec![act],
        cancel: Vec::new(),
    };
    let service = Service::start(&script, None).unwrap();
    let url = format!("http://127.0.0.1:{}", service.port());
    (service, url)
}

/// Waits until the service has read so many requests: of one that was given up, that may come later.
fn seen(service: &Service, requests: usize) {
    wait_until("the requests", PATIENCE, || Ok(service.seen().len() == requests)).unwrap();
}

#[test]
fn silence_ends() {
    // The program's own are longer (patroni-5).
    let program = Deadlines {
        connect: Duration::from_secs(10),
        answer: Duration::from_secs(60),
    };
    assert_eq!(Deadlines::default(), program);
    for act in [
        Act::Silence,
        Act::Stall(b"HTTP/1.1 200 OK\r\nConte".to_vec()),
        Act::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\"O".to_vec()),
        Act::Stall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\"O".to_vec()),
    ] {
        let (service, url) = started(act);
        let mut notes = Notes::default();
        let api = api(&url, PATIENCE, Duration::from_millis(300));
        let error = api.check(&mut notes).unwrap_err();
        assert!(
            matches!(&error, ApiError::Transport { error, .. } if error.kind == TransportErrorKind::Broken),
            "{error:?}"
        );
        seen(&service, 4);
        assert_eq!(notes.messages.len(), 3, "{:?}", notes.messages);
        // A POST may have been heard.
        let error = api.create("main", &NewOperation::Reset, &mut notes).unwrap_err();
        assert!(
            error.to_string().contains("no answer within 0.3 seconds"),
            "{error}"
        );
        seen(&service, 5);
    }
}

/// Pause between two bytes of a trickle.
const NOW_AND_THEN: Duration = Duration::from_millis(20);

/// What a POST to a service comes to that answers like this.
fn trickle(head: &[u8], again: &'static [u8], tls: bool, authority: &Path) -> ApiError {
    let script = Script {
        create: vec![Act::Drip(head.to_vec(), again, NOW_AND_THEN)],
        ..Script::default()
    };
    let service = Service::start(&script, tls.then(|| acceptor(&all().server, false))).unwrap();
    let scheme = if tls { "https" } else { "http" };
    let mut options = ApiOptions {
        deadlines: Deadlines {
            connect: Duration::from_secs(30),
            answer: Duration::from_secs(1),
        },
        ..ApiOptions::default()
    };
    options.tls.ca_file = Some(authority.to_path_buf());
    let api = PgBackupApi::new(&format!("{scheme}://127.0.0.1:{}", service.port()), options).unwrap();
    api.create("main", &NewOperation::Reset, &mut Notes::default())
        .unwrap_err()
}

/// One byte now and then keeps nobody waiting longer than silence does, on either side of TLS.
#[test]
fn trickles_end() {
    let dir = TestDir::new().unwrap();
    let authority = file(&dir, "authority.pem", &all().authority.certificate_pem());
    let trickles = [
        (&b"HTTP/1.1 200 OK\r\nX: "[..], &b"x"[..]),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b" "),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"X: y\r\n",
        ),
    ];
    std::thread::scope(|scope| {
        for (head, again) in trickles {
            for tls in [false, true] {
                let authority = &authority;
                scope.spawn(move || {
                    let error = trickle(head, again, tls, authority);
                    assert!(
                        error.to_string().contains("no answer within 1 seconds") && error.leaves_doubt(),
                        "{again:?} {tls}: {error:?}"
                    );
                });
            }
        }
    });
    // Inside the handshake, where a record of 16 KiB never becomes whole.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dripping = std::thread::spawn(move || {
        for _ in 0..4 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"\x16\x03\x03\x40\x00\x02");
            drip(&mut stream, b"\0", NOW_AND_THEN, || false);
        }
    });
    let short = Duration::from_millis(300);
    let error = api(&format!("https://{address}"), short, short)
        .check(&mut Notes::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("could not be made within 0.3 seconds"),
        "{error}"
    );
    dripping.join().unwrap();
}

/// What has no end is not read to its end, nor kept.
#[test]
fn floods_end() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, again, why) in [
        (
            &b"HTTP/1.1 200 OK\r\nX: "[..],
            &b"xxxxxxxx"[..],
            "the head of the answer has more than 65536 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"        ", "more than 1048576 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
            b"        ",
            "more than 1048576 bytes",
        ),
        (chunked, b"8\r\n        \r\n", "more than 1048576 bytes"),
        (
            chunked,
            b"ffffffffffffffff\r\n        ",
            "more than 1048576 bytes",
        ),
        (chunked, b"0000000000000000000", ""),
        (chunked, b"1;xxxxxxxxxxxxxxxxxxxxxx\r\n", ""),
    ] {
        let (_service, url) = started(Act::Drip(head.to_vec(), again, Duration::ZERO));
        let error = patient(&url)
            .create("main", &NewOperation::Reset, &mut Notes::default())
            .unwrap_err();
        assert!(error.to_string().contains(why), "{again:?}: {error}");
        assert!(
            !error.to_string().contains("no answer within"),
            "{again:?}: {error}"
        );
    }
}

/// patroni-24: nobody knows whether a service is just closing the connection that it has kept.
#[test]
fn a_post_has_a_connection_of_its_own() {
    let (service, url) = started(ok(r#"{"operation_id":"x","status":"DONE"}"#));
    let api = patient(&url);
    let mut notes = Notes::default();
    for _ in 0..3 {
        api.status("main", "x", &mut notes).unwrap();
        let before = service.connections();
        api.create("main", &NewOperation::Reset, &mut notes).unwrap();
        assert_eq!(service.connections(), before + 1);
    }
}

/// Services close a connection that is not used, some after the very time that is between two questions.
#[test]
fn no_connection_is_kept_over_a_pause() {
    let script = Script {
        health: vec![ok("\"OK\"")],
        create: vec![ok(r#"{"operation_id":"x"}"#)],
        poll: vec![
            ok(r#"{"status":"IN_PROGRESS"}"#),
            ok(r#"{"status":"IN_PROGRESS"}"#),
            ok(r#"{"status":"DONE"}"#),
        ],
        cancel: Vec::new(),
    };
    let service = Service::start(&script, None).unwrap();
    let options = RecoverOptions {
        loop_wait: Duration::from_secs(1),
        timeout: None,
        ..options()
    };
    let api = patient(&format!("http://127.0.0.1:{}", service.port()));
    assert_eq!(recover(&api, &options, &mut Silent), RecoverExit::RecoveryDone);
    // One for the creation, where the first question comes at once, and one for each of the others.
    assert_eq!(service.seen().len(), 4);
    assert!(service.connections() >= 3, "{}", service.connections());
}

#[test]
fn a_handshake_that_hangs_ends() {
    let (service, url) = started(Act::Silence);
    let short = Duration::from_millis(200);
    let error = api(&url.replace("http:", "https:"), short, short)
        .create("main", &NewOperation::Reset, &mut Notes::default())
        .unwrap_err();
    // No byte of the request was sent: even a POST is repeated.
    assert!(
        matches!(&error, ApiError::Transport { error, .. } if error.kind == TransportErrorKind::NotConnected),
        "{error:?}"
    );
    wait_until("the connections", PATIENCE, || Ok(service.connections() == 4)).unwrap();
}

#[test]
fn a_connection_that_is_not_accepted_ends() {
    // Its queue is full before we come.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first: Vec<_> = (0..4)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .collect();
    let start = Instant::now();
    let error = api(&format!("http://{address}"), Duration::from_millis(200), PATIENCE)
        .check(&mut Notes::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("could not be made within 0.2 seconds"),
        "{error}"
    );
    assert!(start.elapsed() < PATIENCE);
}

/// No pause follows the last attempt (patroni-23): there are four of five attempts.
#[test]
fn pauses_grow_only_while_the_service_is_ill() {
    let (_service, url) = started(Act::Answer(500, Vec::new(), b"<h1>ill</h1>".to_vec()));
    let mut notes = Notes {
        patience: 10,
        ..Notes::default()
    };
    let error = patient(&url).status("main", "x", &mut notes).unwrap_err();
    assert_eq!(notes.waited, [2, 4, 8, 16]);
    assert!(error.to_string().contains("500: ill"), "{error}");
    let (_service, url) = started(ok("{}"));
    let mut notes = Notes {
        patience: 10,
        ..Notes::default()
    };
    assert!(patient(&url).status("main", "x", &mut notes).is_err());
    assert_eq!(notes.waited, [2, 2, 2, 2]);
    assert!(
        notes.messages[0].contains("Attempt 1 of 5"),
        "{:?}",
        notes.messages
    );
    // Whoever runs the command can end every wait.
    let mut notes = Notes::default();
    assert_eq!(
        patient(&url).status("main", "x", &mut notes),
        Err(ApiError::Cancelled)
    );
}

/// A recovery that ends because it may take no longer; what was told and waited.
fn out_of_time(script: &Script, timeout: Duration) -> Notes {
    let service = Service::start(script, None).unwrap();
    let options = RecoverOptions {
        timeout: Some(timeout),
        ..options()
    };
    let mut notes = Notes {
        patience: 10,
        ..Notes::default()
    };
    let api = patient(&format!("http://127.0.0.1:{}", service.port()));
    assert_eq!(recover(&api, &options, &mut notes), RecoverExit::HttpError);
    let last = notes.messages.last().unwrap();
    assert!(
        last.starts_with("ERROR") && last.contains("--operation-timeout"),
        "{last}"
    );
    notes
}

/// patroni-14.
#[test]
fn a_limit_for_the_whole() {
    let script = Script {
        health: vec![ok("\"OK\"")],
        create: vec![ok(r#"{"operation_id":"x"}"#)],
        poll: vec![ok(r#"{"status":"IN_PROGRESS"}"#)],
        cancel: Vec::new(),
    };
    let notes = out_of_time(&script, Duration::from_nanos(1));
    assert!(notes.waited.is_empty());
}

/// The same as an option of the program (patroni-14): the exit code is that of the command, and the wait for the next
/// question is cut short.
#[test]
fn a_limit_as_an_option() {
    let recover = [
        "recover",
        "--barman-server=main",
        "--ssh-command=x",
        "--datadir=/x",
    ];
    let switch = [
        "config-switch",
        "--barman-server=main",
        "--reset",
        "--switch-when=always",
        "on_role_change",
        "primary",
        "c",
    ];
    for (command, code) in [(&recover[..], 2), (&switch[..], 3)] {
        let script = Script {
            health: vec![ok("\"OK\"")],
            create: vec![ok(r#"{"operation_id":"x"}"#)],
            poll: vec![ok(r#"{"status":"IN_PROGRESS"}"#)],
            cancel: Vec::new(),
        };
        let service = Service::start(&script, None).unwrap();
        let url = format!("--api-url=http://127.0.0.1:{}", service.port());
        let run = Program::new(env!("CARGO_BIN_EXE_patroni_barman"))
            .run(
                [
                    &[url.as_str(), command[0], "--operation-timeout=1"],
                    &command[1..],
                ]
                .concat(),
            )
            .unwrap();
        assert_eq!(run.code, Some(code), "{run}");
        let last = run.stderr.lines().last().unwrap();
        assert!(
            last.contains("ERROR: ") && last.contains("--operation-timeout"),
            "{run}"
        );
        assert!(service.seen().iter().all(|seen| !seen.line.starts_with("DELETE")));
    }
}

/// patroni-14: the limit counts also where the service asks to wait, and while answers that cannot be used are asked for again.
#[test]
fn a_limit_for_all_waits() {
    for (poll, before) in [
        (with(503, "Retry-After", "100", "{}"), 0),
        (status(500, "ill"), 3),
    ] {
        let script = Script {
            create: vec![ok(r#"{"operation_id":"x"}"#)],
            poll: vec![poll],
            ..Script::default()
        };
        let notes = out_of_time(&script, Duration::from_secs(15));
        // 2, 4, 8 seconds between attempts, which pass at once here; then there is less than the next pause.
        let (end, pauses) = notes.waited.split_last().unwrap();
        assert!(pauses.len() == before && *end <= 15, "{:?}", notes.waited);
    }
}

fn options() -> RecoverOptions {
    RecoverOptions {
        barman_server: "main".to_owned(),
        backup_id: "latest".to_owned(),
        ssh_command: "ssh".to_owned(),
        data_directory: "/x".to_owned(),
        loop_wait: Duration::from_secs(10),
        timeout: None,
    }
}

/// A running `recover`, when its service has seen so many requests.
fn running(script: &Script, requests: usize) -> (Service, Background) {
    let service = Service::start(script, None).unwrap();
    let url = format!("http://127.0.0.1:{}", service.port());
    let running = Program::new(env!("CARGO_BIN_EXE_patroni_barman"))
        .spawn([
            "--api-url",
            &url,
            "recover",
            "--barman-server=main",
            "--ssh-command=x",
            "--datadir=/x",
            // Nobody asks once more meanwhile.
            "--loop-wait=3600",
        ])
        .unwrap();
    seen(&service, requests);
    (service, running)
}

/// patroni-15: a signal ends the program, as the signal does. A restore is ended on the Barman host if the service can do that; the
/// log says what goes on.
#[test]
fn signals() {
    let goes_on = "; the recovery operation 20261121T050225 goes on on the Barman host";
    let ended = "; the recovery operation 20261121T050225 is ended on the Barman host too";
    let asked = ok(r#"{"status":"IN_PROGRESS"}"#);
    for (signal, name, poll, cancel, expected) in [
        (
            Signal::TERM,
            "SIGTERM",
            asked.clone(),
            status(405, "<h1>no</h1>"),
            goes_on,
        ),
        (Signal::INT, "SIGINT", Act::Silence, status(404, "{}"), goes_on),
        (Signal::HUP, "SIGHUP", asked.clone(), Act::Close, goes_on),
        (Signal::TERM, "SIGTERM", Act::Silence, Act::Silence, goes_on),
        (Signal::TERM, "SIGTERM", Act::Silence, status(202, "{}"), ended),
        (Signal::INT, "SIGINT", asked, status(200, ""), ended),
    ] {
        let script = Script {
            health: vec![ok("\"OK\"")],
            create: vec![ok(r#"{"operation_id":"20261121T050225"}"#)],
            poll: vec![poll],
            cancel: vec![cancel],
        };
        let (service, mut running) = running(&script, 3);
        running.signal(signal).unwrap();
        let finished = running.wait(PATIENCE).unwrap();
        assert_eq!(finished.signal, Some(signal.as_raw()), "{finished}");
        let last = finished.stderr.lines().last().unwrap();
        assert!(
            last.ends_with(&format!("ERROR: Ended by {name}{expected}")),
            "{last}"
        );
        let seen = service.seen();
        assert_eq!(
            seen[3].line,
            "DELETE /servers/main/operations/20261121T050225 HTTP/1.1"
        );
    }
}

/// Before the service has answered nobody knows what it does.
#[test]
fn a_signal_while_the_operation_is_created() {
    let script = Script {
        health: vec![ok("\"OK\"")],
        create: vec![Act::Silence],
        ..Script::default()
    };
    let (_service, mut running) = running(&script, 2);
    running.signal(Signal::TERM).unwrap();
    let finished = running.wait(PATIENCE).unwrap();
    assert_eq!(finished.signal, Some(Signal::TERM.as_raw()), "{finished}");
    assert!(
        finished
            .stderr
            .contains("whether the service has created the recovery operation is not known"),
        "{finished}"
    );
}
