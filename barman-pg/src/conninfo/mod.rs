//! Connection strings as libpq understands them: `key=value` pairs and `postgresql://` URIs, and the content of password
//! and service files. Everything here is a pure function of text; environment variables and files come in when a
//! connection is made
//! ([`ConnectOptions`](crate::ConnectOptions)).

mod keywords;
mod pairs;
pub mod passfile;
pub mod service;
mod uri;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize as _;

pub(crate) use keywords::ENVIRONMENT;
pub use keywords::is_keyword;

/// In place of a word that may be part of a secret.
const HIDDEN: &str = "...";

/// Why a connection string was not understood. The texts are close to libpq's; none of them repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnInfoError {
    /// A word without a value.
    #[error("missing \"=\" after \"{word}\" in connection info string")]
    MissingEquals {
        /// The word; `...` unless it is a keyword, because it may be the rest of an unquoted password.
        word: String,
    },
    /// A quote that is never closed.
    #[error("unterminated quoted string in connection info string")]
    UnterminatedQuote,
    /// A keyword that libpq does not have.
    #[error("invalid connection option \"{keyword}\"")]
    UnknownKeyword {
        /// The keyword; `...` where it may be the rest of a password.
        keyword: String,
    },
    /// A URI that is not one.
    #[error("invalid connection URI: {what}")]
    InvalidUri {
        /// What is wrong with it.
        what: String,
    },
    /// A value that its option does not allow.
    #[error("invalid value for connection option \"{keyword}\": {what}")]
    InvalidValue {
        /// The keyword.
        keyword: String,
        /// What is wrong with the value.
        what: String,
    },
}

/// A keyword, which may be none, and its value.
struct Pair {
    keyword: String,
    value: String,
    /// The keyword is unknown, and may be the rest of a password that is not quoted or escaped.
    doubtful: bool,
}

impl Pair {
    fn sound(keyword: &str, value: String) -> Self {
        Self {
            keyword: keyword.to_owned(),
            value,
            doubtful: false,
        }
    }
}

fn split(text: &str) -> Result<Vec<Pair>, ConnInfoError> {
    if uri::is_uri(text) {
        uri::parse(text)
    } else {
        pairs::parse(text)
    }
}

/// A parsed connection string: what the user wrote, nothing filled in. Values are plain (no quotes or escapes).
///
/// `Display` and `Debug` show it re-encoded, keys in byte order, secrets as `*REDACTED*`.
///
/// ```
/// use barman_pg::ConnInfo;
/// let info: ConnInfo = "postgresql://barman:s3cr3t@[::1]:5433/postgres?sslmode=disable".parse()?;
/// assert_eq!(info.get("host"), Some("::1"));
/// assert_eq!(info.to_string(), "dbname=postgres host=::1 password=*REDACTED* port=5433 sslmode=disable user=barman");
/// # Ok::<(), barman_pg::ConnInfoError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ConnInfo {
    values: BTreeMap<String, String>,
}

impl ConnInfo {
    /// Parses `key=value` pairs (libpq's grammar: quotes, backslashes, blanks around `=`) or a URI.
    ///
    /// # Errors
    /// A string that libpq would refuse; an unknown keyword is named. A value with a null character.
    pub fn parse(text: &str) -> Result<Self, ConnInfoError> {
        let mut info = Self::default();
        for pair in split(text)? {
            if pair.doubtful {
                let keyword = HIDDEN.to_owned();
                return Err(ConnInfoError::UnknownKeyword { keyword });
            }
            info.set(&pair.keyword, pair.value)?;
        }
        Ok(info)
    }

    fn set(&mut self, keyword: &str, value: String) -> Result<(), ConnInfoError> {
        if !is_keyword(keyword) {
            return Err(ConnInfoError::UnknownKeyword {
                keyword: keyword.to_owned(),
            });
        }
        // libpq's strings cannot hold one, and in a message to the server it would end the value.
        if value.contains('\0') {
            return Err(ConnInfoError::InvalidValue {
                keyword: keyword.to_owned(),
                what: "it holds a null character".to_owned(),
            });
        }
        self.values.insert(keyword.to_owned(), value);
        Ok(())
    }

    /// The value of a keyword, if the string has it and it is not empty (libpq treats an empty value as absent).
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.values
            .get(keyword)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of a keyword as the string has it, also if it is empty: an empty value keeps the environment out.
    pub(crate) fn written(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(String::as_str)
    }

