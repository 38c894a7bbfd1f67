//! Keeps secrets out of everything that is printed or logged.
//!
//! Three shapes are known: `password=<value>` of a connection string (also `sslpassword=`, `PGPASSWORD=` and the names of
//! other secrets there), the password of a `postgresql://` or `postgres://` URI, and that of an ssh command that begins with
//! `sshpass -p`. Only the value is replaced; what stands around it stays.

use std::borrow::Cow;

/// What stands where a secret was.
pub const REDACTED: &str = "*REDACTED*";

/// The text with every secret replaced by [`REDACTED`].
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let in_uris = uri_passwords(text);
    let mut secrets = password_values(text);
    // `postgres://user:password=x@host`: the host is none.
    secrets.retain(|(start, _)| !in_uris.iter().any(|(from, to)| (from..to).contains(&start)));
    secrets.extend(in_uris);
    secrets.extend(sshpass_passwords(text));
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_unstable();
    let mut result = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, end) in secrets {
        // One that begins within another is replaced with it, and so is what of it stands behind.
        if start >= copied {
            result.push_str(text.get(copied..start).unwrap_or_default());
            result.push_str(REDACTED);
        }
        copied = copied.max(end);
    }
    result.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(result)
}

/// Names of secrets in connection strings, or how they end.
const KEYS: [&str; 4] = [
    "password",
    "client_secret",
    "scram_client_key",
    "scram_server_key",
];

fn password_values(text: &str) -> Vec<(usize, usize)> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, key) in KEYS.into_iter().flat_map(|key| lower.match_indices(key)) {
        let name = text.get(..at).unwrap_or_default();
        let name = name.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let in_uri = name.ends_with(['?', '&']);
        let after = at + key.len();
        let Some(rest) = text.get(after..) else { continue };
        let Some(value) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']);
        let start = text.len() - value.len();
        let length = value_length(value, in_uri);
        if length > 0 {
            found.push((start, start + length));
        }
    }
    found
}

/// The length of a connection string's value: quoted up to the closing quote, else up to white space.
fn value_length(value: &str, in_uri: bool) -> usize {
    if let Some(inner) = value.strip_prefix('\'') {
        let mut escaped = false;
        for (at, character) in inner.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\'' => return at + 2,
                _ => {}
            }
        }
        return value.trim_end().len();
    }
    let end = value
        .find(|c: char| c.is_whitespace() || (in_uri && c == '&'))
        .unwrap_or(value.len());
    let word = value.get(..end).unwrap_or_default();
    // `changed from 'host=h password=x' to ...`: the closing quote (and a comma after it) is the sentence's.
    let trimmed = word.trim_end_matches(['\'', '"', ',', '.', ';', ':', ')', ']', '}']);
    match word.get(trimmed.len()..) {
        Some(tail) => match tail.find(['\'', '"']) {
            Some(quote) => trimmed.len() + quote,
            None => word.len(),
        },
        None => word.len(),
    }
}

fn uri_passwords(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for scheme in ["postgresql://", "postgres://"] {
        for (at, _) in text.match_indices(scheme) {
            let start = at + scheme.len();
            let Some(rest) = text.get(start..) else { continue };
            let authority_end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '/' | '\'' | '"'))
                .unwrap_or(rest.len());
            let authority = rest.get(..authority_end).unwrap_or_default();
            if let Some(at_sign) = authority.rfind('@') {
                if let Some(colon) = authority.get(..at_sign).and_then(|user| user.find(':')) {
                    found.push((start + colon + 1, start + at_sign));
                }
            } else if let Some((from, to)) = unescaped_password(rest) {
                found.push((start + from, start + to));
            }
        }
    }
    found
}

/// The place of a password with a `/` in it, which should have been `%2F`: the server that is looked for is then another
/// one, and the error that says so must not tell the secret.
fn unescaped_password(rest: &str) -> Option<(usize, usize)> {
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'))
        .unwrap_or(rest.len());
    let word = rest.get(..end)?;
    let (colon, at_sign) = (word.find(':')?, word.rfind('@')?);
    let is_host = |text: &str| text.contains(['/', '[', ',']);
    let port = word.get(colon + 1..)?.split([',', '/', '?']).next()?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    (colon < at_sign && !is_port && !is_host(word.get(..colon)?)).then_some((colon + 1, at_sign))
}

