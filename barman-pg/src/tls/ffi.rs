//! The two functions of OpenSSL that the `openssl` crate does not have.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

use foreign_types::ForeignTypeRef as _;
use openssl::nid::Nid;
use openssl::ssl::SslContextBuilder;
use openssl::x509::X509Ref;

#[allow(non_snake_case, reason = "OpenSSL's names")]
unsafe extern "C" {
    fn SSL_CTX_set_cert_cb(
        context: *mut c_void,
        callback: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    fn X509_get_signature_info(
        certificate: *mut c_void,
        digest: *mut c_int,
        key: *mut c_int,
        bits: *mut c_int,
        flags: *mut u32,
    ) -> c_int;
}

thread_local! {
    /// Whether the server of the handshake that this thread runs has asked for a certificate.
    static REQUESTED: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C" fn note(_: *mut c_void, _: *mut c_void) -> c_int {
    REQUESTED.set(true);
    1
}

/// Makes handshakes of this context tell [`certificate_requested`] whether the server asks for a certificate.
pub(super) fn watch_certificate_requests(context: &mut SslContextBuilder) {
    REQUESTED.set(false);
    // SAFETY: the context is alive; the callback is a function of this program, uses no argument and cannot unwind.
    unsafe { SSL_CTX_set_cert_cb(context.as_ptr().cast(), Some(note), ptr::null_mut()) };
}

/// Whether the server asked for a certificate in the handshake that this thread has just finished. OpenSSL calls back
/// on the thread that drives the handshake.
pub(super) fn certificate_requested() -> bool {
    REQUESTED.get()
}

/// The digest of the certificate's signature, also for RSA-PSS, whose digest is a parameter.
pub(super) fn signature_digest(certificate: &X509Ref) -> Option<Nid> {
    let mut digest = 0;
    // SAFETY: the certificate is alive and only read (it caches the answer under a lock of its own); null pointers are
    // allowed for the answers that are not wanted.
    let done = unsafe {
        X509_get_signature_info(
            certificate.as_ptr().cast(),
            &raw mut digest,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    (done == 1).then(|| Nid::from_raw(digest))
}
