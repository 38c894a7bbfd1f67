//! JSON as Barman writes it: keys sorted at every level, `, ` and `: ` between things, one line, ASCII only.

use serde_json::Value;
use std::fmt::Write as _;

/// The text of a value in Barman's form.
#[must_use]
pub fn to_text(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, None);
    text
}

/// The text of a value over many lines, indented by four blanks at each level: the form of `diagnose`.
#[must_use]
pub fn to_indented_text(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, Some(0));
    text
}

/// What stands between two things at `level`: a new line, or a blank.
fn write_gap(text: &mut String, level: Option<usize>, on_one_line: &str) {
    match level {
        Some(level) => {
            text.push('\n');
            text.push_str(&"    ".repeat(level));
        }
        None => text.push_str(on_one_line),
    }
}

fn write_value(text: &mut String, value: &Value, level: Option<usize>) {
    let inside = level.map(|level| level + 1);
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => text.push_str(&float_text(float)),
            _ => text.push_str(&number.to_string()),
        },
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_gap(text, inside, if index > 0 { " " } else { "" });
                write_value(text, item, inside);
            }
            if !items.is_empty() {
                write_gap(text, level, "");
            }
            text.push(']');
        }
        Value::Object(members) => {
            // UTF-8 sorts bytewise as its code points do.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_gap(text, inside, if index > 0 { " " } else { "" });
                write_string(text, key);
                text.push_str(": ");
                write_value(text, member, inside);
            }
            if !members.is_empty() {
                write_gap(text, level, "");
            }
            text.push('}');
        }
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => {
                let mut units = [0u16; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}

/// The shortest text that reads back as the same number, always with a fraction or an exponent of two digits or more.
fn float_text(float: f64) -> String {
    if float != 0.0 && (float.abs() >= 1e16 || float.abs() < 1e-4) {
        let text = format!("{float:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    let text = format!("{float}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn table() {
        let table = [
            (json!({}), "{}"),
            (
                json!({"b": 1, "a": [1, "x", null, true, false], "_INFO": ["i"]}),
                r#"{"_INFO": ["i"], "a": [1, "x", null, true, false], "b": 1}"#,
            ),
            (json!({"s": {"z": {}, "k": []}}), r#"{"s": {"k": [], "z": {}}}"#),
            (
                json!("tab\t nl\n cr\r quote\" back\\ slash/ bs\u{8} ff\u{c} nul\0 del\u{7f}"),
                r#""tab\t nl\n cr\r quote\" back\\ slash/ bs\b ff\f nul\u0000 del\u007f""#,
            ),
            (json!("é 日 😀"), r#""\u00e9 \u65e5 \ud83d\ude00""#),
            (json!(23_444_013.0), "23444013.0"),
            (json!(1.341_191), "1.341191"),
            (json!(0.0), "0.0"),
            (json!(1e-5), "1e-05"),
            (json!(1.5e300), "1.5e+300"),
            (json!(1e16), "1e+16"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(-3), "-3"),
        ];
        for (value, text) in table {
            assert_eq!(to_text(&value), text);
        }
    }

    fn values() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 1000.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn every_float_reads_back(float in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            proptest::prop_assert_eq!(float_text(float).parse::<f64>().unwrap(), float);
        }

        #[test]
        fn every_value_reads_back(value in values()) {
            let text = to_text(&value);
            proptest::prop_assert!(text.is_ascii());
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
