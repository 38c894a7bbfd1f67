//! The only place of this crate that reads the environment.

use std::path::PathBuf;

/// Where OpenSSL looks for certificates of authorities, if the environment says so.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn certificates() -> (Option<PathBuf>, Option<PathBuf>) {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    (variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR"))
}
