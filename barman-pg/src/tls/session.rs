//! The handshake and the encrypted stream. Follows libpq's `initialize_SSL` and `open_client_SSL`
//! (`fe-secure-openssl.c`): the same files, the same checks in the same order, the same words.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::ssl::{
    ErrorCode, HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslContextBuilder, SslFiletype,
    SslMethod, SslMode as OpenSslMode, SslOptions, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509VerifyResult};

use super::{CertificateUse, ClientCertificate, Roots, SslMode, TlsFailure, TlsSettings, TlsVersion};
use super::{Negotiation, ffi, key, names};
use crate::connect::{Ready, Socket, Stuck, describe};
use crate::error::Error;

/// The protocol's name in the handshake (PostgreSQL 17).
const ALPN: &[u8] = b"\x0apostgresql";

/// An encrypted session over a socket that never blocks.
pub(crate) struct TlsSession {
    stream: SslStream<Socket>,
    peer: X509,
    certificate: CertificateUse,
}

impl TlsSession {
    pub(crate) fn socket(&self) -> &Socket {
        self.stream.get_ref()
    }

    /// Reads what is there; nothing if the peer ended the session.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stuck> {
        match self.stream.ssl_read(buffer) {
            Ok(count) => Ok(count),
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(0),
            Err(error) => stuck(&error),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Stuck> {
        self.stream.ssl_write(bytes).or_else(|error| stuck(&error))
    }

    /// Tells the peer that nothing more comes, if that is possible at once.
    pub(crate) fn close(&mut self) {
        let _ = self.stream.shutdown();
    }

    /// The hash of the server's certificate to which SCRAM binds the session (`tls-server-end-point`, RFC 5929).
    ///
    /// # Errors
    /// The reason in libpq's words: the certificate is signed in a way that has no digest of its own.
    pub(crate) fn server_end_point(&self) -> Result<Vec<u8>, String> {
        let Some(nid) = ffi::signature_digest(&self.peer) else {
            return Err("could not determine server certificate signature algorithm".to_owned());
        };
        let digest = match nid {
            Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
            other => MessageDigest::from_nid(other)
                .ok_or_else(|| format!("could not find digest for NID {}", other.as_raw()))?,
        };
        let der = self.peer.to_der().map_err(|error| reason(&error))?;
        let bytes = hash(digest, &der).map_err(|error| reason(&error))?;
        Ok(bytes.to_vec())
    }

    pub(crate) fn certificate(&self) -> CertificateUse {
        self.certificate
    }
}

/// Why nothing could be read or written just now.
fn stuck(error: &openssl::ssl::Error) -> Result<usize, Stuck> {
    match error.code() {
        ErrorCode::WANT_READ => Err(Stuck::Until(Ready::Read)),
        ErrorCode::WANT_WRITE => Err(Stuck::Until(Ready::Write)),
        _ => match error.io_error() {
            Some(io) => Err(Stuck::Failed(std::io::Error::new(io.kind(), io.to_string()))),
            // The connection was cut without the notice that ends a session: for the protocol above, an end like any.
            None if error.ssl_error().is_none() || is_cut(error) => Ok(0),
            None => Err(Stuck::Failed(std::io::Error::other(told(error)))),
        },
    }
}

/// OpenSSL 3 counts a missing end-of-session notice among the protocol errors.
fn is_cut(error: &openssl::ssl::Error) -> bool {
    error.ssl_error().is_some_and(|stack| {
        stack.errors().iter().any(|one| {
            one.reason()
                .is_some_and(|reason| reason.contains("unexpected eof"))
        })
    })
}

/// The reason of an error of OpenSSL, in its own words.
pub(super) fn reason(stack: &ErrorStack) -> String {
    match stack.errors().first() {
        None => "no SSL error reported".to_owned(),
        Some(error) => match error.reason() {
            Some(reason) => reason.to_owned(),
            // Errors of the system have a number instead of a reason.
            None => error
                .data()
                .map_or_else(|| format!("SSL error code {}", error.code()), str::to_owned),
        },
    }
}

fn told(error: &openssl::ssl::Error) -> String {
    if let Some(io) = error.io_error() {
        return format!("SSL SYSCALL error: {}", describe(io));
    }
    match error.ssl_error() {
        Some(stack) if !stack.errors().is_empty() => format!("SSL error: {}", reason(stack)),
        _ => "SSL SYSCALL error: EOF detected".to_owned(),
    }
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::V1_0 => SslVersion::TLS1,
        TlsVersion::V1_1 => SslVersion::TLS1_1,
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    }
}

