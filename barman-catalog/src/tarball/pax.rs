//! Extended headers (POSIX, pax interchange format): records `LENGTH KEYWORD=VALUE\n`, where the length counts all.

/// Reads the records. `None`: it is not what it should be.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|b| *b == b' ')?;
        let digits = std::str::from_utf8(bytes.get(..blank)?).ok()?;
        if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let length: usize = digits.parse().ok()?;
        let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        records.push((record.get(..equals)?, record.get(equals + 1..)?));
        bytes = bytes.get(length..)?;
    }
    Some(records)
}

/// Adds a record.
pub(super) fn push(records: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    // The length counts its own digits: one more of them may need one more.
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {keyword}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A time as decimal seconds: seconds (rounded down) and nanoseconds.
pub(super) fn time(value: &[u8]) -> Option<(i64, u32)> {
    let number: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    if !number.is_finite() || number.abs() > 1e11 {
        return None;
    }
    let seconds = number.floor();
    let nanoseconds = ((number - seconds) * 1e9).round().min(999_999_999.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are within bounds"
    )]
    Some((seconds as i64, nanoseconds as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xlogdb::WalRecord;

    #[test]
    fn records_of_every_length_are_read_again() {
        for length in (0..300).chain([989, 990, 991, 992, 993, 9_983, 9_984, 9_985]) {
            let mut bytes = Vec::new();
            push(&mut bytes, "path", &vec![b'\n'; length]);
            push(&mut bytes, "size", b"1");
            let records = parse(&bytes).unwrap();
            assert_eq!(
                records,
                [(&b"path"[..], &vec![b'\n'; length][..]), (b"size", b"1")],
                "{length}"
            );
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [
            &b"28 mtime=1"[..],
            b"0 a=b\n",
            b"3 a\n",
            b"5 a=b\n",
            b"x a=b\n",
            b"-6 a=b\n",
            b" a=b\n",
            b"99999999999999999999 a=b\n",
            b"7 a=b\n",
            b"6 a=bb",
        ] {
            assert_eq!(parse(bytes), None, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(b""), Some(vec![]));
    }

    #[test]
    fn times_come_back_as_python_sees_them() {
        for (text, number) in [
            ("1795286654.3002222", 1_795_286_654.300_222_2_f64),
            ("1700000000.0", 1.7e9),
            ("1795236423.9205947", 1_795_236_423.920_594_7),
            ("0.9999999999", 0.999_999_999_9),
        ] {
            let (seconds, nanoseconds) = time(text.as_bytes()).unwrap();
            let again = WalRecord::time_from(seconds, i64::from(nanoseconds));
            assert!((again - number).abs() < 1e-9, "{text} {again}");
        }
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        for bad in [&b"nan"[..], b"inf", b"1e300", b"", b"x"] {
            assert_eq!(time(bad), None);
        }
    }
}
