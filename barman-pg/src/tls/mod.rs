//! Encrypted connections, with the outcome that `psql` has.
//!
//! This is OpenSSL, compiled from source and linked statically, and not rustls: PostgreSQL's own manual makes
//! certificates (`openssl req -new -x509 -subj "/CN=host"`) that rustls refuses. Its verifier takes no certificate of
//! version 1, none whose name stands in the common name only, and none that is its own root; whoever uses such a
//! certificate with `sslmode=verify-full` today would be locked out. Checking chains by hand instead would be worse than
//! the C code that does it in libpq.
//!
//! Without the feature `tls` there is no C code: `disable`, `allow` and `prefer` connect in clear, stricter modes are
//! refused by name.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod ffi;
#[cfg(feature = "tls")]
mod key;
#[cfg(feature = "tls")]
mod names;
#[cfg(feature = "tls")]
mod session;
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "read and checked, also where nothing comes of it")
)]
mod settings;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{TlsSession, handshake};
#[cfg(feature = "tls")]
pub(crate) use session::{TlsSession, handshake};
pub(crate) use settings::{ClientCertificate, Negotiation, Roots, SslMode, TlsSettings, TlsVersion};

use crate::error::Error;

/// Whether this build has a TLS library.
pub(crate) const AVAILABLE: bool = cfg!(feature = "tls");

/// Why there is no encrypted session.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "nothing fails where nothing is tried")
)]
pub(crate) enum TlsFailure {
    /// The settings, the files or the peer do not allow it: the reason in libpq's words.
    Refused(String),
    /// Waiting for the peer ended.
    Waiting(Error),
}

/// What became of the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CertificateUse {
    /// The server asked for one.
    pub(crate) requested: bool,
    /// There was one to send.
    pub(crate) sent: bool,
}
