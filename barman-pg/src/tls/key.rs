//! The client's private key: who may read its file, and how it is read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};

use crate::connect::{describe, read_file};
use crate::secret::Secret;

/// Reads the key in PEM or DER form.
///
/// # Errors
/// The reason in libpq's words. Nobody is ever asked for a password: an encrypted key needs `sslpassword`.
pub(super) fn load(path: &Path, password: Option<&Secret>) -> Result<PKey<Private>, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            format!("certificate present, but not private key file \"{shown}\"")
        } else {
            format!(
                "could not stat private key file \"{shown}\": {}",
                describe(&error)
            )
        }
    })?;
    check_owner_and_mode(&metadata).map_err(|why| format!("private key file \"{shown}\" {why}"))?;
    let text =
        read_file(path).map_err(|why| format!("could not load private key file \"{shown}\": {why}"))?;
    let mut asked = false;
    let key = PKey::private_key_from_pem_callback(&text, |buffer| {
        asked = true;
        let password = password.map_or("", Secret::expose).as_bytes();
        match buffer.get_mut(..password.len()) {
            Some(room) if !password.is_empty() => {
                room.copy_from_slice(password);
                Ok(password.len())
            }
            _ => Err(ErrorStack::get()),
        }
    })
    .or_else(|error| PKey::private_key_from_der(&text).map_err(|_| error));
    key.map_err(|error| {
        let why = if asked && password.is_none() {
            "it is encrypted, and sslpassword is not set".to_owned()
        } else {
            super::session::reason(&error)
        };
        format!("could not load private key file \"{shown}\": {why}")
    })
}

/// Root's own files may be readable by a group, everybody else's by nobody else.
fn check_owner_and_mode(metadata: &Metadata) -> Result<(), &'static str> {
    if !metadata.is_file() {
        return Err("is not a regular file");
    }
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        return Err(
            "has group or world access; file must have permissions u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root",
        );
    }
    Ok(())
}
