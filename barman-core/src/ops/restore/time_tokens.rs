//! Splits a time stamp into words, numbers and signs.

/// A word (letters), a number (digits with at most one point), or one other character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token(pub(super) String);

impl Token {
    /// Whether the token is a number.
    pub(super) fn is_number(&self) -> bool {
        self.0.bytes().any(|byte| byte.is_ascii_digit())
            && self.0.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    }
}

/// Splits `text`. White space of any length is one blank; `5,123` after a second is read as a fraction.
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.trim().chars().filter(|c| *c != '\0').collect();
    let mut tokens = Vec::new();
    let mut index = 0;
    while let Some(first) = chars.get(index).copied() {
        let start = index;
        index += 1;
        if first.is_whitespace() {
            while chars.get(index).is_some_and(|c| c.is_whitespace()) {
                index += 1;
            }
            tokens.push(Token(" ".to_owned()));
        } else if first.is_alphabetic() {
            while chars.get(index).is_some_and(|c| c.is_alphabetic()) {
                index += 1;
            }
            tokens.push(Token(chars.iter().skip(start).take(index - start).collect()));
        } else if first.is_ascii_digit() {
            push_number(&chars, start, &mut index, &mut tokens);
        } else {
            tokens.push(Token(first.to_string()));
        }
    }
    tokens
}

fn push_number(chars: &[char], start: usize, index: &mut usize, tokens: &mut Vec<Token>) {
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    while digit(*index) {
        *index += 1;
    }
    let separator = chars.get(*index).copied();
    let fraction = match separator {
        Some('.') => digit(*index + 1),
        Some(',') => *index - start >= 2 && digit(*index + 1),
        _ => false,
    };
    let mut text: String = chars.iter().skip(start).take(*index - start).collect();
    if fraction {
        let mut end = *index + 1;
        while digit(end) {
            end += 1;
        }
        // `21.11.2026` is three numbers, not a fraction.
        let dotted = separator == Some('.') && chars.get(end) == Some(&'.') && digit(end + 1);
        if !dotted {
            text.push('.');
            text.extend(chars.iter().skip(*index + 1).take(end - *index - 1));
            *index = end;
            tokens.push(Token(text));
            return;
        }
        tokens.push(Token(text));
        loop {
            tokens.push(Token(".".to_owned()));
            let from = *index + 1;
            let mut to = from;
            while digit(to) {
                to += 1;
            }
            tokens.push(Token(chars.iter().skip(from).take(to - from).collect()));
            *index = to;
            if chars.get(to) != Some(&'.') || !digit(to + 1) {
                return;
            }
        }
    }
    tokens.push(Token(text));
}
