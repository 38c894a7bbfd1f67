//! The reader: what `ast.literal_eval` takes, with bounded nesting.

use super::Value;

/// How deeply containers may nest.
pub const MAX_DEPTH: usize = 64;

/// Why a text is not a Python literal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Python literal: {reason} at byte {offset}")]
pub struct ParseError {
    /// Where, in bytes from the beginning.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Reads one literal, which must be the whole text but for white space around it.
///
/// # Errors
/// Anything that is not a literal, lone surrogates in strings (they are no Unicode text), complex numbers, nesting
/// deeper than [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Value, ParseError> {
    let mut reader = Reader {
        text,
        pos: 0,
        depth: 0,
    };
    let value = reader.value()?;
    reader.skip_blanks();
    if reader.pos < text.len() {
        return Err(reader.error("something after the literal"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    pos: usize,
    depth: usize,
}

/// A string or byte string while it is read.
enum Piece {
    Str(String),
    Bytes(Vec<u8>),
}

impl<'a> Reader<'a> {
    fn error(&self, reason: &'static str) -> ParseError {
        ParseError {
            offset: self.pos,
            reason,
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    /// White space, line ends, comments and continued lines, as between the tokens of a bracketed expression.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0c) => self.pos += 1,
                Some(b'\\') if self.rest().starts_with("\\\n") => self.pos += 2,
                Some(b'#') => {
                    let rest = self.rest();
                    self.pos += rest.find('\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        self.skip_blanks();
        match self.peek() {
            None => Err(self.error("nothing there")),
            Some(b'[') => {
                let items = self.nested(|r| r.items(b']'))?;
                Ok(Value::List(items.0))
            }
            Some(b'(') => {
                let (mut items, trailing_comma) = self.nested(|r| r.items(b')'))?;
                // Brackets around one value are only brackets.
                if items.len() == 1 && !trailing_comma {
                    return items.pop().ok_or_else(|| self.error("nothing there"));
                }
                Ok(Value::Tuple(items))
            }
            Some(b'{') => self.nested(Self::braces),
            Some(b'\'' | b'"') => self.strings(),
            Some(b'0'..=b'9' | b'.') => self.number(false),
            Some(b'-' | b'+') => self.nested(Self::signed),
            Some(c) if c.is_ascii_alphabetic() => {
                if self.string_prefix().is_some() {
                    self.strings()
                } else {
                    self.word()
                }
            }
            Some(_) => Err(self.error("no literal begins like this")),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn word(&mut self) -> Result<Value, ParseError> {
        let rest = self.rest();
        let len = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let value = match rest.get(..len) {
            Some("None") => Value::None,
            Some("True") => Value::Bool(true),
            Some("False") => Value::Bool(false),
            // The one call that a literal may contain.
            Some("set") if rest.get(len..).is_some_and(|r| r.starts_with("()")) => {
                self.pos += 2;
                Value::Set(Vec::new())
            }
            _ => return Err(self.error("a name that is no literal")),
        };
        self.pos += len;
        Ok(value)
    }

    /// The elements up to `close` (whose opening partner is next), and whether a comma came last.
    fn items(&mut self, close: u8) -> Result<(Vec<Value>, bool), ParseError> {
        self.pos += 1;
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            self.skip_blanks();
            if self.peek() == Some(close) {
                self.pos += 1;
                return Ok((items, comma));
            }
            if !items.is_empty() && !comma {
                return Err(self.error("a comma is missing"));
            }
            items.push(self.value()?);
            self.skip_blanks();
            comma = self.peek() == Some(b',');
            if comma {
                self.pos += 1;
            }
        }
    }

    fn braces(&mut self) -> Result<Value, ParseError> {
        self.pos += 1;
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(Value::Dict(Vec::new()));
        }
        let first = self.value()?;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return self.set_after(first);
        }
        // An index keeps a hostile dictionary of many keys from costing quadratic time.
        let mut places: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        let mut entries: Vec<(Value, Value)> = Vec::new();
        let mut key = first;
        loop {
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.error("a colon is missing"));
            }
            self.pos += 1;
            let value = self.value()?;
            match places.entry(key.to_string()) {
                std::collections::hash_map::Entry::Occupied(place) => {
                    if let Some(entry) = entries.get_mut(*place.get()) {
                        entry.1 = value;
                    }
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(entries.len());
                    entries.push((key, value));
                }
            }
            if !self.comma_or_brace()? {
                return Ok(Value::Dict(entries));
            }
            key = self.value()?;
        }
    }

    fn set_after(&mut self, first: Value) -> Result<Value, ParseError> {
        let mut items = vec![first];
        while self.comma_or_brace()? {
            items.push(self.value()?);
        }
        Ok(Value::Set(items))
    }

    /// After an element in braces: whether another one follows.
    fn comma_or_brace(&mut self) -> Result<bool, ParseError> {
        self.skip_blanks();
        let comma = self.peek() == Some(b',');
        if comma {
            self.pos += 1;
            self.skip_blanks();
        }
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(false);
        }
        if comma {
            Ok(true)
        } else {
            Err(self.error("a comma is missing"))
        }
    }

    fn signed(&mut self) -> Result<Value, ParseError> {
        let negative = self.peek() == Some(b'-');
        self.pos += 1;
        self.skip_blanks();
        match self.peek() {
            Some(b'0'..=b'9' | b'.') => self.number(negative),
            _ => Err(self.error("a sign without a number")),
        }
    }

    fn number(&mut self, negative: bool) -> Result<Value, ParseError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let radix = match (bytes.first(), bytes.get(1).map(u8::to_ascii_lowercase)) {
            (Some(b'0'), Some(b'x')) => 16,
            (Some(b'0'), Some(b'o')) => 8,
            (Some(b'0'), Some(b'b')) => 2,
            _ => 10,
        };
        let mut len = 0;
        let mut is_float = false;
        while let Some(&b) = bytes.get(len) {
            let after_exponent = radix == 10
                && len > 0
                && matches!(b, b'+' | b'-')
                && bytes.get(len - 1).is_some_and(|p| matches!(p, b'e' | b'E'));
            if b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || after_exponent {
                is_float |= radix == 10 && matches!(b, b'.' | b'e' | b'E');
                len += 1;
            } else {
                break;
            }
        }
        let spelled = rest.get(..len).unwrap_or("");
        let digits_start = if radix == 10 { 0 } else { 2 };
        let digits: String = spelled
            .get(digits_start..)
            .unwrap_or("")
            .chars()
            .filter(|&c| c != '_')
            .collect();
        if spelled.ends_with('_') || spelled.contains("__") || spelled.starts_with('_') {
            return Err(self.error("misplaced underscore in a number"));
        }
        let value = if is_float {
            // What Rust takes beyond Python's grammar (`inf`, `nan`) cannot begin with a digit or a point.
            let number: f64 = digits.parse().map_err(|_| self.error("no number"))?;
            Value::Float(if negative { -number } else { number })
        } else {
            self.integer(&digits, radix, negative)?
        };
        self.pos += len;
        Ok(value)
    }

    fn integer(&self, digits: &str, radix: u32, negative: bool) -> Result<Value, ParseError> {
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(self.error("no number"));
        }
        let trimmed = digits.trim_start_matches('0');
        if radix == 10 && digits.starts_with('0') && !trimmed.is_empty() {
            return Err(self.error("a decimal number with leading zeros"));
        }
        let trimmed = if trimmed.is_empty() { "0" } else { trimmed };
        let signed = if negative {
            format!("-{trimmed}")
        } else {
            trimmed.to_owned()
        };
        match i64::from_str_radix(&signed, radix) {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) if radix == 10 => Ok(Value::BigInt(signed)),
            Err(_) => Err(self.error("a number beyond 64 bits")),
        }
    }

    /// The prefix letters of a string literal that begins here, if one does.
    fn string_prefix(&self) -> Option<&'a str> {
        let rest = self.rest();
        let len = rest.bytes().take(3).position(|b| matches!(b, b'\'' | b'"'))?;
        let prefix = rest.get(..len)?;
        matches!(
            prefix.to_ascii_lowercase().as_str(),
            "" | "r" | "u" | "b" | "br" | "rb"
        )
        .then_some(prefix)
    }

    /// One or more adjacent string literals.
    fn strings(&mut self) -> Result<Value, ParseError> {
        let mut joined = self.string()?;
        loop {
            let end = self.pos;
            self.skip_blanks();
            if self.string_prefix().is_none() {
                self.pos = end;
                break;
            }
            match (&mut joined, self.string()?) {
                (Piece::Str(a), Piece::Str(b)) => a.push_str(&b),
                (Piece::Bytes(a), Piece::Bytes(b)) => a.extend_from_slice(&b),
                _ => return Err(self.error("text joined with bytes")),
            }
        }
        Ok(match joined {
            Piece::Str(text) => Value::Str(text),
            Piece::Bytes(bytes) => Value::Bytes(bytes),
        })
    }

    fn string(&mut self) -> Result<Piece, ParseError> {
        let prefix = self
            .string_prefix()
            .ok_or_else(|| self.error("no string"))?
            .to_ascii_lowercase();
        self.pos += prefix.len();
        let raw = prefix.contains('r');
        let bytes = prefix.contains('b');
        let rest = self.rest();
        let quote = if rest.starts_with("'''") || rest.starts_with("\"\"\"") {
            rest.get(..3).unwrap_or("")
        } else {
            rest.get(..1).unwrap_or("")
        };
        self.pos += quote.len();
        let mut text = String::new();
        let mut data = Vec::new();
        loop {
            if self.rest().starts_with(quote) {
                self.pos += quote.len();
                return Ok(if bytes {
                    Piece::Bytes(data)
                } else {
                    Piece::Str(text)
                });
            }
            let Some(c) = self.next_char() else {
                return Err(self.error("a string without its end"));
            };
            match c {
                '\n' if quote.len() == 1 => return Err(self.error("a line end in a string")),
                '\\' if raw => {
                    // A raw string keeps the backslash and what follows it, a quote included.
                    let Some(next) = self.next_char() else {
                        return Err(self.error("a string without its end"));
                    };
                    for c in ['\\', next] {
                        self.push(c, bytes, &mut text, &mut data)?;
                    }
                }
                '\\' if bytes => self.byte_escape(&mut data)?,
                '\\' => self.escape(&mut text)?,
                c => self.push(c, bytes, &mut text, &mut data)?,
            }
        }
    }

    fn push(&self, c: char, bytes: bool, text: &mut String, data: &mut Vec<u8>) -> Result<(), ParseError> {
        if bytes {
            let byte = u8::try_from(c)
                .ok()
                .filter(u8::is_ascii)
                .ok_or_else(|| self.error("not ASCII in bytes"))?;
            data.push(byte);
        } else {
            text.push(c);
        }
        Ok(())
    }

    fn escape(&mut self, text: &mut String) -> Result<(), ParseError> {
        let Some(c) = self.next_char() else {
            return Err(self.error("a string without its end"));
        };
        let code = match c {
            'x' => self.hex(2)?,
            'u' => self.code_unit()?,
            'U' => self.hex(8)?,
            'N' => return Err(self.error("a character by name")),
            '0'..='7' => self.octal(c),
            '\n' => return Ok(()),
            c => match simple_escape(c) {
                Some(byte) => u32::from(byte),
                None => {
                    // An unknown escape stands for itself.
                    text.push('\\');
                    text.push(c);
                    return Ok(());
                }
            },
        };
        text.push(char::from_u32(code).ok_or_else(|| self.error("an escape that is no character"))?);
        Ok(())
    }

    fn byte_escape(&mut self, data: &mut Vec<u8>) -> Result<(), ParseError> {
        let Some(c) = self.next_char() else {
            return Err(self.error("a string without its end"));
        };
        let code = match c {
            'x' => self.hex(2)?,
            '0'..='7' => self.octal(c) & 0xff,
            '\n' => return Ok(()),
            c => match simple_escape(c) {
                Some(byte) => u32::from(byte),
                None => {
                    data.push(b'\\');
                    self.push(c, true, &mut String::new(), data)?;
                    return Ok(());
                }
            },
        };
        data.push(u8::try_from(code).map_err(|_| self.error("an escape that is no byte"))?);
        Ok(())
    }

    /// `\uXXXX`. Python keeps surrogates apart; no writer of ours or Barman's produces them.
    fn code_unit(&mut self) -> Result<u32, ParseError> {
        self.hex(4)
    }

    fn hex(&mut self, len: usize) -> Result<u32, ParseError> {
        let digits = self
            .rest()
            .get(..len)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .ok_or_else(|| self.error("a cut escape"))?;
        self.pos += len;
        Ok(code)
    }

    fn octal(&mut self, first: char) -> u32 {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            match self.peek() {
                Some(b @ b'0'..=b'7') => {
                    code = code * 8 + u32::from(b - b'0');
                    self.pos += 1;
                }
                _ => break,
            }
        }
        code
    }
}

