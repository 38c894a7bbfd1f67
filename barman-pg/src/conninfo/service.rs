//! The content of a connection service file, `pg_service.conf`: the options of one service
//! (PostgreSQL documentation, "The Connection Service File"). Nothing here reads a file.

use std::collections::BTreeMap;

use super::is_keyword;

/// The longest line that libpq takes, in bytes.
const LINE: usize = 1023;

/// Why a service file is not one. The text holds the line's number, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, line {line}")]
pub struct ServiceFileError {
    /// What is wrong.
    pub what: &'static str,
    /// In which line, from 1.
    pub line: usize,
}

/// The options that the file gives to a service, or nothing if it does not define the service. As in libpq the first
/// section of that name counts, and in it the first value of an option; only lines of that section are checked.
///
/// # Errors
/// A line that is too long, or a line of the section that is no option of libpq.
pub fn parse(text: &[u8], service: &str) -> Result<Option<BTreeMap<String, String>>, ServiceFileError> {
    let mut found: Option<BTreeMap<String, String>> = None;
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let error = |what| Err(ServiceFileError { what, line: at + 1 });
        if line.len() > LINE {
            return error("line too long");
        }
        let line = String::from_utf8_lossy(line);
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if section
                .strip_prefix(service)
                .is_some_and(|rest| rest.starts_with(']'))
            {
                found = Some(BTreeMap::new());
            }
            continue;
        }
        let Some(options) = &mut found else {
            continue;
        };
        if line.contains('\0') {
            return error("a null character");
        }
        if line.starts_with("ldap") {
            return error("looking up options by LDAP is not supported");
        }
        match line.split_once('=') {
            Some(("service" | "servicefile", _)) => {
                return error("a service that names another service is not supported");
            }
            Some((keyword, value)) if is_keyword(keyword) => {
                options
                    .entry(keyword.to_owned())
                    .or_insert_with(|| value.to_owned());
            }
            _ => return error("syntax error"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# services\nnot looked at\n[one]\nhost=a\n  port=7  \nhost=b\n\n# more\npassword= with blank\n[two]\nnonsense\n\
        [three]\nservice=one\n[one]\nuser=late\n[four]\nldap://x\n[five]\nhost = a\n[empty]\n[six]\nuser=x]";

    #[test]
    fn the_first_section_of_the_name_counts() {
        let one = parse(FILE, "one").unwrap().unwrap();
        let pairs: Vec<(&str, &str)> = one.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("host", "a"), ("password", " with blank"), ("port", "7")]);
        assert_eq!(parse(FILE, "empty").unwrap().unwrap().len(), 0);
        assert_eq!(parse(FILE, "six").unwrap().unwrap()["user"], "x]");
        for absent in ["on", "", "nothing", "one]"] {
            assert_eq!(parse(FILE, absent).unwrap(), None, "{absent}");
        }
    }

    #[test]
    fn bad_lines_of_the_section_are_told_by_number() {
        for (service, text) in [
            ("two", "syntax error, line 11"),
            (
                "three",
                "a service that names another service is not supported, line 13",
            ),
            ("four", "looking up options by LDAP is not supported, line 17"),
            ("five", "syntax error, line 19"),
        ] {
            assert_eq!(parse(FILE, service).unwrap_err().to_string(), text);
        }
        let long = [b"[x]\nuser=".as_slice(), &[b'y'; 2000]].concat();
        assert_eq!(
            parse(&long, "x").unwrap_err().to_string(),
            "line too long, line 2"
        );
        assert_eq!(
            parse(b"[x]\nuser=a\0replication", "x").unwrap_err().to_string(),
            "a null character, line 2"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_content_makes_it_panic(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(&text, "x");
        }
    }
}
