//! Lines of two texts side by side, and patterns for one.

/// Longest texts (lines on both sides multiplied) that are compared line by line; of larger ones everything between the first and the last difference is one hunk.
const LIMIT: usize = 4_000_000;

/// A run of neighbouring lines that differ: of the left and of the right text.
pub type Hunk = (Vec<String>, Vec<String>);

fn split(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    match lines.last_mut() {
        Some(last) if last.is_empty() => {
            lines.pop();
        }
        Some(last) => last.push_str(" (no line end)"),
        None => {}
    }
    lines
}

/// The hunks in which two texts differ; none when they are equal. That a text does not end with a line end is part of its last line.
pub fn hunks(left: &str, right: &str) -> Vec<Hunk> {
    if left == right {
        return Vec::new();
    }
    let (a, b) = (split(left), split(right));
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (
        a.get(head..).unwrap_or_default(),
        b.get(head..).unwrap_or_default(),
    );
    let tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (a, b) = (
        a.get(..a.len() - tail).unwrap_or_default(),
        b.get(..b.len() - tail).unwrap_or_default(),
    );
    if a.len().saturating_mul(b.len()) > LIMIT {
        return vec![(a.to_vec(), b.to_vec())];
    }
    middle(a, b)
}

/// By the longest common subsequence.
fn middle(a: &[String], b: &[String]) -> Vec<Hunk> {
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, x) in a.iter().enumerate().rev() {
        for (j, y) in b.iter().enumerate().rev() {
            let best = if x == y {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut found: Vec<Hunk> = Vec::new();
    let mut open: Hunk = Hunk::default();
    while i < a.len() || j < b.len() {
        match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if x == y => {
                if open != Hunk::default() {
                    found.push(std::mem::take(&mut open));
                }
                i += 1;
                j += 1;
            }
            (Some(x), y) if y.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                open.0.push(x.clone());
                i += 1;
            }
            (_, y) => {
                open.1.extend(y.cloned());
                j += 1;
            }
        }
    }
    if open != Hunk::default() {
        found.push(open);
    }
    found
}

/// Whether a line fits a pattern in which `*` stands for anything, also nothing.
pub fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(left: &str, right: &str) -> Vec<(String, String)> {
        hunks(left, right)
            .into_iter()
            .map(|(a, b)| (a.join("|"), b.join("|")))
            .collect()
    }

    #[test]
    fn hunks_are_what_differs() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(shown("a\nb\n", "a\nb\n"), []);
        assert_eq!(shown("", "a\n"), [pair("", "a")]);
        assert_eq!(
            shown("a\nb\nc\nd\n", "a\nx\nc\n"),
            [pair("b", "x"), pair("d", "")]
        );
        assert_eq!(shown("a\nb\n", "b\na\n"), [pair("a", ""), pair("", "a")]);
        assert_eq!(shown("a\n\n", "a\n"), [pair("", "")]);
        assert_eq!(shown("a", "a\n"), [pair("a (no line end)", "a")]);
    }

    #[test]
    fn a_pattern_fits_all_of_a_line() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("*b*b*", "abc", false),
            ("a*a", "a", false),
            ("HINT: *", "HINT: x", true),
        ];
        for (pattern, line, expected) in cases {
            assert_eq!(fits(pattern, line), expected, "{pattern} {line}");
        }
    }
}
