//! The content of a password file, `~/.pgpass`: which of its lines applies
//! (PostgreSQL documentation, "The Password File"). Nothing here reads a file.

use zeroize::Zeroizing;

/// What a line must match.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Host name, address or socket directory as the connection string has it; `localhost` for the default socket
    /// directory.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database name.
    pub dbname: &'a str,
    /// Role name.
    pub user: &'a str,
}

/// The password of the first line that matches. As in libpq that line decides also if its password is empty (then
/// there is none).
#[must_use]
pub fn find(text: &[u8], wanted: Wanted<'_>) -> Option<Zeroizing<String>> {
    let port = wanted.port.to_string();
    text.split(|byte| *byte == b'\n')
        // A line in another encoding matches nothing.
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut rest = line;
            for value in [wanted.host, &port, wanted.dbname, wanted.user] {
                let (field, after) = field(rest)?;
                if field != "*" && unescape(field).as_str() != value {
                    return None;
                }
                rest = after?;
            }
            Some(unescape(field(rest)?.0))
        })
        .filter(|password| !password.is_empty())
}

/// The text up to the next unescaped colon, and what follows that colon.
fn field(text: &str) -> Option<(&str, Option<&str>)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((text.get(..at)?, text.get(at + 1..))),
            _ => {}
        }
    }
    Some((text, None))
}

fn unescape(text: &str) -> Zeroizing<String> {
    // Never longer than the text: nothing is reallocated, no copy stays behind.
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().unwrap_or('\\')),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# comment\n\
        broken line\n\
        db1:5432:postgres:barman:one\r\n\
        db1:*:replication:streaming_barman:two\n\
        localhost:*:*:barman:with\\:colon\\\\and backslash\n\
        ::1 not escaped:*:*:*:never\n\
        \\:\\:1:*:*:v6:six:and more\n\
        \xff:*:*:*:latin\n\
        empty:*:*:*:\n\
        *:*:*:*:last";

    #[test]
    fn the_first_matching_line_decides() {
        let cases = [
            ("db1", 5432, "postgres", "barman", Some("one")),
            ("db1", 5433, "postgres", "barman", Some("last")),
            ("db1", 7, "replication", "streaming_barman", Some("two")),
            ("localhost", 1, "x", "barman", Some("with:colon\\and backslash")),
            ("::1", 1, "x", "v6", Some("six")),
            ("empty", 1, "x", "y", None),
        ];
        for (host, port, dbname, user, password) in cases {
            let wanted = Wanted {
                host,
                port,
                dbname,
                user,
            };
            let found = find(FILE, wanted);
            assert_eq!(found.as_ref().map(|p| p.as_str()), password, "{host} {user}");
        }
        let wanted = Wanted {
            host: "a",
            port: 2,
            dbname: "b",
            user: "c",
        };
        assert!(find(b"a:1:b:c:d", wanted).is_none());
        assert!(find(b"", wanted).is_none());
        assert!(find(b"a:2:b:c", wanted).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_content_makes_it_panic(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = find(&text, Wanted { host: "a", port: 1, dbname: "b", user: "c" });
        }
    }
}
