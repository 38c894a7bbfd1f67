//! Services that say nothing. The original waits for ever.

use std::net::TcpListener;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use patroni_barman::protocol::NewOperation;
use patroni_barman::{
    ApiError, ApiOptions, Deadlines, Event, Host, PgBackupApi, RecoverExit, RecoverOptions, TlsOptions,
    TransportErrorKind, recover,
};
use rustix::process::Signal;
use testkit::{Program, wait_until};

use crate::service::{Act, Script, Service, ok};

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
        self.waited.push(time.as_secs());
        if self.waited.len() > self.patience {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn api(url: &str, milliseconds: u64) -> PgBackupApi {
    let time = Duration::from_millis(milliseconds);
    let options = ApiOptions {
        deadlines: Deadlines {
            connect: time,
            answer: time,
        },
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
    };
    let service = Service::start(&script, None).unwrap();
    let url = format!("http://127.0.0.1:{}", service.port());
    (service, url)
}

#[test]
fn silence_ends() {
    for act in [
        Act::Silence,
        Act::Stall(b"HTTP/1.1 200 OK\r\nConte".to_vec()),
        Act::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\"O".to_vec()),
        Act::Stall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\"O".to_vec()),
    ] {
        let (service, url) = started(act);
        let mut notes = Notes::default();
        let api = api(&url, 300);
        let error = api.check(&mut notes).unwrap_err();
        assert!(
            matches!(&error, ApiError::Transport { error, .. } if error.kind == TransportErrorKind::Broken),
            "{error:?}"
        );
        assert_eq!(service.seen().len(), 4, "{error}");
        assert_eq!(notes.messages.len(), 3, "{:?}", notes.messages);
        // A POST may have been heard.
        let error = api.create("main", &NewOperation::Reset, &mut notes).unwrap_err();
        assert!(
            error.to_string().contains("no answer within 0.3 seconds"),
            "{error}"
        );
        assert_eq!(service.seen().len(), 5);
    }
}

#[test]
fn a_handshake_that_hangs_ends() {
    let (service, url) = started(Act::Silence);
    let error = api(&url.replace("http:", "https:"), 200)
        .create("main", &NewOperation::Reset, &mut Notes::default())
        .unwrap_err();
    // No byte of the request was sent: even a POST is repeated.
    assert!(
        matches!(&error, ApiError::Transport { error, .. } if error.kind == TransportErrorKind::NotConnected),
        "{error:?}"
    );
    assert_eq!(service.connections(), 4);
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
    let error = api(&format!("http://{address}"), 200)
        .check(&mut Notes::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("could not be made within 0.2 seconds"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn pauses_grow_only_while_the_service_is_ill() {
    let (_service, url) = started(Act::Answer(500, Vec::new(), b"<h1>ill</h1>".to_vec()));
    let mut notes = Notes {
        patience: 10,
        ..Notes::default()
    };
    let error = api(&url, 5000).status("main", "x", &mut notes).unwrap_err();
    assert_eq!(notes.waited, [2, 4, 8, 16]);
    assert!(error.to_string().contains("500: ill"), "{error}");
    let (_service, url) = started(ok("{}"));
    let mut notes = Notes {
        patience: 10,
        ..Notes::default()
    };
    assert!(api(&url, 5000).status("main", "x", &mut notes).is_err());
    assert_eq!(notes.waited, [2, 2, 2, 2]);
    assert!(
        notes.messages[0].contains("Attempt 1 of 5"),
        "{:?}",
        notes.messages
    );
    // Whoever runs the command can end every wait.
    let mut notes = Notes::default();
    assert_eq!(
        api(&url, 5000).status("main", "x", &mut notes),
        Err(ApiError::Cancelled)
    );
}

#[test]
fn a_limit_for_the_whole() {
    let script = Script {
        health: vec![ok("\"OK\"")],
        create: vec![ok(r#"{"operation_id":"x"}"#)],
        poll: vec![ok(r#"{"status":"IN_PROGRESS"}"#)],
    };
    let service = Service::start(&script, None).unwrap();
    let options = RecoverOptions {
        barman_server: "main".to_owned(),
        backup_id: "latest".to_owned(),
        ssh_command: "ssh".to_owned(),
        data_directory: "/x".to_owned(),
        loop_wait: Duration::from_secs(10),
        timeout: Some(Duration::from_nanos(1)),
    };
    let mut notes = Notes {
        patience: 10,
        ..Notes::default()
    };
    let api = api(&format!("http://127.0.0.1:{}", service.port()), 5000);
    assert_eq!(recover(&api, &options, &mut notes), RecoverExit::HttpError);
    let last = notes.messages.last().unwrap();
    assert!(
        last.starts_with("ERROR") && last.contains("--operation-timeout"),
        "{last}"
    );
    assert!(notes.waited.is_empty());
}

/// A signal ends the program at once, as the signal does, and the log says what goes on.
#[test]
fn signals() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        for act in [ok(r#"{"status":"IN_PROGRESS"}"#), Act::Silence] {
            let script = Script {
                health: vec![ok("\"OK\"")],
                create: vec![ok(r#"{"operation_id":"20261121T050225"}"#)],
                poll: vec![act],
            };
            let service = Service::start(&script, None).unwrap();
            let url = format!("http://127.0.0.1:{}", service.port());
            let mut running = Program::new(env!("CARGO_BIN_EXE_patroni_barman"))
                .spawn([
                    "--api-url",
                    &url,
                    "recover",
                    "--barman-server=main",
                    "--ssh-command=x",
                    "--datadir=/x",
                ])
                .unwrap();
            wait_until("the question", Duration::from_secs(20), || {
                Ok(service.seen().len() == 3)
            })
            .unwrap();
            running.signal(signal).unwrap();
            let finished = running.wait(Duration::from_secs(20)).unwrap();
            assert_eq!(finished.signal, Some(signal.as_raw()), "{finished}");
            let last = finished.stderr.lines().last().unwrap();
            assert!(
                last.ends_with(&format!(
                    "ERROR: Ended by {name}; the recovery operation 20261121T050225 goes on on the Barman host"
                )),
                "{last}"
            );
        }
    }
}