/// `sshpass -p secret ssh ...`, `sshpass -psecret`, `SSHPASS=secret`.
fn sshpass_passwords(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, name) in text.match_indices("sshpass") {
        let enclosing = quote_before(text, at);
        let rest = text.get(at + name.len()..).unwrap_or_default();
        // Of `"/my dir/sshpass"`.
        let mut rest = rest.strip_prefix(['\'', '"']).unwrap_or(rest);
        // Its own options, up to the command that it runs; the text may be a part of a larger one.
        while let Some((word, behind)) = next_word(rest, enclosing) {
            rest = behind;
            let bare = word.replace(['\'', '"'], "");
            let Some(options) = bare.strip_prefix('-') else {
                break;
            };
            // Letters without a value may stand before the one that has one.
            let options = options.trim_start_matches(['v', 'e', 'V', 'h']);
            let mut letters = options.chars();
            match (letters.next(), letters.as_str()) {
                (Some('p'), "") => {
                    if let Some((secret, behind)) = next_word(rest, enclosing) {
                        found.push((
                            text.len() - behind.len() - secret.len(),
                            text.len() - behind.len(),
                        ));
                    }
                    break;
                }
                (Some('p'), _) => {
                    let end = text.len() - behind.len();
                    // With its letter, if that stands between quotes.
                    let plain = word.split(['p', '\'', '"']).next().unwrap_or_default().len();
                    let after = word.get(plain..).is_some_and(|rest| rest.starts_with('p'));
                    let skipped = if after { plain + 1 } else { 0 };
                    found.push((end - word.len() + skipped, end));
                    break;
                }
                (Some('P' | 'd' | 'f'), "") => {
                    rest = next_word(rest, enclosing).map_or("", |(_, behind)| behind);
                }
                _ => {}
            }
        }
    }
    found.extend(text.match_indices("SSHPASS=").filter_map(|(at, name)| {
        let start = at + name.len();
        let length = shell_word_length(text.get(start..)?, quote_before(text, at));
        (length > 0).then_some((start, start + length))
    }));
    found
}

/// The quote that stands before a place within the same word: that of a sentence which cites a command.
fn quote_before(text: &str, at: usize) -> Option<char> {
    let before = text.get(..at)?;
    let word = before.rsplit(char::is_whitespace).next()?;
    word.chars().find(|c| matches!(c, '\'' | '"'))
}

/// The word behind blanks, and what follows it; `None` without blanks or without a word.
fn next_word(text: &str, enclosing: Option<char>) -> Option<(&str, &str)> {
    let word = text.trim_start();
    let length = shell_word_length(word, enclosing);
    (word.len() < text.len() && length > 0)
        .then(|| word.split_at_checked(length))
        .flatten()
}

/// The length of a shell's word, as its parts with and without quotes have it. The quote `enclosing` that the whole
/// command stands in ends it. A quote at its beginning that is never closed leads to the end of the text.
fn shell_word_length(text: &str, enclosing: Option<char>) -> usize {
    let mut length = 0;
    // Behind what was quoted, a quote opens another part (`'it'\''s'`).
    let mut opens = true;
    while let Some(rest) = text.get(length..)
        && let Some(character) = rest.chars().next()
    {
        match character {
            blank if blank.is_whitespace() => break,
            '\'' | '"' => match quoted_length(rest, character) {
                Some(part) if opens || enclosing != Some(character) => {
                    length += part;
                    opens = true;
                    continue;
                }
                _ if length > 0 && enclosing == Some(character) => break,
                None if length == 0 => return text.trim_end().len(),
                _ => opens = false,
            },
            '\\' => {
                length += rest.chars().nth(1).map_or(0, char::len_utf8);
                opens = true;
            }
            _ => opens = false,
        }
        length += character.len_utf8();
    }
    length
}