/// Prepares everything that does not depend on the host; true if there is a certificate to send.
fn context(settings: &TlsSettings) -> Result<(SslContext, bool), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: ErrorStack| format!("{what}: {}", reason(&error))
    };
    let mut context =
        SslContextBuilder::new(SslMethod::tls_client()).map_err(failed("could not create SSL context"))?;
    ffi::watch_certificate_requests(&mut context);
    context.set_options(SslOptions::NO_SSLV2 | SslOptions::NO_SSLV3 | SslOptions::NO_COMPRESSION);
    context.set_mode(OpenSslMode::ACCEPT_MOVING_WRITE_BUFFER | OpenSslMode::ENABLE_PARTIAL_WRITE);
    context
        .set_min_proto_version(settings.minimum.map(version))
        .map_err(failed("could not set minimum SSL protocol version"))?;
    context
        .set_max_proto_version(settings.maximum.map(version))
        .map_err(failed("could not set maximum SSL protocol version"))?;
    context
        .set_alpn_protos(ALPN)
        .map_err(failed("could not set SSL ALPN extension"))?;
    let checked = load_roots(&mut context, settings)?;
    context.set_verify(if checked {
        SslVerifyMode::PEER
    } else {
        SslVerifyMode::NONE
    });
    if let Some(path) = &settings.key_log {
        log_keys(&mut context, path)?;
    }
    let certificate = settings
        .certificate
        .as_deref()
        .filter(|_| settings.client_certificate != ClientCertificate::Disable);
    let Some(certificate) = certificate else {
        return Ok((context.build(), false));
    };
    if let Err(error) = std::fs::metadata(certificate) {
        // Without the file there is no certificate, and the server says whether that will do.
        use std::io::ErrorKind::{NotADirectory, NotFound};
        if matches!(error.kind(), NotFound | NotADirectory) {
            return Ok((context.build(), false));
        }
        return Err(format!(
            "could not open certificate file \"{}\": {}",
            certificate.display(),
            describe(&error)
        ));
    }
    context
        .set_certificate_chain_file(certificate)
        .map_err(failed(&format!(
            "could not read certificate file \"{}\"",
            certificate.display()
        )))?;
    if let Some(path) = settings.key.as_deref() {
        let key = key::load(path, settings.key_password.as_ref())?;
        let mismatch = format!(
            "certificate does not match private key file \"{}\"",
            path.display()
        );
        context.set_private_key(&key).map_err(failed(&mismatch))?;
        context.check_private_key().map_err(failed(&mismatch))?;
    }
    Ok((context.build(), true))
}

/// Loads whom to believe and who was revoked; true if the server's certificate is to be checked.
fn load_roots(context: &mut SslContextBuilder, settings: &TlsSettings) -> Result<bool, String> {
    let remedy = "Either provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode to disable server certificate verification.";
    let file = match &settings.roots {
        Roots::System(paths) => {
            if paths.is_empty() {
                return Err("could not load system root certificate paths: none of the usual files exists; set SSL_CERT_FILE".to_owned());
            }
            for path in paths {
                let loaded = if path.is_dir() {
                    context.load_verify_locations(None, Some(path))
                } else {
                    context.set_ca_file(path)
                };
                loaded.map_err(|error| {
                    format!(
                        "could not load system root certificate paths: \"{}\": {}",
                        path.display(),
                        reason(&error)
                    )
                })?;
            }
            return Ok(true);
        }
        Roots::File(file) if file.exists() => file,
        Roots::File(file) if settings.mode >= SslMode::VerifyCa => {
            return Err(format!(
                "root certificate file \"{}\" does not exist\n{remedy}",
                file.display()
            ));
        }
        Roots::Unknown if settings.mode >= SslMode::VerifyCa => {
            return Err(format!(
                "could not get home directory to locate root certificate file\n{remedy}"
            ));
        }
        Roots::File(_) | Roots::Unknown => return Ok(false),
    };
    context.set_ca_file(file).map_err(|error| {
        format!(
            "could not read root certificate file \"{}\": {}",
            file.display(),
            reason(&error)
        )
    })?;
    load_revocations(context, settings);
    Ok(true)
}

