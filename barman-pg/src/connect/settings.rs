//! What a connection string says about encryption: `sslmode` and the options around it, with libpq's default files.

use std::path::{Path, PathBuf};

use super::values::{Values, invalid, shown};
use crate::error::Error;
use crate::secret::Secret;
use crate::tls::{ClientCertificate, Negotiation, Roots, SslMode, TlsSettings, TlsVersion};

/// Where systems keep the certificates that they trust, files first (Debian, Red Hat, SUSE, Alpine).
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
];

pub(super) fn tls(values: &Values<'_>) -> Result<TlsSettings, Error> {
    let own = values.home().map(|home| home.join(".postgresql"));
    let file = |keyword: &str, default: &str| -> Option<PathBuf> {
        match values.get(keyword) {
            Some(path) => Some(PathBuf::from(path)),
            None => own.as_ref().map(|directory| directory.join(default)),
        }
    };
    let system = values.get("sslrootcert").is_some_and(|path| path == "system");
    let required = values
        .variable("PGREQUIRESSL")
        .is_some_and(|text| text.starts_with('1'));
    let default = match (system, required) {
        (_, true) => SslMode::Require,
        (true, false) => SslMode::VerifyFull,
        (false, false) => SslMode::Prefer,
    };
    let mode = values.choice("sslmode", &SslMode::WORDS, default)?;
    if system && mode != SslMode::VerifyFull {
        return Err(invalid(
            "sslmode",
            format!(
                "weak sslmode \"{}\" may not be used with sslrootcert=system (use \"verify-full\")",
                mode.word()
            ),
        ));
    }
    let negotiation = values.choice(
        "sslnegotiation",
        &[
            ("postgres", Negotiation::Postgres),
            ("direct", Negotiation::Direct),
        ],
        Negotiation::Postgres,
    )?;
    if negotiation == Negotiation::Direct && mode < SslMode::Require {
        return Err(invalid(
            "sslmode",
            format!(
                "weak sslmode \"{}\" may not be used with sslnegotiation=direct (use \"require\", \"verify-ca\", or \"verify-full\")",
                mode.word()
            ),
        ));
    }
    let version = |keyword: &str| -> Result<Option<TlsVersion>, Error> {
        match values.get(keyword) {
            None => Ok(None),
            Some(text) => TlsVersion::parse(&text).map(Some).ok_or_else(|| {
                invalid(
                    keyword,
                    format!("{} is none of {}", shown(&text), TlsVersion::names()),
                )
            }),
        }
    };
    let minimum = match values.written("ssl_min_protocol_version").as_deref() {
        None => Some(TlsVersion::V1_2),
        // As in libpq: whatever the library allows.
        Some("") => None,
        Some(_) => version("ssl_min_protocol_version")?,
    };
    let maximum = version("ssl_max_protocol_version")?;
    if let (Some(minimum), Some(maximum)) = (minimum, maximum)
        && minimum > maximum
    {
        return Err(invalid(
            "ssl_max_protocol_version",
            format!(
                "{} is below ssl_min_protocol_version, {}",
                maximum.word(),
                minimum.word()
            ),
        ));
    }
    let client_certificate = values.choice(
        "sslcertmode",
        &[
            ("disable", ClientCertificate::Disable),
            ("allow", ClientCertificate::Allow),
            ("require", ClientCertificate::Require),
        ],
        ClientCertificate::Allow,
    )?;
    let key = values.get("sslkey");
    if let Some(key) = &key
        && key.contains(':')
    {
        return Err(Error::Unsupported {
            option: "sslkey".to_owned(),
            // A URI of PKCS #11 may hold a PIN.
            value: format!("{}:...", key.split(':').next().unwrap_or_default()),
            why: "keys in OpenSSL engines (engine:key) are not; name a file without a colon",
        });
    }
    let (crl, crl_directory) = (values.get("sslcrl"), values.get("sslcrldir"));
    Ok(TlsSettings {
        mode,
        negotiation,
        roots: if system {
            Roots::System(system_roots(values))
        } else {
            file("sslrootcert", "root.crt").map_or(Roots::Unknown, Roots::File)
        },
        crl: match (&crl, &crl_directory) {
            (None, None) => file("sslcrl", "root.crl"),
            _ => crl.map(PathBuf::from),
        },
        crl_directory: crl_directory.map(PathBuf::from),
        client_certificate,
        certificate: file("sslcert", "postgresql.crt"),
        key: file("sslkey", "postgresql.key"),
        key_password: values.get("sslpassword").map(Secret::from),
        name_indication: values.written("sslsni").is_none_or(|text| text.starts_with('1')),
        minimum,
        maximum,
        key_log: values.get("sslkeylogfile").map(PathBuf::from),
    })
}

/// OpenSSL's variables go first, as everywhere.
fn system_roots(values: &Values<'_>) -> Vec<PathBuf> {
    let named: Vec<PathBuf> = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .filter_map(|variable| values.variable(variable))
        .map(PathBuf::from)
        .collect();
    if !named.is_empty() {
        return named;
    }
    SYSTEM_ROOTS
        .into_iter()
        .map(Path::new)
        .find(|path| values.is_there(path))
        .map(Path::to_path_buf)
        .into_iter()
        .collect()
}
