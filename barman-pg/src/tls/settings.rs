//! What a connection string says about encryption. No TLS library is needed to know that.

use std::path::PathBuf;

use crate::secret::Secret;

/// `sslmode`, from the laxest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    pub(crate) const WORDS: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, mode)| *mode == self)
            .map_or("", |(word, _)| word)
    }
}

/// `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Negotiation {
    /// Ask the server first, in clear.
    Postgres,
    /// Begin with the handshake (PostgreSQL 17).
    Direct,
}

/// `sslcertmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// Never send one.
    Disable,
    /// Send it if there is one and the server asks.
    Allow,
    /// The server must have asked and got one.
    Require,
}

/// Protocol versions that libpq knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

impl TlsVersion {
    const WORDS: [(&'static str, Self); 4] = [
        ("TLSv1", Self::V1_0),
        ("TLSv1.1", Self::V1_1),
        ("TLSv1.2", Self::V1_2),
        ("TLSv1.3", Self::V1_3),
    ];

    /// The version of that name, in any case of letters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|(_, version)| *version)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        Self::WORDS.map(|(word, _)| format!("\"{word}\"")).join(", ")
    }

    /// The name.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, version)| *version == self)
            .map_or("", |(word, _)| word)
    }
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The certificates in this file; nobody is checked if it does not exist, unless the mode demands it.
    File(PathBuf),
    /// The certificates of the system, from the first of these files and directories that exists.
    System(Vec<PathBuf>),
    /// No file is named and there is no home directory to look into.
    Unknown,
}

/// Everything that a handshake needs to know.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    pub(crate) mode: SslMode,
    pub(crate) negotiation: Negotiation,
    pub(crate) roots: Roots,
    /// Revocation lists: a file, a directory of hashed names.
    pub(crate) crl: Option<PathBuf>,
    pub(crate) crl_directory: Option<PathBuf>,
    pub(crate) client_certificate: ClientCertificate,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) key_password: Option<Secret>,
    /// Whether the host's name is sent in clear (`sslsni`).
    pub(crate) name_indication: bool,
    pub(crate) minimum: Option<TlsVersion>,
    pub(crate) maximum: Option<TlsVersion>,
    /// Where to log the session's keys.
    pub(crate) key_log: Option<PathBuf>,
}
