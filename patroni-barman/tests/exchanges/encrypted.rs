//! Exchanges over TLS: whom we believe, and who we are.

use std::path::{Path, PathBuf};

use openssl::ssl::SslAcceptor;
use testkit::{Program, TestDir, cache};

use crate::certificates::{acceptor, all};
use crate::run::{Row, compare, file, outcome, owned, recover};
use crate::service::{Script, Service, ok, with};

fn script() -> Script {
    Script {
        health: vec![ok("\"OK\"")],
        create: vec![ok(r#"{"operation_id":"20261121T050225"}"#)],
        poll: vec![ok(r#"{"status":"DONE"}"#)],
        cancel: Vec::new(),
    }
}

fn row(name: &'static str, ours: crate::run::Outcome, server: fn() -> SslAcceptor, believed: &Path) -> Row {
    let mut row = Row::new(name, script(), ours).url("https://127.0.0.1:{port}");
    row.tls = Some(server);
    // Nobody else is believed, whatever the system has.
    row.environment = vec![
        ("SSL_CERT_FILE", believed.to_path_buf()),
        ("SSL_CERT_DIR", PathBuf::from("/nonexistent")),
    ];
    row
}

/// Options before those of the row.
fn with_options(row: Row, options: &[&dyn AsRef<Path>]) -> Row {
    let words = ["--cert-file", "--key-file"].into_iter().zip(options);
    let mut arguments: Vec<String> = words
        .flat_map(|(name, path)| [name.to_owned(), path.as_ref().to_str().unwrap().to_owned()])
        .collect();
    arguments.extend(recover(&[]));
    row.arguments(arguments)
}

#[test]
fn whom_to_believe() {
    let dir = TestDir::new().unwrap();
    let authority = file(&dir, "authority.pem", &all().authority.certificate_pem());
    let own = file(&dir, "own.pem", &all().own.certificate_pem());
    let nobody = dir.join("nobody.pem");
    let server: fn() -> SslAcceptor = || acceptor(&all().server, false);
    let done = || outcome(0, "S C P", "II");
    let refused = || outcome(2, "", "E");
    let tried = || outcome(1, "", "WWW");
    let mut ca = row("--ca-file", done(), server, &nobody).original("patroni-9", tried());
    ca.arguments
        .insert(0, format!("--ca-file={}", authority.display()));
    let mut bad_ca = row("--ca-file that is not there", refused(), server, &authority)
        .original("patroni-9", done())
        .told(&["No such file"]);
    bad_ca
        .arguments
        .insert(0, format!("--ca-file={}", nobody.display()));
    let mut down = row("to no encryption", outcome(2, "S", "E"), server, &authority)
        .told(&["not encrypted"])
        .original("patroni-8", outcome(1, "S", "IWW"));
    down.script.health = vec![with(302, "Location", "http://127.0.0.1:1/status", "")];
    compare(vec![
        row("an authority", done(), server, &authority),
        row(
            "a server's own certificate",
            done(),
            || acceptor(&all().own, false),
            &own,
        ),
        row("unknown authority", refused(), server, &own)
            .told(&[
                "certificate is not accepted",
                "unable to get local issuer certificate",
            ])
            .original("patroni-7", tried()),
        row(
            "an expired certificate",
            refused(),
            || acceptor(&all().expired, false),
            &authority,
        )
        .told(&["certificate has expired"])
        .original("patroni-7", tried()),
        row("an address by a name", refused(), server, &authority)
            .url("https://localhost:{port}")
            .told(&["hostname mismatch"])
            .original("patroni-7", tried()),
        row("no authority", refused(), server, &nobody).original("patroni-7", tried()),
        row(
            "another host's",
            refused(),
            || acceptor(&all().stranger, false),
            &authority,
        )
        .told(&["IP address mismatch"])
        .original("patroni-7", tried()),
        ca,
        bad_ca,
        down,
    ]);
}

#[test]
fn who_we_are() {
    let dir = TestDir::new().unwrap();
    let authority = file(&dir, "authority.pem", &all().authority.certificate_pem());
    let client = &all().client;
    let (certificate, key) = (client.certificate_pem(), client.key_pem());
    let both = file(&dir, "both.pem", &[certificate.clone(), key.clone()].concat());
    let certificate = file(&dir, "client.pem", &certificate);
    let key = file(&dir, "client.key", &key);
    let wrong_key = file(&dir, "wrong.key", &all().server.key_pem());
    let none = dir.join("none.pem");
    let server: fn() -> SslAcceptor = || acceptor(&all().server, true);
    let done = || outcome(0, "S C P", "II");
    let refused = || outcome(2, "", "E");
    let tried = || outcome(1, "", "WWW");
    let row = |name, ours| row(name, ours, server, &authority);
    let mut key_alone = row("a key alone", refused()).original("patroni-7", tried());
    key_alone
        .arguments
        .splice(0..0, ["--key-file".to_owned(), key.display().to_string()]);
    let undemanding: fn() -> SslAcceptor = || acceptor(&all().server, false);
    let undemanding = crate::encrypted::row("empty paths, nothing demanded", done(), undemanding, &authority);
    let mut plain = Row::new("nothing is read for http", script(), done());
    plain = with_options(plain, &[&none, &none]);
    compare(vec![
        with_options(row("certificate and key", done()), &[&certificate, &key]),
        with_options(row("both in one", done()), &[&both]),
        row("no certificate", refused())
            .told(&["the server says", "certificate required"])
            .original("patroni-7", tried()),
        key_alone,
        with_options(row("a certificate without its key", refused()), &[&certificate])
            .original("patroni-7", tried()),
        with_options(row("another's key", refused()), &[&certificate, &wrong_key])
            .told(&["wrong.key"])
            .original("patroni-7", tried()),
        with_options(row("a file that is not there", refused()), &[&none, &key])
            .told(&["none.pem", "No such file"])
            .original("patroni-7", tried()),
        plain,
        with_options(row("empty paths", refused()), &[&"", &""]).original("patroni-7", tried()),
        with_options(undemanding, &[&"", &""]),
    ]);
}

/// Without a terminal nobody can be asked for the pass phrase.
#[test]
fn an_encrypted_key_without_a_terminal() {
    let dir = TestDir::new().unwrap();
    let authority = file(&dir, "authority.pem", &all().authority.certificate_pem());
    let certificate = file(&dir, "client.pem", &all().client.certificate_pem());
    let key = file(&dir, "client.key", &all().client.encrypted_key_pem());
    let service = Service::start(&script(), Some(acceptor(&all().server, true))).unwrap();
    let run = |program: PathBuf| {
        let mut words = owned(&["--wait", program.to_str().unwrap()]);
        words.push(format!("--api-url=https://127.0.0.1:{}", service.port()));
        words.push(format!("--cert-file={}", certificate.display()));
        words.push(format!("--key-file={}", key.display()));
        words.extend(recover(&[]));
        Program::new("/usr/bin/setsid")
            .env("SSL_CERT_FILE", &authority)
            .run(words)
            .unwrap()
    };
    let ours = run(env!("CARGO_BIN_EXE_patroni_barman").into());
    assert_eq!(ours.code, Some(2), "{ours}");
    assert!(
        ours.stderr.contains("ERROR") && ours.stderr.contains("client.key\" cannot be used"),
        "{ours}"
    );
    let original = run(cache::patroni_program("patroni_barman"));
    assert_eq!(original.code, Some(1), "{original}");
    assert_eq!(service.seen(), []);
}