fn simple_escape(c: char) -> Option<u8> {
    Some(match c {
        '\\' => b'\\',
        '\'' => b'\'',
        '"' => b'"',
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_spelling_of_a_literal_is_read() {
        let s = |t: &str| Value::Str(t.to_owned());
        for (text, value) in [
            (" None ", Value::None),
            ("True", Value::Bool(true)),
            ("0", Value::Int(0)),
            ("-12", Value::Int(-12)),
            ("+1_000", Value::Int(1000)),
            ("0xFF", Value::Int(255)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            (
                "9223372036854775808",
                Value::BigInt("9223372036854775808".to_owned()),
            ),
            ("5e-05", Value::Float(5e-05)),
            (".5", Value::Float(0.5)),
            ("1.", Value::Float(1.0)),
            ("'a' \"b\"\n'c'", s("abc")),
            ("u'x'", s("x")),
            ("r'\\n'", s("\\n")),
            ("'''a\n'b'''", s("a\n'b")),
            ("'\\x41\\u00e9\\U0001F600\\101\\q'", s("Aé😀A\\q")),
            ("b'a\\xff'", Value::Bytes(vec![b'a', 0xff])),
            ("[ ]", Value::List(vec![])),
            ("[1,\n 2 , ]", Value::List(vec![Value::Int(1), Value::Int(2)])),
            ("(1)", Value::Int(1)),
            ("(1,)", Value::Tuple(vec![Value::Int(1)])),
            ("()", Value::Tuple(vec![])),
            ("{}", Value::Dict(vec![])),
            ("{1, 2}", Value::Set(vec![Value::Int(1), Value::Int(2)])),
            ("set()", Value::Set(vec![])),
            (
                "{'a': 1, 'b': 2, 'a': 3}",
                Value::dict([("a", Value::Int(3)), ("b", Value::Int(2))]),
            ),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        let deep = "[".repeat(100_000);
        let signs = "-".repeat(100_000);
        for text in [
            "",
            "  ",
            "a",
            "os.system('x')",
            "'a",
            "'a\nb'",
            "[1 2]",
            "[1",
            "(,)",
            "{1:}",
            "{1 2}",
            "1 2",
            "012",
            "1j",
            "1__0",
            "0x",
            "'\\ud800'",
            "'\\x4'",
            "b'é'",
            "'a' b'b'",
            "-",
            "f'x'",
            "{**a}",
            "1.5.2",
            deep.as_str(),
            signs.as_str(),
        ] {
            assert!(parse(text).is_err(), "{text:.40}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::None),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>()
                .prop_filter("finite", |x| x.is_finite())
                .prop_map(Value::Float),
            any::<String>().prop_map(Value::Str),
            any::<Vec<u8>>().prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Tuple),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|m| Value::Dict(m.into_iter().map(|(k, v)| (Value::Str(k), v)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            prop_assert_eq!(parse(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn no_literal_like_text_makes_it_panic(text in "[\\[\\](){}'\"\\\\,:xub0-9eE_.+# \n-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
