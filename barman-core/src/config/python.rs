//! Values in the notation in which Barman shows them: `True`, `None`, `['a', 'b']`, `{'a': 1}`. Scripts read it.

use barman_catalog::python_literal::str_repr;
use serde_json::Value;

/// A value as it is printed: a text as it is, anything else as [`literal`].
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => literal(other),
    }
}

/// A value as it is written inside of a list or a map: texts in quotes.
#[must_use]
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => str_repr(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => map(members.iter().map(|(key, value)| (key.as_str(), value))),
    }
}

/// A map, in the order given.
pub fn map<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let members: Vec<String> = members
        .map(|(key, value)| format!("{}: {}", str_repr(key), literal(value)))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// Decimal text of the server in the form in which Barman prints it: very small numbers with an exponent.
#[must_use]
pub fn decimal(text: &str) -> String {
    let Some((whole, fraction)) = text.split_once('.') else {
        return text.to_owned();
    };
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || !whole.bytes().all(|b| b == b'0') {
        return text.to_owned();
    }
    let digits = fraction.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    // The exponent of the first digit that counts.
    let leading = fraction.len() - digits.len().min(fraction.len());
    let exponent = if digits == "0" {
        fraction.len()
    } else {
        leading + 1
    };
    if exponent <= 6 {
        return text.to_owned();
    }
    let mantissa = match digits.split_at_checked(1) {
        Some((first, rest)) if !rest.is_empty() => format!("{first}.{rest}"),
        _ => digits.to_owned(),
    };
    format!("{sign}{mantissa}E-{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_in_barmans_notation() {
        for (value, expected) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(-5), "-5"),
            (json!("it's"), "it's"),
            (
                json!(["a", " b'c", "d\"e'f", "n\nt\\"]),
                r#"['a', " b'c", 'd"e\'f', 'n\nt\\']"#,
            ),
            (
                json!({"a": 100, "b": [null, 1.5]}),
                "{'a': 100, 'b': [None, 1.5]}",
            ),
            (json!({}), "{}"),
            (json!(["\u{1}é"]), "['\\x01é']"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn decimals_as_barman_prints_them() {
        for (given, expected) in [
            ("0.04066657766786144055", "0.04066657766786144055"),
            ("0.00000000000000000000", "0E-20"),
            ("0.0000001234", "1.234E-7"),
            ("0.000001234", "0.000001234"),
            ("0.00000010", "1.0E-7"),
            ("-0.00000012", "-1.2E-7"),
            ("12.5", "12.5"),
            ("7", "7"),
            ("0.0", "0.0"),
            ("NaN", "NaN"),
            ("", ""),
            (".", "."),
        ] {
            assert_eq!(decimal(given), expected, "{given}");
        }
    }
}
