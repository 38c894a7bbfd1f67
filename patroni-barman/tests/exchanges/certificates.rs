//! Certificates made for the tests: an authority, servers, a client.

use std::sync::OnceLock;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

/// A certificate and its key.
pub struct Pair {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl Pair {
    pub fn certificate_pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    pub fn encrypted_key_pem(&self) -> Vec<u8> {
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        self.key
            .private_key_to_pem_pkcs8_passphrase(cipher, b"pass phrase")
            .unwrap()
    }

    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }
}

/// What all tests of a process share.
pub struct Certificates {
    pub authority: Pair,
    /// For 127.0.0.1 and localhost.
    pub server: Pair,
    /// As `server`, until yesterday.
    pub expired: Pair,
    /// For another host.
    pub stranger: Pair,
    /// Signed by itself, for 127.0.0.1.
    pub own: Pair,
    pub client: Pair,
}

pub fn all() -> &'static Certificates {
    static ALL: OnceLock<Certificates> = OnceLock::new();
    ALL.get_or_init(|| {
        let valid = || [0, 2].map(|days| Asn1Time::days_from_now(days).unwrap());
        let authority = make("authority", None, None, valid());
        let signed = |name, host| make(name, host, Some(&authority), valid());
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let past = [20, 1].map(|days| Asn1Time::from_unix(now - days * 86400).unwrap());
        Certificates {
            server: signed("server", Some("127.0.0.1")),
            stranger: signed("stranger", Some("127.0.0.2")),
            expired: make("expired", Some("127.0.0.1"), Some(&authority), past),
            own: make("own", Some("127.0.0.1"), None, valid()),
            client: signed("client", None),
            authority,
        }
    })
}

fn make(name: &str, address: Option<&str>, issuer: Option<&Pair>, [from, to]: [Asn1Time; 2]) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial
        .rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false)
        .unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder
        .set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name()))
        .unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&from).unwrap();
    builder.set_not_after(&to).unwrap();
    if issuer.is_none() {
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
    }
    if let Some(address) = address {
        let names = SubjectAlternativeName::new()
            .ip(address)
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
    }
    builder
        .sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256())
        .unwrap();
    Pair {
        certificate: builder.build(),
        key,
    }
}

/// A server with this certificate; it may demand one of the client.
pub fn acceptor(pair: &Pair, demand: bool) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&pair.certificate).unwrap();
    builder.set_private_key(&pair.key).unwrap();
    if demand {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(all().authority.certificate.clone()).unwrap();
        builder.set_verify_cert_store(store.build()).unwrap();
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    builder.build()
}
