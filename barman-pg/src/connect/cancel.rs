//! Asking a server to stop what it is doing on a session: a CancelRequest over a connection of its own, encrypted if the
//! session is (as libpq does from PostgreSQL 17 on).

use std::time::Duration;

use super::socket::Address;
use super::startup::{self, Encryption};
use super::{ConnectOptions, Deadline, Host, Plan, SocketSettings};
use crate::error::Error;
use crate::replication::wire::{Doing, Patience, Wire};
use crate::tls::{SslMode, TlsSettings};

/// How long a session that is given up waits for its request to be taken.
pub(crate) const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// The code in place of a protocol version (PostgreSQL, `pqcomm.h`).
const CANCEL_REQUEST_CODE: u32 = 80_877_102;

/// Cancels what a session is doing, from any thread. Made by [`SqlClient::canceller`](crate::SqlClient::canceller) and
/// [`ReplicationClient::canceller`](crate::ReplicationClient::canceller).
#[derive(Clone)]
pub struct Canceller {
    address: Address,
    host: Host,
    socket: SocketSettings,
    /// Set if the session is encrypted.
    tls: Option<TlsSettings>,
    process: u32,
    secret: u32,
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canceller")
            .field("address", &self.host.label())
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Canceller {
    pub(super) fn new(plan: &Plan, host: &Host, address: &Address, encrypted: bool, key: (u32, u32)) -> Self {
        let mut host = host.clone();
        host.password = None;
        Self {
            address: address.clone(),
            host,
            socket: plan.socket.clone(),
            // The key is a secret of the encrypted session: it does not go out in clear.
            tls: encrypted.then(|| TlsSettings {
                mode: plan.tls.mode.max(SslMode::Require),
                ..plan.tls.clone()
            }),
            process: key.0,
            secret: key.1,
        }
    }

    /// Sends the request and waits until the server has taken it; whether anything was cancelled is seen on the session.
    ///
    /// # Errors
    /// The server could not be reached within the limit.
    pub fn cancel(&self, limit: Duration) -> Result<(), Error> {
        const CANCELLING: Doing = Doing::Borrowed("cancelling");
        // Not to be interrupted: it is what an interrupt leads to.
        let options = ConnectOptions {
            interrupt: None,
            ..ConnectOptions::default()
        };
        let deadline = Deadline::after(Some(limit));
        let encryption = if self.tls.is_some() {
            Encryption::Tls
        } else {
            Encryption::None
        };
        let channel = startup::open_channel(
            &self.address,
            &self.host,
            &self.socket,
            self.tls.as_ref(),
            encryption,
            &options,
            deadline,
        )
        .map_err(super::Failure::into_error)?;
        let mut wire = Wire::new(channel, self.host.label(), limit);
        let mut packet = Vec::with_capacity(16);
        for word in [16, CANCEL_REQUEST_CODE, self.process, self.secret] {
            packet.extend(word.to_be_bytes());
        }
        let patience = Patience::StubbornUntil(deadline);
        wire.send(&packet, patience, &CANCELLING)?;
        match wire.frame(patience, &CANCELLING) {
            // The server answers by hanging up.
            Err(Error::Closed { .. } | Error::Io { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Does so for a session that is given up: briefly, and a failure is only noted.
    pub(crate) fn cancel_abandoned(&self) {
        if let Err(error) = self.cancel(CANCEL_LIMIT) {
            log::debug!(target: "barman.postgres", "the server could not be asked to cancel: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::connect::SessionKind;

    /// Somebody in between can say that the server has no encryption.
    #[test]
    fn the_key_of_an_encrypted_session_does_not_go_out_in_clear() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"N").unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let options = ConnectOptions {
            environment: |_| None,
            ..ConnectOptions::default()
        };
        let info = format!("host=127.0.0.1 port={} user=u sslmode=prefer", address.port());
        let plan = Plan::new(&info.parse().unwrap(), SessionKind::Standard, &options).unwrap();
        let canceller = Canceller::new(&plan, &plan.hosts[0], &Address::Tcp(address), true, (1, 2));
        assert!(canceller.cancel(Duration::from_secs(60)).is_err());
        assert_eq!(server.join().unwrap(), b"");
    }
}
