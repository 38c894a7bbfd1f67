//! Quoting, because the replication protocol and the simple query protocol have no parameters.

/// An SQL identifier in double quotes.
pub(crate) fn identifier(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(&name.replace('\0', ""))
}

/// An SQL string literal, whatever `standard_conforming_strings` is.
pub(crate) fn literal(value: &str) -> String {
    postgres_protocol::escape::escape_literal(&value.replace('\0', ""))
        .trim_start()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_quotes() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("back\\slash"), "E'back\\\\slash'");
        assert_eq!(identifier("x\0y"), "\"xy\"");
    }
}
