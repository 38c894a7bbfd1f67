//! What the user demands of the authentication: `require_auth` and `channel_binding`
//! (PostgreSQL documentation, "Parameter Key Words"; libpq checks every request of the server against them).

use crate::connect::shown;
use crate::replication::messages::Authentication;

/// A method in `require_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Password,
    Md5,
    Gss,
    Sspi,
    Scram,
    Oauth,
    /// No authentication at all: `trust`, or a certificate alone.
    None,
}

const METHODS: [(&str, Method); 7] = [
    ("password", Method::Password),
    ("md5", Method::Md5),
    ("gss", Method::Gss),
    ("sspi", Method::Sspi),
    ("scram-sha-256", Method::Scram),
    ("oauth", Method::Oauth),
    ("none", Method::None),
];

/// `require_auth`: which methods the server may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RequireAuth {
    /// As written; nothing if anything is allowed.
    text: Option<String>,
    listed: Vec<Method>,
    /// Whether the list names what is forbidden.
    negated: bool,
}

impl RequireAuth {
    /// Parses the list: methods, or methods all with a `!` before them. In libpq an empty list allows servers that ask
    /// for nothing, and only those.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, String> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        let mut required = Self {
            text: Some(text.to_owned()),
            ..Self::default()
        };
        if text.is_empty() {
            required.listed.push(Method::None);
            return Ok(required);
        }
        for (at, part) in text.split(',').enumerate() {
            let (name, negated) = match part.strip_prefix('!') {
                Some(name) => (name, true),
                None => (part, false),
            };
            if at == 0 {
                required.negated = negated;
            } else if negated != required.negated {
                return Err(format!(
                    "{} cannot be mixed with {} methods",
                    shown(part),
                    if negated { "non-negative" } else { "negative" }
                ));
            }
            let Some((_, method)) = METHODS.iter().find(|(known, _)| *known == name) else {
                return Err(format!("{} is not a method of libpq", shown(name)));
            };
            if required.listed.contains(method) {
                return Err(format!("method \"{part}\" is specified more than once"));
            }
            required.listed.push(*method);
        }
        Ok(required)
    }

    fn allows(&self, method: Method) -> bool {
        self.text.is_none() || self.listed.contains(&method) != self.negated
    }

    /// Whether the server may ask for this; `finished` says whether an exchange that the user wants took place.
    ///
    /// # Errors
    /// The reason why not, in libpq's words.
    pub(crate) fn check(&self, request: &Authentication, finished: bool) -> Result<(), String> {
        let (allowed, reason) = match request {
            Authentication::Ok => (
                finished || self.allows(Method::None),
                "server did not complete authentication",
            ),
            Authentication::Cleartext => (
                self.allows(Method::Password),
                "server requested a cleartext password",
            ),
            Authentication::Md5(_) => (self.allows(Method::Md5), "server requested a hashed password"),
            Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => (
                self.allows(Method::Scram) || self.allows(Method::Oauth),
                "server requested SASL authentication",
            ),
            Authentication::Other(7 | 8) => {
                (self.allows(Method::Gss), "server requested GSSAPI authentication")
            }
            Authentication::Other(9) => (self.allows(Method::Sspi), "server requested SSPI authentication"),
            Authentication::Other(_) => (
                self.text.is_none(),
                "server requested an unknown authentication type",
            ),
        };
        if allowed {
            return Ok(());
        }
        Err(format!(
            "authentication method requirement \"{}\" failed: {reason}",
            self.text.as_deref().unwrap_or_default()
        ))
    }

    /// Whether SCRAM is a SASL mechanism that may be used.
    pub(crate) fn allows_scram(&self) -> bool {
        self.allows(Method::Scram)
    }
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

impl ChannelBinding {
    pub(crate) const WORDS: [(&'static str, Self); 3] = [
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
    ];

    /// Whether the server may ask for this; `bound` says whether both sides proved to be on one TLS session.
    ///
    /// # Errors
    /// The reason why not, in libpq's words.
    pub(crate) fn check(self, request: &Authentication, bound: bool) -> Result<(), &'static str> {
        match request {
            _ if self != Self::Require => Ok(()),
            Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                Ok(())
            }
            Authentication::Ok if bound => Ok(()),
            Authentication::Ok => {
                Err("channel binding required, but server authenticated client without channel binding")
            }
            _ => Err("channel binding required but not supported by server's authentication request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_libpq_reads_them() {
        for good in [
            "",
            "none",
            "password,md5",
            "!password,!none",
            "scram-sha-256,oauth",
        ] {
            assert!(RequireAuth::parse(Some(good)).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("nope", "\"nope\" is not a method"),
            ("Password", "\"Password\" is not a method"),
            ("md5,", "\"\" is not a method"),
            ("md5, none", "\" none\" is not a method"),
            ("md5,md5", "more than once"),
            ("!md5,!md5", "more than once"),
            ("md5,!none", "cannot be mixed with non-negative"),
            ("!md5,none", "cannot be mixed with negative"),
        ] {
            let error = RequireAuth::parse(Some(bad)).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn requests_are_judged() {
        use Authentication::{Cleartext, Md5, Ok as Done, Other, Sasl};
        let sasl = || Sasl(vec![]);
        // Request, whether an exchange took place, and the lists that let it pass or not.
        let cases: [(Authentication, bool, &[&str], &[&str]); 6] = [
            (
                Cleartext,
                false,
                &["any", "password", "!md5", "md5,password"],
                &["", "md5", "!password", "none", "!none,!password"],
            ),
            (
                Md5(*b"salt"),
                false,
                &["any", "md5", "!password"],
                &["password", "!md5"],
            ),
            (
                sasl(),
                false,
                &["any", "scram-sha-256", "!md5"],
                &["md5", "!scram-sha-256,!oauth", "none"],
            ),
            (
                Done,
                false,
                &["any", "", "none", "!md5", "password,none"],
                &["password", "!none", "scram-sha-256"],
            ),
            (Done, true, &["any", "", "none", "md5", "!none"], &[]),
            (Other(7), false, &["any", "gss", "!md5"], &["md5", "!gss"]),
        ];
        for (request, finished, pass, fail) in cases {
            for (lists, expected) in [(pass, true), (fail, false)] {
                for list in lists {
                    let list = (*list != "any").then_some(*list);
                    let outcome = RequireAuth::parse(list).unwrap().check(&request, finished);
                    assert_eq!(outcome.is_ok(), expected, "{list:?}: {request:?}: {outcome:?}");
                }
            }
        }
    }

    #[test]
    fn binding_is_required_of_every_request() {
        use Authentication::{Cleartext, Ok as Done, Sasl};
        let require = ChannelBinding::Require;
        assert!(require.check(&Cleartext, false).is_err());
        assert!(require.check(&Done, false).is_err());
        assert!(require.check(&Done, true).is_ok());
        assert!(require.check(&Sasl(vec![]), false).is_ok());
        assert!(ChannelBinding::Prefer.check(&Cleartext, false).is_ok());
        assert!(ChannelBinding::Disable.check(&Done, false).is_ok());
    }
}
