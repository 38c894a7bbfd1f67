//! Whether a certificate is that of the host that was asked for, by libpq's rules (`fe-secure-common.c`,
//! `fe-secure-openssl.c`): alternative names of the host's kind go first, the common name counts if there is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use openssl::nid::Nid;
use openssl::x509::X509Ref;

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Dns(Vec<u8>),
    Ip(Vec<u8>),
}

impl Name {
    fn shown(&self) -> String {
        match self {
            Self::Dns(name) => String::from_utf8_lossy(name).into_owned(),
            Self::Ip(bytes) => address(bytes).map_or_else(String::new, |ip| ip.to_string()),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|bytes| Ipv6Addr::from(bytes).into())
}

/// Looks whether the certificate names the host.
///
/// # Errors
/// The reason in libpq's words.
pub(super) fn check(certificate: &X509Ref, host: &str) -> Result<(), String> {
    let alternatives: Vec<Name> = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| match (name.dnsname(), name.ipaddress()) {
            (Some(dns), _) => Some(Name::Dns(dns.as_bytes().to_vec())),
            (None, Some(ip)) => Some(Name::Ip(ip.to_vec())),
            _ => None,
        })
        .collect();
    let common = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()
        .map(|entry| Name::Dns(entry.data().as_slice().to_vec()));
    judge(alternatives, common, host)
}

fn judge(alternatives: Vec<Name>, common: Option<Name>, host: &str) -> Result<(), String> {
    let ip = parse_ip(host);
    let same_kind = alternatives
        .iter()
        .any(|name| matches!(name, Name::Ip(_)) == ip.is_some());
    let common = common.filter(|_| !same_kind);
    let names: Vec<Name> = alternatives.into_iter().chain(common).collect();
    for name in &names {
        let matches = match name {
            Name::Dns(name) if name.contains(&0) => {
                return Err("SSL certificate's name contains embedded null".to_owned());
            }
            Name::Dns(name) => dns_matches(name, host.as_bytes()),
            Name::Ip(bytes) => match address(bytes) {
                None => {
                    return Err(format!(
                        "certificate contains IP address with invalid length {}",
                        bytes.len()
                    ));
                }
                Some(address) => ip == Some(address),
            },
        };
        if matches {
            return Ok(());
        }
    }
    Err(match names.as_slice() {
        [] => "could not get server's host name from server certificate".to_owned(),
        [only] => format!(
            "server certificate for \"{}\" does not match host name \"{host}\"",
            only.shown()
        ),
        [first, rest @ ..] => format!(
            "server certificate for \"{}\" (and {} other name{}) does not match host name \"{host}\"",
            first.shown(),
            rest.len(),
            if rest.len() == 1 { "" } else { "s" }
        ),
    })
}

/// The same name, or a `*.` in front that stands for one label.
fn dns_matches(pattern: &[u8], host: &[u8]) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(suffix) = pattern.strip_prefix(b"*").filter(|rest| rest.starts_with(b".")) else {
        return false;
    };
    if suffix.len() < 2 || pattern.len() > host.len() {
        return false;
    }
    let Some((label, rest)) = host.split_at_checked(host.len() - suffix.len()) else {
        return false;
    };
    rest.eq_ignore_ascii_case(suffix) && !label.contains(&b'.')
}

/// An address in any of the notations that libpq takes: IPv6, or IPv4 as `inet_aton` reads it (`127.1`, `0x7f000001`).
fn parse_ip(host: &str) -> Option<IpAddr> {
    if let Ok(ip) = host.parse::<Ipv6Addr>() {
        return Some(ip.into());
    }
    let numbers: Option<Vec<u32>> = host.split('.').map(parse_number).collect();
    let numbers = numbers?;
    let (last, first) = numbers.split_last()?;
    if first.len() > 3 || first.iter().any(|number| *number > 255) {
        return None;
    }
    let bits = 32 - 8 * u32::try_from(first.len()).ok()?;
    if bits < 32 && *last >> bits != 0 {
        return None;
    }
    let mut value = *last;
    for (at, number) in (0_u32..).zip(first) {
        value |= number << (24 - 8 * at);
    }
    Some(Ipv4Addr::from(value).into())
}

/// Decimal, octal with a leading zero, hexadecimal with a leading `0x`.
fn parse_number(text: &str) -> Option<u32> {
    let (digits, radix) = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (hex, 16)
    } else if let Some(octal) = text.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (octal, 8)
    } else {
        (text, 10)
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> Name {
        Name::Dns(name.as_bytes().to_vec())
    }

    #[test]
    fn names_match_as_in_libpq() {
        for (pattern, host, expected) in [
            ("db.example.org", "DB.example.ORG", true),
            ("*.example.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("d*.example.org", "db.example.org", false),
            ("db.*.org", "db.example.org", false),
            ("*.org", "example.org", true),
            ("", "", true),
        ] {
            assert_eq!(
                dns_matches(pattern.as_bytes(), host.as_bytes()),
                expected,
                "{pattern} {host}"
            );
        }
    }

    #[test]
    fn addresses_are_read_as_inet_aton_reads_them() {
        for (text, expected) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("0x7f000001", Some("127.0.0.1")),
            ("2130706433", Some("127.0.0.1")),
            ("0177.0.0.1", Some("127.0.0.1")),
            ("1.2.3", Some("1.2.0.3")),
            ("1.2.3.256", None),
            ("256.1", None),
            ("1.2.3.4.5", None),
            ("::1", Some("::1")),
            ("localhost", None),
            ("", None),
            ("1..2", None),
            ("+1", None),
        ] {
            assert_eq!(parse_ip(text), expected.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_common_name_counts_where_no_alternative_of_the_kind_exists() {
        let ip = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(ip) => Name::Ip(ip.octets().to_vec()),
            IpAddr::V6(ip) => Name::Ip(ip.octets().to_vec()),
        };
        let good =
            |names: &[Name], common: &str, host: &str| judge(names.to_vec(), Some(dns(common)), host).is_ok();
        assert!(good(&[], "db", "db"));
        assert!(good(&[dns("other"), dns("db")], "x", "db"));
        assert!(!good(&[dns("other")], "db", "db"));
        assert!(
            good(&[ip("10.0.0.1")], "db", "db"),
            "an address does not hide the common name"
        );
        assert!(good(&[dns("other")], "10.0.0.1", "10.0.0.1"));
        assert!(!good(&[ip("10.0.0.2")], "10.0.0.1", "10.0.0.1"));
        assert!(good(&[ip("10.0.0.2"), ip("10.0.0.1")], "x", "10.1"));
        assert!(good(&[ip("::1")], "x", "::1"));
        assert!(!good(&[Name::Ip(vec![1, 2, 3])], "db", "db"));
        assert!(!good(&[dns("db\0.evil")], "x", "x"));
        let told = |names: &[Name], common: Option<Name>| judge(names.to_vec(), common, "h").unwrap_err();
        assert_eq!(
            told(&[dns("a"), ip("1.2.3.4")], Some(dns("c"))),
            "server certificate for \"a\" (and 1 other name) does not match host name \"h\""
        );
        assert_eq!(
            told(&[], None),
            "could not get server's host name from server certificate"
        );
    }
}