/// As in libpq a revocation list that does not exist is not missed; one that was named is told of in the log.
fn load_revocations(context: &mut SslContextBuilder, settings: &TlsSettings) {
    let store = context.cert_store_mut();
    let mut loaded = false;
    if let Some(file) = &settings.crl {
        let done = file.exists()
            && store
                .add_lookup(X509Lookup::file())
                .and_then(|lookup| lookup.load_crl_file(file, SslFiletype::PEM))
                .is_ok();
        if !done && !file.ends_with(".postgresql/root.crl") {
            log::warn!(target: "barman.postgres", "certificate revocation list \"{}\" cannot be read: it is not used", file.display());
        }
        loaded |= done;
    }
    if let Some(directory) = &settings.crl_directory {
        loaded |= store
            .add_lookup(X509Lookup::hash_dir())
            .and_then(|lookup| lookup.add_dir(&directory.to_string_lossy(), SslFiletype::PEM))
            .is_ok();
    }
    if loaded {
        let _ = store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL);
    }
}

/// Appends the session's keys to a file that nobody else can read.
fn log_keys(context: &mut SslContextBuilder, path: &Path) -> Result<(), String> {
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            format!(
                "could not open SSL key logging file \"{}\": {}",
                path.display(),
                describe(&error)
            )
        })?;
    context.set_keylog_callback(move |_, line| {
        let _ = (&file).write_all(format!("{line}\n").as_bytes());
    });
    Ok(())
}

/// Encrypts a connection. `host` is the name that was asked for; `wait` waits for the socket, with deadline and interrupt.
pub(crate) fn handshake(
    settings: &TlsSettings,
    host: Option<&str>,
    socket: Socket,
    mut wait: impl FnMut(&Socket, Ready) -> Result<(), Error>,
) -> Result<TlsSession, TlsFailure> {
    let (context, sent) = context(settings).map_err(TlsFailure::Refused)?;
    let refused = |error: ErrorStack| {
        TlsFailure::Refused(format!("could not establish SSL connection: {}", reason(&error)))
    };
    let mut ssl = Ssl::new(&context).map_err(refused)?;
    let named = host.filter(|host| !host.is_empty());
    if let Some(name) = named
        && settings.name_indication
        && !is_address(name)
    {
        ssl.set_hostname(name).map_err(|error| {
            TlsFailure::Refused(format!(
                "could not set SSL Server Name Indication (SNI): {}",
                reason(&error)
            ))
        })?;
    }
    let mut outcome = ssl.connect(socket);
    let stream = loop {
        match outcome {
            Ok(stream) => break stream,
            Err(HandshakeError::SetupFailure(error)) => return Err(refused(error)),
            Err(HandshakeError::Failure(stream)) => {
                return Err(TlsFailure::Refused(handshake_error(&stream, settings)));
            }
            Err(HandshakeError::WouldBlock(stream)) => {
                let ready = if stream.error().code() == ErrorCode::WANT_WRITE {
                    Ready::Write
                } else {
                    Ready::Read
                };
                wait(stream.get_ref(), ready).map_err(TlsFailure::Waiting)?;
                outcome = stream.handshake();
            }
        }
    };
    let requested = ffi::certificate_requested();
    let Some(peer) = stream.ssl().peer_certificate() else {
        return Err(TlsFailure::Refused(
            "certificate could not be obtained: no SSL error reported".to_owned(),
        ));
    };
    if settings.negotiation == Negotiation::Direct && stream.ssl().selected_alpn_protocol().is_none() {
        return Err(TlsFailure::Refused(
            "direct SSL connection was established without ALPN protocol negotiation extension".to_owned(),
        ));
    }
    if settings.mode == SslMode::VerifyFull {
        let Some(name) = named else {
            return Err(TlsFailure::Refused(
                "host name must be specified for a verified SSL connection".to_owned(),
            ));
        };
        names::check(&peer, name).map_err(TlsFailure::Refused)?;
    }
    Ok(TlsSession {
        stream,
        peer,
        certificate: CertificateUse {
            requested,
            sent: sent && requested,
        },
    })
}

/// What looks like an address is not sent as a name (RFC 6066).
fn is_address(host: &str) -> bool {
    host.contains(':') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn handshake_error(stream: &MidHandshakeSslStream<Socket>, settings: &TlsSettings) -> String {
    let mut text = told(stream.error());
    let verified = stream.ssl().verify_result();
    if text.contains("certificate verify failed") && verified != X509VerifyResult::OK {
        text = format!("{text}: {}", verified.error_string());
    }
    if text.contains("protocol") || text.contains("version") {
        text = format!(
            "{text}\nThis may indicate that the server does not support any SSL protocol version between {} and {}.",
            settings.minimum.unwrap_or(TlsVersion::V1_0).word(),
            settings.maximum.unwrap_or(TlsVersion::V1_3).word()
        );
    }
    text
}