/// The length of the part between quotes that a text begins with, quotes included; `None` if it is never closed.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("nothing here", "nothing here"),
            (
                "host=h password=s3cret port=1",
                "host=h password=*REDACTED* port=1",
            ),
            (
                "host=h password=s3cret\nnext line",
                "host=h password=*REDACTED*\nnext line",
            ),
            ("password='a b' user=u", "password=*REDACTED* user=u"),
            (r"password='a\'b c' user=u", "password=*REDACTED* user=u"),
            ("password='never closed", "password=*REDACTED*"),
            ("password = s3cret user=u", "password = *REDACTED* user=u"),
            (
                "sslpassword=x PGPASSWORD=y z",
                "sslpassword=*REDACTED* PGPASSWORD=*REDACTED* z",
            ),
            (
                "from 'host=h password=x' to 'host=h password=y'",
                "from 'host=h password=*REDACTED*' to 'host=h password=*REDACTED*'",
            ),
            ("'a password=x', 'b'", "'a password=*REDACTED*', 'b'"),
            ("password=p'wd x", "password=*REDACTED* x"),
            ("password=end.", "password=*REDACTED*"),
            ("password=", "password="),
            (
                "using 'sshpass -p s3cret ssh -p 22 pg -o X' return code 5",
                "using 'sshpass -p *REDACTED* ssh -p 22 pg -o X' return code 5",
            ),
            (
                "/usr/bin/sshpass -v -ps3cret ssh pg",
                "/usr/bin/sshpass -v -p*REDACTED* ssh pg",
            ),
            ("sshpass -p 's3 cret' ssh pg", "sshpass -p *REDACTED* ssh pg"),
            (
                "SSHPASS=s3cret sshpass -e ssh -p 22 pg",
                "SSHPASS=*REDACTED* sshpass -e ssh -p 22 pg",
            ),
            ("sshpass -f file ssh -p 22 pg", "sshpass -f file ssh -p 22 pg"),
            (r#"sshpass -p "s3 cret" ssh pg"#, "sshpass -p *REDACTED* ssh pg"),
            (r#"sshpass -p "s3\" cret" ssh pg"#, "sshpass -p *REDACTED* ssh pg"),
            (
                r"using 'sshpass -p 's3 c'\''r et' ssh pg' end",
                "using 'sshpass -p *REDACTED* ssh pg' end",
            ),
            ("sshpass -ps3' c'ret ssh pg", "sshpass -p*REDACTED* ssh pg"),
            (r"sshpass -ps3\ cret ssh pg", "sshpass -p*REDACTED* ssh pg"),
            ("sshpass -vp s3cret ssh pg", "sshpass -vp *REDACTED* ssh pg"),
            ("sshpass '-ps3 cret' ssh pg", "sshpass *REDACTED* ssh pg"),
            ("sshpass '-p' s3cret ssh pg", "sshpass '-p' *REDACTED* ssh pg"),
            ("sshpass -p\n s3cret ssh pg", "sshpass -p\n *REDACTED* ssh pg"),
            (
                "'/my dir/sshpass' -p s3cret ssh pg",
                "'/my dir/sshpass' -p *REDACTED* ssh pg",
            ),
            (
                "from 'sshpass -p s3cret' to 'sshpass -p s4cret'",
                "from 'sshpass -p *REDACTED*' to 'sshpass -p *REDACTED*'",
            ),
            (
                "SSHPASS=\"s3 cret\" sshpass -e ssh",
                "SSHPASS=*REDACTED* sshpass -e ssh",
            ),
            // One that begins within another.
            ("password='a sshpass -p 'b c' d", "password=*REDACTED* d"),
            (
                "sshpass -P prompt -p s3cret ssh",
                "sshpass -P prompt -p *REDACTED* ssh",
            ),
            ("sshpass: not found, sshpass", "sshpass: not found, sshpass"),
            ("password of the user", "password of the user"),
            ("postgresql://u:p@h/db", "postgresql://u:*REDACTED*@h/db"),
            ("postgres://u:p@ss@h/db", "postgres://u:*REDACTED*@h/db"),
            ("postgres://u@h:5432/db", "postgres://u@h:5432/db"),
            (
                "postgresql://h/db?password=x&sslmode=require",
                "postgresql://h/db?password=*REDACTED*&sslmode=require",
            ),
            ("postgresql://u:password=x@h/db", "postgresql://u:*REDACTED*@h/db"),
            ("é password=é é", "é password=*REDACTED* é"),
            ("postgres://u:p/w@h/db x", "postgres://u:*REDACTED*@h/db x"),
            ("postgres://h:5432/db?user=a@b", "postgres://h:5432/db?user=a@b"),
            ("postgres://h:1,i:2/db?user=a@b", "postgres://h:1,i:2/db?user=a@b"),
            ("postgres://[::1]:1/db?user=a@b", "postgres://[::1]:1/db?user=a@b"),
            (
                "oauth_client_secret=x scram_client_key='y z' user=u",
                "oauth_client_secret=*REDACTED* scram_client_key=*REDACTED* user=u",
            ),
            (
                "postgresql://h/db?sslpassword=x&sslmode=require",
                "postgresql://h/db?sslpassword=*REDACTED*&sslmode=require",
            ),
        ];
        for (input, expected) in table {
            assert_eq!(redact(input), expected, "{input}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_secret_never_survives(before in "[ -~]{0,20}", secret in "[a-zA-Z0-9]{8,20}", after in "[ -~]{0,20}") {
            for text in [
                format!("{before} password={secret} {after}"),
                format!("{before} password='{secret}' {after}"),
                format!("{before} postgresql://user:{secret}@host/db {after}"),
                format!("{before} sshpass -p {secret} ssh {after}"),
                format!("{before} sshpass -p \"a {secret}\" ssh {after}"),
                format!("{before} sshpass -vp'a {secret}' ssh {after}"),
            ] {
                proptest::prop_assert!(!redact(&text).contains(&secret), "{}", redact(&text));
            }
        }

        #[test]
        fn any_text_can_be_redacted(text in ".{0,80}") {
            let _ = redact(&text);
        }
    }
}
