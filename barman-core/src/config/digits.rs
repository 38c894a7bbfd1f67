//! Decimal digits of other scripts (full-width ones of an input method, say): Barman takes them for the usual ones.

use std::borrow::Cow;

/// The zero of each run of ten decimal digits (Unicode 16, general category Nd), in order.
#[rustfmt::skip]
const ZEROS: &[u32] = &[
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0,
    0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730,
    0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2,
    0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// The text with every decimal digit in ASCII.
pub(super) fn to_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(digit).collect())
}

fn digit(c: char) -> char {
    let code = u32::from(c);
    let at = ZEROS.partition_point(|zero| *zero <= code);
    let zero = at.checked_sub(1).and_then(|at| ZEROS.get(at));
    zero.and_then(|zero| char::from_digit(code - zero, 10))
        .unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_script() {
        for (text, ascii) in [
            ("1_0 days", "1_0 days"),
            ("\u{661}\u{662}k", "12k"),
            ("\u{ff15} \u{ff10}", "5 0"),
            ("\u{1fbf9}", "9"),
            ("\u{b2}\u{2460}\u{e9}\u{66a}", "\u{b2}\u{2460}\u{e9}\u{66a}"),
        ] {
            assert_eq!(to_ascii(text), ascii);
        }
        assert!(ZEROS.windows(2).all(|pair| pair[0] + 10 <= pair[1]));
    }
}
