//! URLs of the API: the base that the user gives, references resolved against it, and how they are shown.
//!
//! References are resolved as RFC 3986 says, not appended: behind `http://h/api` without a slash the API is at `/`.

use fluent_uri::{Uri, UriRef};
use thiserror::Error;

/// An absolute `http` or `https` URL without user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    uri: Uri<String>,
    secure: bool,
}

/// Why a text is not the URL of a service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// No scheme, as in `host:7480`.
    #[error("the URL \"{0}\" does not begin with http:// or https://")]
    Scheme(String),
    /// Anything else.
    #[error("the URL \"{url}\" cannot be used: {reason}")]
    Unusable {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl HttpUrl {
    /// Reads an absolute URL. Blanks around it do not count. Characters that no URL may contain are escaped; a user and a password are passed over,
    /// as they always were.
    ///
    /// # Errors
    /// It is no URL of a host that speaks HTTP.
    ///
    /// ```
    /// use patroni_barman::HttpUrl;
    ///
    /// let base = HttpUrl::parse("http://user:secret@barman:7480/api/?q=1").unwrap();
    /// assert_eq!(base.join("status").unwrap().as_str(), "http://barman:7480/api/status");
    /// assert!(HttpUrl::parse("barman:7480").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // A blank of a quoted or folded value.
        let text = text.trim_matches(|character: char| character.is_ascii_control() || character == ' ');
        let unusable = |reason: &str| UrlError::Unusable {
            url: without_password(text),
            reason: reason.to_owned(),
        };
        let scheme_end = text.find("://").unwrap_or(0);
        let scheme = text.get(..scheme_end).unwrap_or_default().to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(UrlError::Scheme(without_password(text)));
        }
        let uri = Uri::parse(escape(text, is_url_byte, Percent::Keep))
            .map_err(|(error, _)| unusable(&error.to_string()))?;
        Self::of(&uri, text)
    }

    fn of(uri: &Uri<String>, shown: &str) -> Result<Self, UrlError> {
        let unusable = |reason: &str| UrlError::Unusable {
            url: without_password(shown),
            reason: reason.to_owned(),
        };
        let secure = match uri.scheme().as_str().to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(UrlError::Scheme(without_password(shown))),
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty())
            .ok_or_else(|| unusable("it names no host"))?;
        let port = authority
            .port_to_u16()
            .map_err(|_| unusable("its port is no number below 65536"))?;
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let text = format!(
            "{}://{}{port}{}{query}",
            if secure { "https" } else { "http" },
            authority.host().to_ascii_lowercase(),
            match uri.path().as_str() {
                "" => "/",
                path => path,
            },
        );
        // The client's own reading of it must succeed too.
        text.parse::<ureq::http::Uri>()
            .map_err(|error| unusable(&error.to_string()))?;
        let uri = Uri::parse(text).map_err(|(error, _)| unusable(&error.to_string()))?;
        Ok(Self { uri, secure })
    }

    /// The URL that `reference` means on a page of this URL.
    ///
    /// # Errors
    /// The result is not an URL of a host that speaks HTTP.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let unusable = |reason: String| UrlError::Unusable {
            url: without_password(reference),
            reason,
        };
        let reference_text = escape(reference, is_url_byte, Percent::Keep);
        let relative = UriRef::parse(reference_text.as_str()).map_err(|error| unusable(error.to_string()))?;
        let joined = relative
            .resolve_against(&self.uri)
            .map_err(|error| unusable(error.to_string()))?;
        Self::of(&joined, reference)
    }

    /// As text, without user and password.
    pub fn as_str(&self) -> &str {
        self.uri.as_str()
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        let text = self.uri.as_str();
        text.find("://")
            .and_then(|scheme| text.get(scheme + 3..))
            .and_then(|rest| rest.get(rest.find('/')?..))
            .unwrap_or("/")
    }

    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The last part of the path, which [`HttpUrl::join`] replaces.
    pub fn last_segment(&self) -> &str {
        let path = self.uri.path().as_str();
        path.rsplit_once('/').map_or(path, |(_, last)| last)
    }
}

