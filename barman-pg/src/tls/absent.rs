//! Stands in for the TLS library in builds without the feature `tls`.

use super::{CertificateUse, TlsFailure, TlsSettings};
use crate::connect::{Ready, Socket, Stuck};
use crate::error::Error;

/// A session that never exists.
pub(crate) enum TlsSession {}

impl TlsSession {
    pub(crate) fn socket(&self) -> &Socket {
        match *self {}
    }

    pub(crate) fn read(&mut self, _: &mut [u8]) -> Result<usize, Stuck> {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: &[u8]) -> Result<usize, Stuck> {
        match *self {}
    }

    pub(crate) fn close(&mut self) {
        match *self {}
    }

    pub(crate) fn server_end_point(&self) -> Result<Vec<u8>, String> {
        match *self {}
    }

    pub(crate) fn certificate(&self) -> CertificateUse {
        match *self {}
    }
}

pub(crate) fn handshake(
    _: &TlsSettings,
    _: Option<&str>,
    _: Socket,
    _: impl FnMut(&Socket, Ready) -> Result<(), Error>,
) -> Result<TlsSession, TlsFailure> {
    Err(TlsFailure::Refused("this build has no TLS".to_owned()))
}
