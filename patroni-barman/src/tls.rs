//! TLS as a step between `ureq` and its sockets, by OpenSSL.
//!
//! Not rustls, though `ureq` brings it: it refuses certificates that the original accepts (a server's own certificate
//! as its root) and encrypted private keys, and reads no `SSL_CERT_DIR` by hash.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use openssl::error::ErrorStack;
use openssl::ssl::{
    ErrorCode, HandshakeError, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslOptions,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509VerifyResult;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use thiserror::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::environment;

/// Certificates of the client and of those whom it believes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM certificate of the client, with its key unless `key_file` has that.
    pub cert_file: Option<PathBuf>,
    /// PEM key of the client. Without a certificate it is not used.
    pub key_file: Option<PathBuf>,
    /// PEM certificates of authorities, in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A failure of TLS that another attempt would only repeat: certificates that are not there, do not fit, or are not
/// believed.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct TlsRefusal(String);

fn refuse(text: String) -> ureq::Error {
    ureq::Error::Other(Box::new(TlsRefusal(text)))
}

/// A failure that may pass.
fn broken(text: String) -> ureq::Error {
    ureq::Error::Io(io::Error::other(text))
}

/// Encrypts connections of `https` URLs. Certificates are read when the first one is made.
pub(crate) struct TlsConnector {
    options: TlsOptions,
    context: OnceLock<SslContext>,
}

impl TlsConnector {
    pub(crate) fn new(options: TlsOptions) -> Self {
        Self {
            options,
            context: OnceLock::new(),
        }
    }

    fn context(&self) -> Result<&SslContext, ureq::Error> {
        if let Some(context) = self.context.get() {
            return Ok(context);
        }
        let context = context(&self.options).map_err(refuse)?;
        Ok(self.context.get_or_init(|| context))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let ssl = session(self.context()?, host)
            .map_err(|error| broken(format!("TLS cannot be prepared: {}", reason(&error))))?;
        let transport: Box<dyn Transport> = Box::new(transport);
        let mut adapter = TransportAdapter::new(transport, details.current_time.clone());
        adapter.set_timeout(details.timeout);
        let stream = ssl.connect(adapter).map_err(|error| match error {
            HandshakeError::SetupFailure(error) => {
                broken(format!("TLS cannot be prepared: {}", reason(&error)))
            }
            HandshakeError::Failure(middle) | HandshakeError::WouldBlock(middle) => {
                let verdict = middle.ssl().verify_result();
                if verdict == X509VerifyResult::OK {
                    failure("the TLS handshake failed", middle.into_error())
                } else {
                    refuse(format!(
                        "the server's certificate is not accepted: {}",
                        verdict.error_string()
                    ))
                }
            }
        })?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// An encrypted connection.
pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: SslStream<TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output();
        let output = output.get(..amount).unwrap_or_default();
        let Err(error) = self.stream.write_all(output) else {
            return Ok(());
        };
        // A server that does not like our certificate says so, and closes; why is still to be read.
        let why = self.stream.read(&mut [0]).err();
        let told = why.map(|error| from_io("the TLS connection broke", error));
        Err(told
            .filter(|error| matches!(error, ureq::Error::Other(_)))
            .unwrap_or_else(|| from_io("the TLS connection broke", error)))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = match self.stream.read(self.buffers.input_append_buf()) {
            Ok(amount) => amount,
            Err(error) => return cut_or(from_io("the TLS connection broke", error)),
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// A connection that ends without TLS's own farewell has ended; whether the answer is whole its length says.
fn cut_or(error: ureq::Error) -> Result<bool, ureq::Error> {
    match &error {
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        _ => Err(error),
    }
}

fn from_io(what: &str, error: io::Error) -> ureq::Error {
    match error.downcast::<openssl::ssl::Error>() {
        Ok(error) => failure(what, error),
        // A failure of the connection below: a deadline, for example.
        Err(error) => ureq::Error::from(error),
    }
}

/// What OpenSSL reports, as what it is: a failure of the connection below, a peer that objects, or a broken protocol.
fn failure(what: &str, error: openssl::ssl::Error) -> ureq::Error {
    let code = error.code();
    let told = error.ssl_error().map(reason);
    if let Ok(io) = error.into_io_error() {
        return ureq::Error::from(io);
    }
    match told {
        Some(told) if told.contains("unexpected eof") => ureq::Error::Io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{what}: the peer closed the connection"),
        )),
        // The peer has said what it does not like: a missing certificate, for example.
        Some(told) if told.contains("alert") => refuse(format!("{what}: the server says \"{told}\"")),
        Some(told) => broken(format!("{what}: {told}")),
        None if code == ErrorCode::ZERO_RETURN || code == ErrorCode::SYSCALL => {
            ureq::Error::Io(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{what}: the peer closed the connection"),
            ))
        }
        None => broken(what.to_owned()),
    }
}

fn reason(stack: &ErrorStack) -> String {
    let Some(error) = stack.errors().first() else {
        return "no reason given".to_owned();
    };
    match (error.reason(), error.data()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(data)) => data.to_owned(),
        (None, None) => format!("error code {}", error.code()),
    }
}

