//! The content of a password file, `~/.pgpass`: which of its lines applies
//! (PostgreSQL documentation, "The Password File"). Nothing here reads a file.

use zeroize::Zeroizing;

/// What a line must match.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Host name, address or socket directory as the connection string has it; `localhost` for the default socket
    /// directory. Any of them will do: systems have different default directories.
    pub hosts: &'a [&'a str],
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
        .filter(|line| !line.starts_with(b"#"))
        .find_map(|line| {
            let line = without_returns(line);
            let rest = wanted.hosts.iter().find_map(|host| after(line, host))?;
            [port.as_str(), wanted.dbname, wanted.user]
                .into_iter()
                .try_fold(rest, after)
        })
        .and_then(password)
}

fn without_returns(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_suffix(b"\r") {
        line = rest;
    }
    line
}

/// What follows the first field, if that matches. As in libpq a colon ends the field only where the value has ended, so
/// that an address of IPv6 need not be escaped.
fn after<'line>(line: &'line [u8], value: &str) -> Option<&'line [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut line = line;
    for wanted in value.bytes() {
        line = line.strip_prefix(b"\\").unwrap_or(line);
        line = line.strip_prefix(&[wanted])?;
    }
    line.strip_prefix(b":")
}

/// The last field without its escapes; nothing if it is empty or not UTF-8.
fn password(field: &[u8]) -> Option<Zeroizing<String>> {
    let field = std::str::from_utf8(field).ok()?;
    // Never longer than the text: nothing is reallocated, no copy stays behind.
    let mut out = Zeroizing::new(String::with_capacity(field.len()));
    let mut chars = field.chars();
    while let Some(c) = chars.next().filter(|c| *c != ':') {
        match c {
            '\\' => out.push(chars.next().unwrap_or('\\')),
            c => out.push(c),
        }
    }
    Some(out).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# comment\n\
        broken line\n\
        db1:5432:postgres:barman:one\r\n\
        db1:*:replication:streaming_barman:two\n\
        localhost:*:*:barman:with\\:colon\\\\and backslash\n\
        ::1 and more:*:*:*:never\n\
        \\:\\:1:*:*:v6:six:and more\n\
        ::1:*:*:plain:seven\n\
        \\d\\b2:*:*:x:escaped\n\
        /run/x:*:*:x:socket\n\
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
            ("::1", 1, "x", "plain", Some("seven")),
            ("db2", 1, "x", "x", Some("escaped")),
            ("/run/x", 1, "x", "x", Some("socket")),
            ("empty", 1, "x", "y", None),
        ];
        for (host, port, dbname, user, password) in cases {
            let wanted = Wanted {
                hosts: &[host],
                port,
                dbname,
                user,
            };
            let found = find(FILE, wanted);
            assert_eq!(found.as_ref().map(|p| p.as_str()), password, "{host} {user}");
        }
        // Any of the names will do, and the order is that of the file.
        let two = |hosts| {
            let wanted = Wanted {
                hosts,
                port: 1,
                dbname: "x",
                user: "x",
            };
            find(FILE, wanted).unwrap().to_string()
        };
        assert_eq!(two(&["/run/x", "db2"]), "escaped");
        assert_eq!(two(&["nowhere", "/run/x"]), "socket");
        let wanted = Wanted {
            hosts: &["a"],
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
            let _ = find(&text, Wanted { hosts: &["a"], port: 1, dbname: "b", user: "c" });
        }
    }
}
