//! Recognising encrypted files by their first bytes.

/// `-----BEGIN PGP MESSAGE-----`.
const ARMOUR: &[u8] = b"-----BEGIN PGP MESSAGE-----";
/// A session key encrypted with a public key is longer than this and much shorter than the other.
const SANE_LENGTH: std::ops::RangeInclusive<u64> = 12..=65_536;

/// Whether a file that begins with these bytes ([`DETECT_LENGTH`](super::DETECT_LENGTH) of them) is an OpenPGP message
/// encrypted with a public key: its first packet is a public-key encrypted session key of version 3 or 6 (RFC 4880,
/// RFC 9580), or it is armoured. WAL pages, history files and compressed files never look like this.
#[must_use]
pub fn looks_encrypted(first: &[u8]) -> bool {
    first.starts_with(ARMOUR) || session_key_packet(first).unwrap_or(false)
}

fn session_key_packet(first: &[u8]) -> Option<bool> {
    let (tag, rest) = first.split_first()?;
    let number = |count: usize| {
        let bytes = rest.get(..count)?;
        Some((
            bytes
                .iter()
                .fold(0u64, |value, byte| value << 8 | u64::from(*byte)),
            rest.get(count..)?,
        ))
    };
    let (length, body) = match tag {
        // Old format, tag 1, with a length of 1, 2 or 4 bytes.
        0x84 => number(1)?,
        0x85 => number(2)?,
        0x86 => number(4)?,
        // New format, tag 1: one byte up to 191, two from 192 to 223, five after 255.
        0xC1 => match number(1)? {
            (short @ 0..=191, body) => (short, body),
            (192..=223, _) => {
                let (two, body) = number(2)?;
                (two - (192 << 8) + 192, body)
            }
            (255, body) => {
                let (four, body) = body.split_at_checked(4)?;
                (
                    four.iter()
                        .fold(0u64, |value, byte| value << 8 | u64::from(*byte)),
                    body,
                )
            }
            _ => return Some(false),
        },
        _ => return Some(false),
    };
    Some(SANE_LENGTH.contains(&length) && matches!(body.first(), Some(3 | 6)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets() {
        for (bytes, encrypted) in [
            // RSA 2048 as gpg writes it; cv25519; new format with each length; version 6.
            (&[0x85, 0x01, 0x0C, 0x03, 0xAA][..], true),
            (&[0x84, 0x5E, 0x03, 0xAA], true),
            (&[0x86, 0, 0, 2, 0x0C, 0x03], true),
            (&[0xC1, 0x5E, 0x03], true),
            (&[0xC1, 0xC1, 0x0C, 0x03], true),
            (&[0xC1, 0xFF, 0, 0, 1, 0x0C, 0x06], true),
            (b"-----BEGIN PGP MESSAGE-----\n", true),
            // Wrong version, impossible length, cut short, symmetric only, signature, plain things.
            (&[0x85, 0x01, 0x0C, 0x04], false),
            (&[0x84, 0x02, 0x03], false),
            (&[0x86, 0xFF, 0, 0, 0, 3], false),
            (&[0x85, 0x01], false),
            (&[0x8C, 0x0D, 0x04], false),
            (&[0xC1, 0xE0, 0x03, 0x03], false),
            (&[0x10, 0xD1, 0x02, 0x00], false),
            (&[0x1F, 0x8B, 0x08], false),
            (b"1\t0/3000000\tno recovery target specified\n", false),
            (b"", false),
        ] {
            assert_eq!(looks_encrypted(bytes), encrypted, "{bytes:02X?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(tag in 0x80u8.., bytes in proptest::collection::vec(any::<u8>(), 0..10)) {
            let mut all = vec![tag];
            all.extend(bytes);
            let _ = looks_encrypted(&all);
        }
    }
}
