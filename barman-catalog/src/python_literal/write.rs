//! The writer: byte for byte what Python's `repr` prints.

use super::Value;
use std::fmt::{self, Write as _};

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => write!(f, "{number}"),
            Self::BigInt(digits) => f.write_str(digits),
            // Python's own `repr` of these is no literal and made the whole file unreadable for both programs; this
            // reads back as the same number, and is what Python's `ast.unparse` writes.
            Self::Float(number) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "1e309" } else { "-1e309" })
            }
            Self::Float(number) => f.write_str(&float_repr(*number)),
            Self::Str(text) => f.write_str(&str_repr(text)),
            Self::Bytes(bytes) => f.write_str(&bytes_repr(bytes)),
            Self::List(items) => {
                f.write_char('[')?;
                write_items(f, items)?;
                f.write_char(']')
            }
            Self::Tuple(items) => {
                f.write_char('(')?;
                write_items(f, items)?;
                f.write_str(if items.len() == 1 { ",)" } else { ")" })
            }
            Self::Set(items) if items.is_empty() => f.write_str("set()"),
            Self::Set(items) => {
                f.write_char('{')?;
                write_items(f, items)?;
                f.write_char('}')
            }
            Self::Dict(entries) => {
                f.write_char('{')?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{key}: {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_items(f: &mut fmt::Formatter<'_>, items: &[Value]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// The `repr` of a string: single quotes unless the text has a single and no double quote; printable characters as
/// they are, all others escaped.
#[must_use]
pub fn str_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && is_printable(c)) => out.push(c),
            c => push_escape(&mut out, u32::from(c)),
        }
    }
    out.push(quote);
    out
}

fn push_escape(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Python's `str.isprintable` for one character: neither of the categories "Other" nor a separator but the blank.
///
/// The standard library knows that table only through `str::escape_debug`, which escapes exactly these (and
/// combining marks, but those only at the beginning, hence the letter in front).
fn is_printable(c: char) -> bool {
    let mut buffer = [0u8; 5];
    buffer[0] = b'a';
    let len = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..len]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

fn bytes_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        b'"'
    } else {
        b'\''
    };
    let mut out = String::with_capacity(bytes.len() + 3);
    out.push('b');
    out.push(char::from(quote));
    for &b in bytes {
        match b {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b if b == quote => {
                out.push('\\');
                out.push(char::from(b));
            }
            b' '..=b'~' => out.push(char::from(b)),
            b => push_escape(&mut out, u32::from(b)),
        }
    }
    out.push(char::from(quote));
    out
}

/// The `repr` of a float: the shortest decimal that reads back as the same number, always with a point or an
/// exponent; the exponent form below 1e-4 and from 1e16 on.
#[must_use]
pub fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..16).contains(&exponent) {
        // `{:?}` prints plain decimals in this range, with `.0` for whole numbers.
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_python_does() {
        for (number, text) in [
            (5.0, "5.0"),
            (0.187505, "0.187505"),
            (5e-05, "5e-05"),
            (0.0001, "0.0001"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1795236423.9205947, "1795236423.9205947"),
            (1700000000.0, "1700000000.0"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (5e-324, "5e-324"),
            (123456789012345680.0, "1.2345678901234568e+17"),
        ] {
            assert_eq!(float_repr(number), text);
        }
    }

    #[test]
    fn strings_are_spelled_as_python_does() {
        for (text, repr) in [
            ("a", "'a'"),
            ("", "''"),
            ("it's", "\"it's\""),
            ("it's \"x\"", "'it\\'s \"x\"'"),
            ("a\\b\n\r\t", "'a\\\\b\\n\\r\\t'"),
            ("\u{0}\u{7f}\u{a0}", "'\\x00\\x7f\\xa0'"),
            ("\u{ad}", "'\\xad'"),
            ("é日本\u{301}", "'é日本\u{301}'"),
            ("\u{200b}\u{2028}", "'\\u200b\\u2028'"),
            ("\u{e000}\u{10ffff}😀", "'\\ue000\\U0010ffff😀'"),
        ] {
            assert_eq!(str_repr(text), repr);
        }
    }

    #[test]
    fn containers_are_spelled_as_python_does() {
        let one = Value::Tuple(vec![Value::Int(1)]);
        assert_eq!(one.to_string(), "(1,)");
        assert_eq!(Value::Tuple(vec![]).to_string(), "()");
        assert_eq!(Value::Set(vec![]).to_string(), "set()");
        let dict = Value::dict([
            ("k", Value::Bool(true)),
            ("v", Value::List(vec![Value::None, Value::Float(0.5)])),
        ]);
        assert_eq!(dict.to_string(), "{'k': True, 'v': [None, 0.5]}");
        assert_eq!(Value::Bytes(b"a'\xff\n".to_vec()).to_string(), "b\"a'\\xff\\n\"");
        // An infinite number is a literal still.
        let infinite = Value::List(vec![Value::Float(f64::INFINITY), Value::Float(f64::NEG_INFINITY)]);
        assert_eq!(infinite.to_string(), "[1e309, -1e309]");
        assert_eq!(super::super::parse("[1e400, -1e309]"), Ok(infinite));
    }
}
