//! What the messages of a server mean. [`pgwire`] decodes bodies; where its decoder trusts the sender, the body is
//! checked (or bounded) here first.

use bytes::{Bytes, BytesMut};
use pgwire::messages::{DecodeContext, Message as _, ProtocolVersion, response, startup};

use crate::error::ServerMessage;

/// How the server wants to be convinced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    Ok,
    Cleartext,
    Md5([u8; 4]),
    Sasl(Vec<String>),
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    /// Kerberos, GSSAPI, SSPI, SCM credentials...
    Other(i32),
}

fn context() -> DecodeContext {
    DecodeContext::new(ProtocolVersion::PROTOCOL3_0)
}

/// Decodes an `R` message.
pub(crate) fn authentication(body: &[u8]) -> Result<Authentication, String> {
    let Some((code, rest)) = body.split_first_chunk::<4>() else {
        return Err("authentication request cut short".into());
    };
    let code = i32::from_be_bytes(*code);
    if code == 5 && rest.len() != 4 {
        return Err("MD5 authentication request without salt".into());
    }
    if !matches!(code, 0 | 3 | 5 | 10 | 11 | 12) {
        return Ok(Authentication::Other(code));
    }
    let mut buffer = BytesMut::from(body);
    match startup::Authentication::decode_body(&mut buffer, body.len() + 4, &context())
        .map_err(|e| e.to_string())?
    {
        startup::Authentication::Ok => Ok(Authentication::Ok),
        startup::Authentication::CleartextPassword => Ok(Authentication::Cleartext),
        startup::Authentication::MD5Password(salt) => <[u8; 4]>::try_from(salt.as_slice())
            .map(Authentication::Md5)
            .map_err(|_| "bad MD5 salt".to_owned()),
        startup::Authentication::SASL(mechanisms) => Ok(Authentication::Sasl(mechanisms)),
        startup::Authentication::SASLContinue(data) => Ok(Authentication::SaslContinue(data)),
        startup::Authentication::SASLFinal(data) => Ok(Authentication::SaslFinal(data)),
        _ => Ok(Authentication::Other(code)),
    }
}

/// How much of an error or notice is looked at. What matters comes first; the rest may be a statement of any length, or
/// millions of empty fields.
const TOLD: usize = 64 * 1024;

/// Decodes an `E` or `N` message.
pub(crate) fn server_message(body: &[u8]) -> ServerMessage {
    let body = body.get(..TOLD).unwrap_or(body);
    // The decoder reads fields until it finds an empty one: two zero bytes more and it always finds one.
    let mut buffer = BytesMut::with_capacity(body.len() + 2);
    buffer.extend_from_slice(body);
    buffer.extend_from_slice(&[0, 0]);
    let length = buffer.len() + 4;
    let fields = response::ErrorResponse::decode_body(&mut buffer, length, &context()).map(|m| m.fields);
    let mut message = ServerMessage {
        severity: "ERROR".to_owned(),
        sqlstate: "XX000".to_owned(),
        ..Default::default()
    };
    let mut localized = None;
    let mut plain = None;
    for (code, value) in fields.unwrap_or_default() {
        match code {
            b'S' => localized = Some(value),
            b'V' => plain = Some(value),
            b'C' => message.sqlstate = value,
            b'M' => message.message = value,
            b'D' => message.detail = Some(value),
            b'H' => message.hint = Some(value),
            _ => {}
        }
    }
    if let Some(severity) = plain.or(localized) {
        message.severity = severity;
    }
    message
}

/// Decodes an `S` message.
pub(crate) fn parameter_status(body: &[u8]) -> Option<(String, String)> {
    let mut buffer = BytesMut::from(body);
    let status = startup::ParameterStatus::decode_body(&mut buffer, body.len() + 4, &context()).ok()?;
    Some((status.name, status.value))
}

/// Decodes a `D` message: the columns as text. Replication commands answer with text only.
pub(crate) fn data_row(body: &[u8]) -> Result<Vec<Option<Bytes>>, String> {
    let cut = || "row cut short".to_owned();
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or_else(cut)?;
    let count = usize::from(u16::from_be_bytes(*count));
    // Each column has at least its length.
    if count.saturating_mul(4) > rest.len() {
        return Err(cut());
    }
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        match u32::from_be_bytes(*length) {
            u32::MAX => {
                columns.push(None);
                rest = after;
            }
            length => {
                let length = usize::try_from(length).map_err(|_| cut())?;
                let (value, after) = after.split_at_checked(length).ok_or_else(cut)?;
                columns.push(Some(Bytes::copy_from_slice(value)));
                rest = after;
            }
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_however_they_are_cut() {
        let whole = b"SFEHLER\0VERROR\0C42704\0Mno such slot\0Dd\0Hh\0Fslot.c\0\0";
        let message = server_message(whole);
        assert_eq!(message.to_string(), "ERROR:  no such slot");
        assert_eq!(
            (
                message.sqlstate.as_str(),
                message.detail.as_deref(),
                message.hint.as_deref()
            ),
            ("42704", Some("d"), Some("h"))
        );
        for end in 0..whole.len() {
            let _ = server_message(&whole[..end]);
        }
        assert_eq!(server_message(b"").severity, "ERROR");
        let long = [&b"SFATAL\0C53300\0M"[..], &vec![b'x'; 10_000_000]].concat();
        let message = server_message(&long);
        assert_eq!(
            (message.severity.as_str(), message.sqlstate.as_str()),
            ("FATAL", "53300")
        );
        assert!((60_000..=TOLD).contains(&message.message.len()));
    }

    #[test]
    fn rows_are_read_and_short_ones_refused() {
        let row = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        let columns = data_row(row).unwrap();
        assert_eq!(
            columns,
            [Some(Bytes::from_static(b"ab")), None, Some(Bytes::new())]
        );
        for end in 0..row.len() {
            assert!(data_row(&row[..end]).is_err(), "{end}");
        }
        assert!(data_row(b"\xff\xff\0\0\0\x01a").is_err());
        assert!(data_row(b"\0\x01\x7f\xff\xff\xffa").is_err());
    }

    #[test]
    fn authentication_requests_are_read_and_short_ones_refused() {
        assert_eq!(authentication(b"\0\0\0\0"), Ok(Authentication::Ok));
        assert_eq!(
            authentication(b"\0\0\0\x05salt"),
            Ok(Authentication::Md5(*b"salt"))
        );
        assert_eq!(
            authentication(b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
            Ok(Authentication::Sasl(vec!["SCRAM-SHA-256".to_owned()]))
        );
        assert_eq!(authentication(b"\0\0\0\x07"), Ok(Authentication::Other(7)));
        assert_eq!(
            authentication(b"\0\0\0\x0b"),
            Ok(Authentication::SaslContinue(Bytes::new()))
        );
        for short in [&b""[..], b"\0\0\0", b"\0\0\0\x05", b"\0\0\0\x05sal"] {
            assert!(authentication(short).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_a_decoder_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = authentication(&body);
            let _ = server_message(&body);
            let _ = parameter_status(&body);
            let _ = data_row(&body);
        }
    }
}
