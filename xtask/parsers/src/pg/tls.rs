//! Encryption: a peer that says what the input says, with what a server's certificate may hold, and files of keys and
//! certificates.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use barman_pg::{ConnInfo, ConnectOptions, ReplicationClient};
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod};
use openssl::x509::{X509, X509Builder, X509Extension, X509NameBuilder};

use super::search::write_private;
use super::server::frames;
use crate::input::{choice, reached, scratch, text};

/// The longest that anything here waits.
const LIMIT: Duration = Duration::from_secs(5);

/// What the peer does with a connection.
enum Part {
    /// Answers the request for encryption, or nothing if there is none, with these bytes.
    Says(Vec<u8>),
    /// Encrypts.
    Encrypts(SslContext),
}

struct Peer {
    port: u16,
    parts: Sender<Part>,
    /// What came in clear, and whether anything came through encryption.
    heard: Receiver<(Vec<u8>, bool)>,
}

/// Lets a client talk to a peer that plays this part on the first connection and closes every other one.
fn play(part: Part, settings: &[(&str, &str)]) -> (Vec<u8>, bool, Result<(), String>) {
    static PEER: OnceLock<Mutex<Peer>> = OnceLock::new();
    let peer = PEER.get_or_init(|| Mutex::new(start()));
    let peer = peer.lock().unwrap_or_else(PoisonError::into_inner);
    while peer.heard.try_recv().is_ok() {}
    peer.parts.send(part).expect("the peer lives");
    let info = settings
        .iter()
        .fold(ConnInfo::default(), |info, (keyword, value)| {
            info.with(keyword, *value).expect("a keyword")
        });
    let info = [
        ("hostaddr", "127.0.0.1"),
        ("user", "nobody-asks-for-me"),
        ("password", "secret"),
        ("port", peer.port.to_string().as_str()),
    ]
    .into_iter()
    .fold(info, |info, (keyword, value)| {
        info.with(keyword, value).expect("a keyword")
    });
    let options = ConnectOptions {
        environment: |name| (name == "HOME").then(|| scratch().to_string_lossy().into_owned()),
        ..ConnectOptions::default().with_timeouts(LIMIT, LIMIT)
    };
    let outcome = ReplicationClient::connect(&info.streaming(), &options);
    let outcome = outcome.map(drop).map_err(|error| error.to_string());
    // Whatever was not used must not be left for the next input.
    drop(TcpStream::connect(("127.0.0.1", peer.port)));
    let (clear, encrypted) = peer.heard.recv_timeout(2 * LIMIT).expect("the peer tells");
    (clear, encrypted, outcome)
}

fn start() -> Peer {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let (parts, next) = channel();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(part) = next.try_recv()
                && tell.send(talk(stream, &part)).is_err()
            {
                return;
            }
        }
    });
    Peer { port, parts, heard }
}

fn talk(mut stream: TcpStream, part: &Part) -> (Vec<u8>, bool) {
    let _ = stream.set_read_timeout(Some(LIMIT));
    let _ = stream.set_write_timeout(Some(LIMIT));
    let mut first = [0; 8];
    if stream.read_exact(&mut first).is_err() {
        return (Vec::new(), false);
    }
    match part {
        Part::Says(bytes) => {
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut heard = first.to_vec();
            let _ = stream.take(1 << 20).read_to_end(&mut heard);
            (heard, false)
        }
        Part::Encrypts(context) => {
            let accepted = stream
                .write_all(b"S")
                .ok()
                .and_then(|()| Ssl::new(context).ok()?.accept(stream).ok());
            let came = accepted.is_some_and(|mut stream| {
                let count = stream.read(&mut [0; 64]);
                let _ = stream.shutdown();
                matches!(count, Ok(1..))
            });
            (first.to_vec(), came)
        }
    }
}

/// What a server says to a request for encryption, and in the handshake: there is no session, and nothing but the
/// request and the handshake is said in clear unless the user lets it.
pub fn tls_answers(bytes: &[u8]) {
    let (mode, rest) = choice(bytes, 3);
    let settings: &[(&str, &str)] = match mode {
        0 => &[("sslmode", "require")],
        1 => &[("sslmode", "require"), ("sslnegotiation", "direct")],
        _ => &[("sslmode", "prefer")],
    };
    let (clear, _, outcome) = play(Part::Says(rest.to_vec()), settings);
    // More than the request came: the answer was taken for one to begin the handshake.
    if clear.len() > 8 {
        reached();
    }
    if mode < 2 {
        assert!(outcome.is_err(), "a session with somebody who has no key");
        let name = b"nobody-asks-for-me";
        assert!(
            !clear.windows(name.len()).any(|here| here == name),
            "the startup message in clear"
        );
    }
}

fn key() -> &'static PKey<Private> {
    static KEY: OnceLock<PKey<Private>> = OnceLock::new();
    KEY.get_or_init(|| {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key = EcKey::generate(&group).expect("a key");
        PKey::from_ec_key(key).expect("a key")
    })
}

