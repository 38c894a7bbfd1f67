//! The `key=value` form: blanks around `=`, single quotes, backslash escapes, exactly as libpq reads them.

use std::iter::Peekable;
use std::str::Chars;

use super::{ConnInfoError, HIDDEN, Pair, is_keyword, keywords};

/// Blanks of libpq's parser (`isspace` in the C locale).
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
}

/// Splits the string into its pairs, in order; keywords are not checked.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, ConnInfoError> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    // Behind a secret without quotes, or so close behind one in quotes that a quote in it may have ended it.
    let mut doubtful = false;
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !is_blank(*c)) {
            word.push(c);
        }
        skip_blanks(&mut chars);
        if chars.next_if_eq(&'=').is_none() {
            let word = if is_keyword(&word) {
                word
            } else {
                HIDDEN.to_owned()
            };
            return Err(ConnInfoError::MissingEquals { word });
        }
        skip_blanks(&mut chars);
        let bare_value = chars.next_if_eq(&'\'').is_none();
        let value = if bare_value {
            bare(&mut chars)
        } else {
            quoted(&mut chars)?
        };
        let unknown = !is_keyword(&word);
        let is_glued = chars.peek().is_some_and(|c| !is_blank(*c));
        let next_is_doubtful =
            (bare_value || is_glued) && (keywords::is_secret(&word) || doubtful && unknown);
        pairs.push(Pair {
            doubtful: doubtful && unknown,
            keyword: word,
            value,
        });
        doubtful = next_is_doubtful;
    }
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, ConnInfoError> {
    let mut value = String::new();
    loop {
        match chars.next() {
            None => return Err(ConnInfoError::UnterminatedQuote),
            Some('\'') => return Ok(value),
            Some('\\') => match chars.next() {
                None => return Err(ConnInfoError::UnterminatedQuote),
                Some(c) => value.push(c),
            },
            Some(c) => value.push(c),
        }
    }
}

fn bare(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !is_blank(*c)) {
        if c == '\\' {
            value.extend(chars.next());
        } else {
            value.push(c);
        }
    }
    value
}

/// A value as it must be written in a string: as it is where that is unambiguous, else in quotes.
pub(super) fn quote(value: &str) -> String {
    let plain = !value.is_empty() && !value.contains(|c: char| is_blank(c) || c == '\'' || c == '\\');
    if plain {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        if c == '\'' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('\'');
    out
}