    /// The same with one keyword set, whatever it was before.
    ///
    /// # Errors
    /// The keyword is not one of libpq's; the value holds a null character.
    pub fn with(mut self, keyword: &str, value: impl Into<String>) -> Result<Self, ConnInfoError> {
        self.set(keyword, value.into())?;
        Ok(self)
    }

    /// What Barman makes of the string for a streaming connection: `replication`, `options` and `dbname` are forced.
    #[must_use]
    pub fn streaming(mut self) -> Self {
        for (keyword, value) in [
            ("replication", "true"),
            ("options", "-cdatestyle=iso"),
            ("dbname", "replication"),
        ] {
            self.values.insert(keyword.to_owned(), value.to_owned());
        }
        self
    }

    /// The same with this application name, unless the user chose one.
    #[must_use]
    pub fn or_application_name(mut self, name: &str) -> Self {
        if self.written("application_name").is_none() {
            self.values.insert("application_name".to_owned(), name.to_owned());
        }
        self
    }

    /// The keywords that are set, in byte order, with their values. Values may be secrets.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(keyword, value)| (keyword.as_str(), value.as_str()))
    }

    /// Whether a keyword's value must never be shown.
    #[must_use]
    pub fn is_secret(keyword: &str) -> bool {
        keywords::is_secret(keyword)
    }

    /// The string re-encoded, keys in byte order, secrets included: for other programs, never for a log.
    #[must_use]
    pub fn expose(&self) -> String {
        self.encode(|_, value| pairs::quote(value))
    }

    fn encode(&self, show: impl Fn(&str, &str) -> String) -> String {
        let words: Vec<String> = self
            .values
            .iter()
            .map(|(keyword, value)| format!("{keyword}={}", show(keyword, value)))
            .collect();
        words.join(" ")
    }
}

impl Drop for ConnInfo {
    /// Passwords do not stay in memory.
    fn drop(&mut self) {
        for (keyword, value) in &mut self.values {
            if keywords::is_secret(keyword) {
                value.zeroize();
            }
        }
    }
}

impl FromStr for ConnInfo {
    type Err = ConnInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode(|keyword, value| {
            if keywords::is_secret(keyword) {
                "*REDACTED*".to_owned()
            } else {
                pairs::quote(value)
            }
        }))
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnInfo({self})")
    }
}

