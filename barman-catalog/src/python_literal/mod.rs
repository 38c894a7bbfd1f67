//! Python literals: the encoding of the structured fields of `backup.info`.
//!
//! The writer produces exactly what Python's `repr` produces for strings, numbers, lists, tuples and dictionaries;
//! the reader takes any spelling of a literal that Python itself would take (either quote style, prefixes, triple
//! quotes, adjacent strings, any white space) and nothing that is not a literal. Nesting is bounded by
//! [`MAX_DEPTH`], so that no input can exhaust the stack.
//!
//! ```
//! use barman_catalog::python_literal::{self, Value};
//!
//! let value = python_literal::parse(r#"[("my ts'1", 16384, '/pg/ts15')]"#)?;
//! assert_eq!(value.to_string(), r#"[("my ts'1", 16384, '/pg/ts15')]"#);
//! # Ok::<(), python_literal::ParseError>(())
//! ```

mod read;
mod write;

pub use read::{MAX_DEPTH, ParseError, parse};
pub use write::{float_repr, str_repr};

/// A Python literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// An integer that does not fit in 64 bits: its decimal digits, with a sign if negative.
    BigInt(String),
    /// A float.
    Float(f64),
    /// A string.
    Str(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A set, in the order written.
    Set(Vec<Value>),
    /// A dictionary, in insertion order. A repeated key keeps its first place and its last value, as in Python.
    Dict(Vec<(Value, Value)>),
}

impl Value {
    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is an integer of 64 bits.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number as a float, if this is a float or an integer.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            #[allow(clippy::cast_precision_loss, reason = "what Python's float() does too")]
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// The elements, if this is a list or a tuple.
    #[must_use]
    pub fn as_sequence(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<&[(Value, Value)]> {
        match self {
            Self::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under the string key `key`, if this is a dictionary that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_dict()?
            .iter()
            .find(|(k, _)| k.as_str() == Some(key))
            .map(|(_, v)| v)
    }

    /// A string.
    #[must_use]
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// A dictionary with string keys, in the order given.
    #[must_use]
    pub fn dict<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Dict(
            entries
                .into_iter()
                .map(|(k, v)| (Self::Str(k.into()), v))
                .collect(),
        )
    }
}

impl serde::Serialize for Value {
    /// As JSON would hold it: tuples and sets become lists, keys that are not strings their Python spelling.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self {
            Self::None => serializer.serialize_none(),
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Int(n) => serializer.serialize_i64(*n),
            Self::Float(x) => serializer.serialize_f64(*x),
            Self::BigInt(digits) => serializer.serialize_str(digits),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bytes(_) => serializer.serialize_str(&self.to_string()),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => serializer.collect_seq(items),
            Self::Dict(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    match key.as_str() {
                        Some(text) => map.serialize_entry(text, value)?,
                        None => map.serialize_entry(&key.to_string(), value)?,
                    }
                }
                map.end()
            }
        }
    }
}