/// Everything that does not depend on the host.
fn context(options: &TlsOptions) -> Result<SslContext, String> {
    let prepare = |error: ErrorStack| format!("TLS cannot be prepared: {}", reason(&error));
    let mut context = SslContextBuilder::new(SslMethod::tls_client()).map_err(prepare)?;
    context
        .set_min_proto_version(Some(SslVersion::TLS1_2))
        .map_err(prepare)?;
    context.set_options(SslOptions::NO_COMPRESSION);
    context.set_alpn_protos(b"\x08http/1.1").map_err(prepare)?;
    context.set_verify(SslVerifyMode::PEER);
    context
        .verify_param_mut()
        .set_flags(X509VerifyFlags::PARTIAL_CHAIN)
        .map_err(prepare)?;
    load_authorities(&mut context, options.ca_file.as_deref())?;
    let Some(certificate) = &options.cert_file else {
        return Ok(context.build());
    };
    let unusable = |what: &str, path: &Path| {
        let text = format!("the {what} \"{}\" cannot be used", path.display());
        move |error: ErrorStack| format!("{text}: {}", reason(&error))
    };
    readable("client certificate", certificate)?;
    context
        .set_certificate_chain_file(certificate)
        .map_err(unusable("client certificate", certificate))?;
    let key = options.key_file.as_ref().unwrap_or(certificate);
    readable("client key", key)?;
    context
        .set_private_key_file(key, SslFiletype::PEM)
        .map_err(unusable("client key", key))?;
    context.check_private_key().map_err(unusable("client key", key))?;
    Ok(context.build())
}

/// The operating system's reason is better than OpenSSL's.
fn readable(what: &str, path: &Path) -> Result<(), String> {
    fs::File::open(path)
        .map(drop)
        .map_err(|error| format!("the {what} \"{}\" cannot be read: {error}", path.display()))
}

/// Where systems keep the certificates of authorities: as files of their own under the hash of their names, and
/// together in one file.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn load_authorities(context: &mut SslContextBuilder, own: Option<&Path>) -> Result<(), String> {
    let unusable = |path: &Path| {
        let text = format!(
            "the certificates of authorities in \"{}\" cannot be used",
            path.display()
        );
        move |error: ErrorStack| format!("{text}: {}", reason(&error))
    };
    if let Some(path) = own {
        readable("file of authorities", path)?;
        return context.set_ca_file(path).map_err(unusable(path));
    }
    let (file, directory) = environment::certificates();
    let named = file.is_some();
    // Files under their hashes are read one by one as they are needed, a bundle as a whole.
    let directory = directory.or_else(|| {
        let mut directories = DIRECTORIES.iter().map(PathBuf::from);
        directories.find(|path| has_hashes(path))
    });
    let bundle = BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    let file = file.or_else(|| bundle.filter(|_| directory.is_none()));
    if let Some(path) = &directory {
        context
            .load_verify_locations(None, Some(path))
            .map_err(unusable(path))?;
    }
    if let Some(path) = &file
        && let Err(error) = context.set_ca_file(path)
    {
        // As with OpenSSL everywhere, a variable that leads nowhere means that nobody is believed.
        if !named {
            return Err(unusable(path)(error));
        }
    }
    Ok(())
}

fn has_hashes(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes()
            .split_first_chunk::<8>()
            .is_some_and(|(hash, rest)| hash.iter().all(u8::is_ascii_hexdigit) && rest == b".0")
    })
}

/// A session with the host of an URL, whose certificate must have that name or address.
fn session(context: &SslContext, host: &str) -> Result<Ssl, ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => ssl.param_mut().set_ip(address)?,
        Err(_) => {
            ssl.set_hostname(bare)?;
            ssl.param_mut()
                .set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
            ssl.param_mut().set_host(bare)?;
        }
    }
    Ok(ssl)
}
