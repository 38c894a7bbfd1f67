//! Convincing the server who we are, and seeing to it that it is the server that the user wants: password, MD5,
//! SCRAM-SHA-256 with and without channel binding, and what needs no word of ours (trust, peer, client certificates).

mod require;
mod scram;

use bytes::Bytes;
use pgwire::messages::startup;
use postgres_protocol::authentication::md5_hash;

pub(crate) use require::{ChannelBinding, RequireAuth};
use scram::{Binding, Proof, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, Scram, ScramFailure};

use crate::connect::{Channel, Failure, Host, Plan};
use crate::error::{Error, NO_PASSWORD, sqlstate};
use crate::replication::messages::{self, Authentication};
use crate::replication::session::send;
use crate::replication::wire::{Doing, Patience, Wire};
use crate::secret::Secret;
use crate::tls::{CertificateUse, ClientCertificate};

const CONNECTING: Doing = Doing::Borrowed("connecting");

/// How far an authentication has come.
#[derive(Default)]
struct Exchange {
    scram: Option<Scram>,
    /// What the server has still to prove.
    proof: Option<Proof>,
    /// A password has been sent, or SCRAM has been completed.
    finished: bool,
    /// Both sides have proved to be on the same TLS session.
    bound: bool,
}

/// Answers the server until it is convinced. Nothing is sent that the user's demands forbid.
pub(crate) fn authenticate(
    wire: &mut Wire,
    plan: &Plan,
    host: &Host,
    patience: Patience,
) -> Result<(), Failure> {
    let mut exchange = Exchange::default();
    loop {
        let request = request(wire, patience)?;
        check(wire, plan, &exchange, &request).map_err(|why| refuse(wire, why))?;
        if exchange.finished && !matches!(request, Authentication::Ok) {
            let what = format!("{} after the password", described(&request));
            return Err(Failure::Final(wire.protocol(&CONNECTING, what)));
        }
        match request {
            Authentication::Ok => return Ok(()),
            Authentication::Cleartext => {
                let answer = password(wire, host)?.expose().to_owned();
                say(wire, &startup::Password::new(answer), patience)?;
                exchange.finished = true;
            }
            Authentication::Md5(salt) => {
                let answer = md5_hash(
                    plan.user.as_bytes(),
                    password(wire, host)?.expose().as_bytes(),
                    salt,
                );
                say(wire, &startup::Password::new(answer), patience)?;
                exchange.finished = true;
            }
            Authentication::Sasl(mechanisms) if exchange.scram.is_none() => {
                exchange.scram = Some(begin_scram(wire, plan, host, &mechanisms, patience)?);
            }
            Authentication::SaslContinue(data) => match (&exchange.scram, &exchange.proof) {
                (Some(scram), None) => exchange.proof = Some(answer_scram(wire, scram, &data, patience)?),
                _ => return Err(out_of_turn(wire)),
            },
            Authentication::SaslFinal(data) => match (&exchange.scram, &exchange.proof) {
                (Some(scram), Some(proof)) => {
                    proof.check(&data).map_err(|error| {
                        let why = format!("the server could not prove that it knows the password: {error}");
                        refuse(wire, why)
                    })?;
                    exchange.finished = true;
                    exchange.bound = scram.binds();
                }
                _ => return Err(out_of_turn(wire)),
            },
            Authentication::Sasl(_) => return Err(out_of_turn(wire)),
            Authentication::Other(code) => {
                let method = described(&Authentication::Other(code));
                return Err(refuse(wire, format!("{method} is not supported")));
            }
        }
    }
}

fn out_of_turn(wire: &mut Wire) -> Failure {
    Failure::Final(wire.protocol(&CONNECTING, "a SASL message out of turn"))
}

/// The user's demands.
fn check(wire: &Wire, plan: &Plan, exchange: &Exchange, request: &Authentication) -> Result<(), String> {
    let done = matches!(request, Authentication::Ok);
    if done && plan.tls.client_certificate == ClientCertificate::Require {
        let certificate = match wire.channel() {
            Channel::Plain(_) => CertificateUse::default(),
            Channel::Tls(session) => session.certificate(),
        };
        if !certificate.requested {
            return Err("server did not request an SSL certificate".to_owned());
        }
        if !certificate.sent {
            return Err("server accepted connection without a valid SSL certificate".to_owned());
        }
    }
    plan.require_auth.check(request, exchange.finished)?;
    plan.channel_binding.check(request, exchange.bound)?;
    if done && exchange.scram.is_some() && !exchange.finished {
        return Err("server did not complete authentication".to_owned());
    }
    Ok(())
}