/// A connection string as a user wrote it, pairs in their order, with secrets replaced: for messages.
#[must_use]
pub fn redact(text: &str) -> String {
    match split(text) {
        Ok(pairs) => {
            let words: Vec<String> = pairs
                .iter()
                .map(|pair| match (pair.doubtful, keywords::is_secret(&pair.keyword)) {
                    (true, _) => HIDDEN.to_owned(),
                    (false, true) => format!("{}=*REDACTED*", pair.keyword),
                    (false, false) => format!("{}={}", pair.keyword, pairs::quote(&pair.value)),
                })
                .collect();
            words.join(" ")
        }
        Err(_) => "(connection string that cannot be shown because it cannot be parsed)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(text: &str) -> Vec<(String, String)> {
        let info = ConnInfo::parse(text).unwrap();
        info.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn expect(text: &str, pairs: &[(&str, &str)]) {
        let wanted: Vec<(String, String)> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(pairs_of(text), wanted, "{text}");
    }

    #[test]
    fn pairs_follow_libpq() {
        expect("", &[]);
        expect("  \t\n", &[]);
        expect(
            "host=a  port=5\tuser=x",
            &[("host", "a"), ("port", "5"), ("user", "x")],
        );
        expect("host = a port= 5", &[("host", "a"), ("port", "5")]);
        expect("password='a b'", &[("password", "a b")]);
        expect(r"password='it\'s \\ here'", &[("password", r"it's \ here")]);
        expect(r"password=a\ b\'c", &[("password", "a b'c")]);
        expect("password=''", &[("password", "")]);
        expect("options='-c a=b -c c=d'", &[("options", "-c a=b -c c=d")]);
        expect("dbname=a=b", &[("dbname", "a=b")]);
        expect("host=a host=b", &[("host", "b")]);
        // libpq skips blanks after the sign, whatever comes next.
        expect("host= port=5", &[("host", "port=5")]);
        expect("user=x password=", &[("password", ""), ("user", "x")]);
        expect("user='a'dbname=b", &[("dbname", "b"), ("user", "a")]);
        expect("user=ünï", &[("user", "ünï")]);
    }

    #[test]
    fn bad_pairs_are_named() {
        let error = |text: &str| ConnInfo::parse(text).unwrap_err();
        assert_eq!(
            error("host"),
            ConnInfoError::MissingEquals { word: "host".into() }
        );
        assert_eq!(
            error("host port=5"),
            ConnInfoError::MissingEquals { word: "host".into() }
        );
        assert_eq!(
            error("password=my secret"),
            ConnInfoError::MissingEquals { word: "...".into() }
        );
        assert_eq!(error("password='abc"), ConnInfoError::UnterminatedQuote);
        assert_eq!(error(r"password='abc\'"), ConnInfoError::UnterminatedQuote);
        assert_eq!(
            error("hots=a"),
            ConnInfoError::UnknownKeyword {
                keyword: "hots".into()
            }
        );
        // A quote in a password ends it: what follows at once may be its rest.
        for text in [
            "password='it's3cret=x y=z'",
            "password='it's3cret='x'more=y",
            "password='a'b=c s3cret=d",
        ] {
            assert!(error(text).to_string().contains("\"...\""), "{text}");
            let shown = redact(text);
            assert!(!shown.contains("s3cret") && !shown.contains("more"), "{shown}");
        }
        // After anything but a bare secret it is named.
        for text in [
            "password='x' hots=a",
            "password=x host=a hots=a",
            "postgresql://h/?hots=a",
        ] {
            assert!(error(text).to_string().contains("\"hots\""), "{text}");
        }
        assert_eq!(
            error("=a"),
            ConnInfoError::UnknownKeyword {
                keyword: String::new()
            }
        );
        for result in [
            ConnInfo::parse("user=a\0replication"),
            ConnInfo::default().with("user", "a\0b"),
        ] {
            let what = "invalid value for connection option \"user\": it holds a null character";
            assert_eq!(result.unwrap_err().to_string(), what);
        }
    }

    #[test]
    fn uris_follow_libpq() {
        expect("postgresql://", &[]);
        expect("postgres://localhost", &[("host", "localhost")]);
        expect(
            "postgresql://u@h:5433/db",
            &[("dbname", "db"), ("host", "h"), ("port", "5433"), ("user", "u")],
        );
        expect(
            "postgresql://u:p%40ss@h",
            &[("host", "h"), ("password", "p@ss"), ("user", "u")],
        );
        expect(
            "postgresql://h1:1,h2:2,h3/x",
            &[("dbname", "x"), ("host", "h1,h2,h3"), ("port", "1,2,")],
        );
        expect(
            "postgresql://[::1]:5433/db",
            &[("dbname", "db"), ("host", "::1"), ("port", "5433")],
        );
        expect(
            "postgresql://[fe80::1],h/db",
            &[("dbname", "db"), ("host", "fe80::1,h"), ("port", ",")],
        );
        expect(
            "postgresql://%2Fvar%2Frun/db",
            &[("dbname", "db"), ("host", "/var/run")],
        );
        expect(
            "postgresql:///db?host=/tmp&port=5",
            &[("dbname", "db"), ("host", "/tmp"), ("port", "5")],
        );
        expect("postgresql://h?user=x%20y", &[("host", "h"), ("user", "x y")]);
        expect(
            "postgresql://h?ssl=true",
            &[("host", "h"), ("sslmode", "require")],
        );
        expect("postgresql://h/", &[("host", "h")]);
        // Blanks around a part do not belong to it; what is in it is taken as before libpq 17.
        expect(
            "postgresql:// u : a b @ h : 7 / db ?sslmode= disable ",
            &[
                ("dbname", "db"),
                ("host", "h"),
                ("password", "a b"),
                ("port", "7"),
                ("sslmode", "disable"),
                ("user", "u"),
            ],
        );
        expect(
            "postgresql://h/d%20?user=a@b",
            &[("dbname", "d "), ("host", "h"), ("user", "a@b")],
        );
        expect("postgresql://%2Frun%2Fa@b/", &[("host", "b"), ("user", "/run/a")]);
        expect(
            "postgresql://x@%2Frun%2Fa%40b/",
            &[("host", "/run/a@b"), ("user", "x")],
        );
        expect(
            "postgresql://x@%40abstract/",
            &[("host", "@abstract"), ("user", "x")],
        );
        expect("postgresql://h/?user=u&", &[("host", "h"), ("user", "u")]);
        // As in libpq: the user part ends at the first '@', whatever comes before it.
        expect(
            "postgresql://u:to?p@h/db",
            &[
                ("dbname", "db"),
                ("host", "h"),
                ("password", "to?p"),
                ("user", "u"),
            ],
        );
        expect(
            "postgresql://user:a:b@h",
            &[("host", "h"), ("password", "a:b"), ("user", "user")],
        );
    }

    #[test]
    fn bad_uris_are_refused() {
        for text in [
            "postgresql://[::1",
            "postgresql://[]/db",
            "postgresql://[::1]x/db",
            "postgresql://h/db?nonsense=1",
            "postgresql://h/db?user",
            "postgresql://h/db?=x",
            "postgresql://h/db?&user=x",
            "postgresql://h/db?user=a=b",
            "postgresql://u%zz@h",
            "postgresql://u%0@h",
            "postgresql://u%00@h",
            "postgresql://h:x/db",
            "postgresql://h:1,i:x/db",
            "postgresql://u@a%40b/db",
        ] {
            assert!(ConnInfo::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digits_of_a_password_are_no_port() {
        let error = ConnInfo::parse("postgresql://u:12345678/x@h/db")
            .unwrap_err()
            .to_string();
        assert!(error.contains("%2F") && !error.contains("12345678"), "{error}");
        // Without doubt they are one, and judged when it is the host's turn.
        expect(
            "postgresql://u@h:12345678/db",
            &[
                ("dbname", "db"),
                ("host", "h"),
                ("port", "12345678"),
                ("user", "u"),
            ],
        );
    }

    #[test]
    fn nothing_shows_a_secret() {
        let info = ConnInfo::parse("user=u password='top secret' sslpassword=hush host=h").unwrap();
        for shown in [info.to_string(), format!("{info:?}"), redact(&info.expose())] {
            assert!(!shown.contains("secret") && !shown.contains("hush"), "{shown}");
        }
        assert_eq!(
            info.to_string(),
            "host=h password=*REDACTED* sslpassword=*REDACTED* user=u"
        );
        assert!(!redact("password='broken").contains("broken"));
        // A password whose special characters are not escaped, or that is not quoted.
        for text in [
            "postgresql://u:secret/x@h/db",
            "postgresql://u:1/x?secret=y@h/db",
            "postgresql://u:p@secret@h/db",
            "postgresql://u:p@secret:secret/x@h/db",
            "postgresql://u:p@h,secret@h/db",
            "password=my secret=x host=h",
            "password = my secret =x host=h",
            "sslpassword=my secret=x",
            "password=my top=a secret=x",
            "postgresql://u:top?secret@h/db?a=b=c",
            "postgresql://u:top/x?secret@h/db",
            "postgresql://u:top/x?secret@h/db?a=b=c",
        ] {
            let error = ConnInfo::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
            assert!(!redact(text).contains("secret"), "{}", redact(text));
        }
        assert_eq!(
            redact("hots=a password=x y=z user=u"),
            "hots=a password=*REDACTED* ... user=u"
        );
        assert_eq!(
            redact("user=u  password=x host=h"),
            "user=u password=*REDACTED* host=h"
        );
        assert_eq!(ConnInfo::parse(&info.expose()).unwrap(), info);
    }

    #[test]
    fn streaming_and_application_name_are_as_barman_encodes_them() {
        let info = ConnInfo::parse("user=streaming_barman  host=127.0.0.1 port=5432 dbname=x").unwrap();
        assert_eq!(
            info.clone()
                .streaming()
                .or_application_name("barman_receive_wal")
                .to_string(),
            "application_name=barman_receive_wal dbname=replication host=127.0.0.1 options=-cdatestyle=iso port=5432 \
             replication=true user=streaming_barman"
        );
        let chosen = info
            .with("application_name", "mine")
            .unwrap()
            .or_application_name("barman");
        assert_eq!(chosen.get("application_name"), Some("mine"));
        assert!(ConnInfo::default().with("nope", "x").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_value_survives_encoding(value in "\\PC*") {
            let info = ConnInfo::default().with("password", value.clone()).unwrap().with("user", value).unwrap();
            proptest::prop_assert_eq!(ConnInfo::parse(&info.expose()).unwrap(), info);
        }

        #[test]
        fn no_string_makes_it_panic(text in "(postgres(ql)?://)?[\\PC]{0,60}") {
            let _ = ConnInfo::parse(&text);
        }
    }
}