/// One segment of a path, whatever it contains.
pub fn segment(text: &str) -> String {
    match text {
        // Escaped or not, these mean a directory.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        text => escape(
            text,
            |byte| is_url_byte(byte) && !b"/?#[]%".contains(&byte),
            Percent::Escape,
        ),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Percent {
    Keep,
    Escape,
}

/// Unreserved and reserved characters of RFC 3986.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte)
}

fn escape(text: &str, keep: impl Fn(u8) -> bool, percent: Percent) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let is_escape = percent == Percent::Keep
            && *byte == b'%'
            && matches!(behind, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
        if keep(*byte) || is_escape {
            escaped.push(char::from(*byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        rest = behind;
    }
    escaped
}

/// A text that may be an URL, for messages: what stands before the last `@` of its host part is not shown, and it is
/// one line.
pub(crate) fn without_password(text: &str) -> String {
    let start = text.find("//").map_or(0, |slashes| slashes + 2);
    let (before, rest) = text.split_at_checked(start).unwrap_or(("", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
    // A password may contain what ends a host; then nothing tells where it ends.
    let shown = match (host.rsplit_once('@'), behind.rsplit_once('@')) {
        (_, Some((_, behind))) => format!("{before}***@{behind}"),
        (Some((_, host)), None) => format!("{before}***@{host}{behind}"),
        (None, None) => text.to_owned(),
    };
    shown
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined() {
        let table = [
            ("http://h:7480", "status", "http://h:7480/status"),
            ("HTTP://H:7480/", "status", "http://h:7480/status"),
            ("http://h:7480/api", "status", "http://h:7480/status"),
            ("http://h:7480/api/", "status", "http://h:7480/api/status"),
            ("http://h:7480/api/?q=1#f", "status", "http://h:7480/api/status"),
            ("http://u:p@h:7480", "status", "http://h:7480/status"),
            ("https://[::1]:1/", "/x?y#z", "https://[::1]:1/x?y"),
            ("http://h/a/b", "//other:5/c", "http://other:5/c"),
            ("http://h/a/b", "https://u@o/c", "https://o/c"),
            ("http://h/a/b/", "../../../c", "http://h/c"),
            ("http://h/a b/é%41%", "c", "http://h/a%20b/c"),
            ("http://h", "?q", "http://h/?q"),
        ];
        for (base, reference, expected) in table {
            let joined = HttpUrl::parse(base).unwrap().join(reference).unwrap();
            assert_eq!(joined.as_str(), expected, "{base} {reference}");
        }
        assert_eq!(HttpUrl::parse("http://h:1/a/b?c").unwrap().path(), "/a/b?c");
        assert_eq!(HttpUrl::parse("http://h:1/a/b?c").unwrap().last_segment(), "b");
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "h:7480",
            "127.0.0.1:7480",
            "ftp://h/",
            "http://",
            "http:///x",
            "http://h:99999/",
            "http://h:x/",
            "http://a b/",
            "mailto:x",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
        let base = HttpUrl::parse("http://h").unwrap();
        for reference in ["ftp://h/x", "http://", "javascript:x", "http://h:x/"] {
            assert!(base.join(reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn segments() {
        for (text, expected) in [
            ("main", "main"),
            ("a b/c?d", "a%20b%2Fc%3Fd"),
            ("..", "%2E%2E"),
            ("%41", "%2541"),
            ("é", "%C3%A9"),
            ("20261121T050225", "20261121T050225"),
            ("", ""),
        ] {
            assert_eq!(segment(text), expected);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, expected) in [
            ("http://u:p@h/x", "http://***@h/x"),
            ("ftp://u:p@h", "ftp://***@h"),
            ("u:p@h:7480", "***@h:7480"),
            ("http://u:p/w?@h:1", "http://***@h:1"),
            ("http://h/x", "http://h/x"),
            ("h\n2", "h 2"),
        ] {
            assert_eq!(without_password(text), expected);
        }
        let error = HttpUrl::parse("http://u:secret@h:x").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