/// A certificate signed by itself.
fn certificate(common: Option<&str>, alternatives: &[(u8, &[u8])]) -> Option<X509> {
    let mut name = X509NameBuilder::new().ok()?;
    if let Some(common) = common {
        name.append_entry_by_nid(Nid::COMMONNAME, common).ok()?;
    }
    let name = name.build();
    let mut made = X509Builder::new().ok()?;
    made.set_version(2).ok()?;
    made.set_subject_name(&name).ok()?;
    made.set_issuer_name(&name).ok()?;
    made.set_not_before(Asn1Time::days_from_now(0).ok()?.as_ref())
        .ok()?;
    made.set_not_after(Asn1Time::days_from_now(30).ok()?.as_ref())
        .ok()?;
    made.set_pubkey(key()).ok()?;
    if !alternatives.is_empty() {
        let names: Vec<u8> = alternatives
            .iter()
            .flat_map(|(tag, name)| der(*tag, name))
            .collect();
        let names = Asn1OctetString::new_from_bytes(&der(0x30, &names)).ok()?;
        let kind = Asn1Object::from_str("2.5.29.17").ok()?;
        made.append_extension(X509Extension::new_from_der(&kind, false, &names).ok()?)
            .ok()?;
    }
    made.sign(key(), MessageDigest::sha256()).ok()?;
    Some(made.build())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// The names in a server's certificate: who is not named gets nothing from us. The first part of the input is the host
/// that is asked for; each other one a name, by its first byte: `c` the common name, `i` an address, `d` or anything
/// else a host.
pub fn certificate_names(bytes: &[u8]) {
    let mut parts = frames(bytes).into_iter();
    let host = parts
        .next()
        .and_then(text)
        .filter(|host| !host.is_empty() && !host.starts_with(['/', '@']) && !host.contains([',', '\0']));
    let Some(host) = host else { return };
    let mut common = None;
    let mut alternatives = Vec::new();
    for part in parts.take(20) {
        match part.split_first() {
            Some((b'c', name)) => common = text(name),
            Some((b'i', name)) => alternatives.push((0x87, name)),
            Some((_, name)) => alternatives.push((0x82, name)),
            None => {}
        }
    }
    let Some(made) = certificate(common, &alternatives) else {
        return;
    };
    let root = scratch().join("root.crt");
    fs::write(&root, made.to_pem().expect("a certificate")).expect("write a file");
    let mut context = SslContextBuilder::new(SslMethod::tls_server()).expect("a context");
    context.set_certificate(&made).expect("a certificate");
    context.set_private_key(key()).expect("its key");
    let settings = [
        ("host", host),
        ("sslmode", "verify-full"),
        ("sslrootcert", &root.to_string_lossy()),
    ];
    let (_, came, _) = play(Part::Encrypts(context.build()), &settings);
    if came {
        reached();
        let ip: Option<IpAddr> = host.parse().ok();
        let names = alternatives
            .iter()
            .map(|(tag, name)| (*tag, *name))
            .chain(common.map(|name| (0x82, name.as_bytes())));
        let mut names = names.collect::<Vec<_>>().into_iter();
        let named = names.any(|(tag, name)| match tag {
            0x82 => stands_for(name, host.as_bytes()),
            _ => ip.is_none_or(|ip| match ip {
                IpAddr::V4(ip) => ip.octets() == name,
                IpAddr::V6(ip) => ip.octets() == name,
            }),
        });
        assert!(named, "{host} is taken for one of {common:?}, {alternatives:?}");
    }
}

/// The same in any case, or one label for the asterisk.
fn stands_for(name: &[u8], host: &[u8]) -> bool {
    let (name, host) = (name.to_ascii_lowercase(), host.to_ascii_lowercase());
    let label_and_rest = host
        .iter()
        .position(|byte| *byte == b'.')
        .map(|at| host.split_at(at));
    name == host || label_and_rest.is_some_and(|(_, rest)| name.strip_prefix(b"*") == Some(rest))
}

/// Files of certificates, keys and revocations that the connection string names.
pub fn tls_files(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 5);
    let input = scratch().join("tls-input");
    write_private(&input, rest);
    let input = input.to_string_lossy().into_owned();
    let own = scratch().join("client.crt");
    let own = own.to_string_lossy().into_owned();
    if which == 3 || which == 4 {
        let made = certificate(Some("u"), &[]).expect("a certificate");
        fs::write(&own, made.to_pem().expect("a certificate")).expect("write a file");
    }
    let settings: &[(&str, &str)] = match which {
        0 => &[("sslmode", "verify-ca"), ("sslrootcert", &input)],
        1 => &[
            ("sslmode", "require"),
            ("sslrootcert", &input),
            ("sslcrl", &input),
        ],
        2 => &[("sslmode", "require"), ("sslcert", &input)],
        3 => &[("sslmode", "require"), ("sslcert", &own), ("sslkey", &input)],
        _ => &[
            ("sslmode", "require"),
            ("sslcert", &own),
            ("sslkey", &input),
            ("sslpassword", "x"),
        ],
    };
    let (clear, _, outcome) = play(Part::Says(b"S".to_vec()), settings);
    // Whoever begins the handshake has read the files.
    if clear.len() > 8 {
        reached();
    }
    assert!(outcome.is_err(), "a session with somebody who says nothing");
}