/// The next authentication request.
fn request(wire: &mut Wire, patience: Patience) -> Result<Authentication, Failure> {
    loop {
        let frame = wire.frame(patience, &CONNECTING).map_err(Failure::of)?;
        let body = wire.bytes(&frame.body);
        match frame.tag {
            b'R' => {
                let request = messages::authentication(body);
                return request.map_err(|what| Failure::Final(wire.protocol(&CONNECTING, what)));
            }
            b'E' => {
                let message = messages::server_message(body);
                let starting = message.sqlstate == sqlstate::CANNOT_CONNECT_NOW;
                let error = Error::Server {
                    doing: CONNECTING,
                    address: wire.address.clone(),
                    message: Box::new(message),
                };
                return Err(if starting {
                    Failure::Host(error)
                } else {
                    Failure::Encryption(error)
                });
            }
            // NegotiateProtocolVersion: the server does not know a parameter of ours.
            b'N' | b'v' => {}
            other => {
                let what = format!("message type \"{}\" out of turn", char::from(other));
                return Err(Failure::Final(wire.protocol(&CONNECTING, what)));
            }
        }
    }
}

fn refuse(wire: &Wire, reason: impl Into<String>) -> Failure {
    Failure::Final(Error::Connect {
        address: wire.address.clone(),
        reason: reason.into(),
        sqlstate: None,
    })
}

fn say(wire: &mut Wire, message: &impl pgwire::messages::Message, patience: Patience) -> Result<(), Failure> {
    send(wire, message, patience).map_err(Failure::of)
}

fn password<'a>(wire: &Wire, host: &'a Host) -> Result<&'a Secret, Failure> {
    host.password.as_ref().ok_or_else(|| refuse(wire, NO_PASSWORD))
}

/// A request in words.
fn described(request: &Authentication) -> &'static str {
    match request {
        Authentication::Ok => "authentication OK",
        Authentication::Cleartext => "a request for a password",
        Authentication::Md5(_) => "a request for an MD5 password",
        Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
            "a SASL message"
        }
        Authentication::Other(7 | 8) => "GSSAPI authentication",
        Authentication::Other(9) => "SSPI authentication",
        Authentication::Other(1 | 2) => "Kerberos authentication",
        Authentication::Other(_) => "the server's authentication method",
    }
}

/// Chooses the mechanism as libpq does, and sends the first message.
fn begin_scram(
    wire: &mut Wire,
    plan: &Plan,
    host: &Host,
    mechanisms: &[String],
    patience: Patience,
) -> Result<Scram, Failure> {
    let offered = |name: &str| mechanisms.iter().any(|mechanism| mechanism == name);
    let encrypted = wire.channel().is_encrypted();
    let required = plan.channel_binding == ChannelBinding::Require;
    if required && !encrypted {
        return Err(refuse(wire, "channel binding required, but SSL not in use"));
    }
    if offered(SCRAM_SHA_256_PLUS) && !encrypted {
        return Err(refuse(
            wire,
            "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection",
        ));
    }
    let binds = offered(SCRAM_SHA_256_PLUS) && plan.channel_binding != ChannelBinding::Disable;
    if !binds && !offered(SCRAM_SHA_256) || !plan.require_auth.allows_scram() {
        let offered = mechanisms.join(", ");
        return Err(refuse(
            wire,
            format!("none of the server's SASL authentication mechanisms are supported ({offered})"),
        ));
    }
    if required && !binds {
        return Err(refuse(
            wire,
            "channel binding is required, but server did not offer an authentication method that supports channel binding",
        ));
    }
    let password = password(wire, host)?;
    let binding = match wire.channel() {
        Channel::Tls(session) if binds => {
            Binding::Certificate(session.server_end_point().map_err(|why| refuse(wire, why))?)
        }
        Channel::Tls(_) if plan.channel_binding != ChannelBinding::Disable => Binding::NotOffered,
        _ => Binding::Unsupported,
    };
    let scram = Scram::new(password.expose(), binding)
        .map_err(|error| refuse(wire, format!("could not generate nonce: {error}")))?;
    let first = Bytes::from(scram.first());
    let mechanism = if binds { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 };
    let message = startup::SASLInitialResponse::new(mechanism.to_owned(), Some(first));
    say(wire, &message, patience)?;
    Ok(scram)
}

fn answer_scram(wire: &mut Wire, scram: &Scram, data: &[u8], patience: Patience) -> Result<Proof, Failure> {
    // The server says how long this takes.
    let outcome = scram.answer(data, || wire.keep_on(patience, &CONNECTING));
    let (answer, proof) = outcome.map_err(|failure| match failure {
        ScramFailure::Refused(why) => refuse(wire, format!("SCRAM exchange failed: {why}")),
        ScramFailure::Stopped(error) => Failure::of(error),
    })?;
    say(wire, &startup::SASLResponse::new(Bytes::from(answer)), patience)?;
    Ok(proof)
}
