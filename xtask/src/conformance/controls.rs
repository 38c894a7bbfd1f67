//! Proof, in each run, that the comparison sees what it should and nothing else: the oracle against itself, and our output with a fault put into it.

use super::capture::{Capture, Content, Found};
use super::compare::{Compare, Look, Words, kind, look};

/// A fault put into a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A line of standard output is missing.
    LineDropped,
    /// A line of standard error is missing; where words do not count, one of those that have a kind.
    ErrorLineDropped,
    /// A key of the JSON has another name.
    KeyChanged,
    /// An exit code is another one.
    ExitCodeChanged,
    /// One byte of a file is another one.
    ByteChanged,
    /// A file is missing.
    FileDropped,
}

/// All faults.
pub const FAULTS: [Fault; 6] = [
    Fault::LineDropped,
    Fault::ErrorLineDropped,
    Fault::KeyChanged,
    Fault::ExitCodeChanged,
    Fault::ByteChanged,
    Fault::FileDropped,
];

impl Fault {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::LineDropped => "a dropped line",
            Self::ErrorLineDropped => "a dropped line of standard error",
            Self::KeyChanged => "a changed JSON key",
            Self::ExitCodeChanged => "a changed exit code",
            Self::ByteChanged => "a changed byte of a file",
            Self::FileDropped => "a dropped file",
        }
    }

    /// The capture with this fault; `None` where there is nothing to put it into. `seed` chooses the place.
    pub fn applied(self, capture: &Capture, what: &Compare, seed: usize) -> Option<Capture> {
        let mut changed = capture.clone();
        match self {
            Self::LineDropped | Self::KeyChanged if what.stdout == Words::Prose => return None,
            Self::LineDropped => {
                let run = changed
                    .runs
                    .iter_mut()
                    .find(|run| lines(&run.stdout).is_some_and(|l| l.len() > 1))?;
                let mut lines = lines(&run.stdout)?;
                lines.remove(seed % lines.len());
                run.stdout = lines.concat().into_bytes();
            }
            Self::ErrorLineDropped => {
                let places: Vec<(usize, usize)> = capture
                    .runs
                    .iter()
                    .enumerate()
                    .flat_map(|(n, run)| {
                        let lines = lines(&run.stderr).unwrap_or_default();
                        let counts = |line: &String| what.stderr == Words::Exact || kind(line).is_some();
                        let places = lines.iter().enumerate().filter(|(_, line)| counts(line));
                        places.map(|(at, _)| (n, at)).collect::<Vec<_>>()
                    })
                    .collect();
                let (n, at) = *places.get(seed % places.len().max(1))?;
                let run = changed.runs.get_mut(n)?;
                let mut lines = lines(&run.stderr)?;
                lines.remove(at);
                run.stderr = lines.concat().into_bytes();
            }
            Self::KeyChanged => {
                let run = changed
                    .runs
                    .iter_mut()
                    .find(|run| run.stdout.starts_with(b"{\""))?;
                let text = String::from_utf8(run.stdout.clone()).ok()?;
                let keys: Vec<usize> = text.match_indices("\": ").map(|(at, _)| at).collect();
                let at = *keys.get(seed % keys.len().max(1))?;
                run.stdout = format!("{}x{}", text.get(..at)?, text.get(at..)?).into_bytes();
            }
            Self::ExitCodeChanged => {
                let count = changed.runs.len();
                let run = changed.runs.get_mut(seed % count.max(1))?;
                run.code = if run.code == 0 { 1 } else { 0 };
            }
            Self::ByteChanged => {
                let compared = |path: &str, found: &Found| {
                    matches!(found, Found::File(_, size, _) if *size > 0)
                        && !path.ends_with(".lock")
                        && look(what, path) == Look::Content
                };
                let paths: Vec<&String> = capture
                    .files
                    .iter()
                    .filter(|(p, f)| compared(p, f))
                    .map(|(p, _)| p)
                    .collect();
                let path = *paths.get(seed % paths.len().max(1))?;
                match changed.files.get_mut(path)? {
                    Found::File(_, _, Content::Bytes(bytes)) => change_letter(bytes, seed)?,
                    Found::File(_, _, Content::Digest(digest)) => digest[seed % 6] ^= 1,
                    _ => return None,
                }
            }
            Self::FileDropped => {
                let paths: Vec<&String> = capture
                    .files
                    .keys()
                    .filter(|p| look(what, p) != Look::Nothing)
                    .collect();
                let path = *paths.get(seed % paths.len().max(1))?;
                changed.files.remove(path);
            }
        }
        Some(changed)
    }
}

fn lines(bytes: &[u8]) -> Option<Vec<String>> {
    Some(
        std::str::from_utf8(bytes)
            .ok()?
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect(),
    )
}

/// Changes one byte, a letter if there is one: a digit of a time may be changed into another time that is made equal.
fn change_letter(bytes: &mut [u8], seed: usize) -> Option<()> {
    let letters: Vec<usize> = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| b.is_ascii_alphabetic())
        .map(|(n, _)| n)
        .collect();
    let at = letters
        .get(seed % letters.len().max(1))
        .copied()
        .unwrap_or(seed % bytes.len().max(1));
    *bytes.get_mut(at)? ^= 0x20;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::capture::Run;
    use crate::conformance::compare::{Side, compare};
    use crate::conformance::normalise::Normaliser;

    #[test]
    fn each_fault_is_a_difference() {
        let run = |stdout: &str, stderr: &str| Run {
            args: Vec::new(),
            code: 0,
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let files = [
            (
                "home/a".to_owned(),
                Found::File(0o600, 2, Content::Bytes(b"ab".to_vec())),
            ),
            (
                "home/b".to_owned(),
                Found::File(0o600, 200_000, Content::Digest([7; 32])),
            ),
        ];
        let capture = Capture {
            runs: vec![
                run("a\nb\n", "ERROR: x\nmore\n"),
                run("{\"a\": {\"b\": 1}}", "HINT: y\n"),
            ],
            files: files.into(),
        };
        let what = Compare {
            stdout: Words::Exact,
            stderr: Words::Exact,
            files: Vec::new(),
        };
        let noon = "2026-11-21T12:00:00Z".parse().unwrap();
        let normaliser = Normaliser::new(&[], noon, noon, &[]);
        let prose = Compare {
            stderr: Words::Prose,
            ..what.clone()
        };
        let every = FAULTS.into_iter().map(|fault| (fault, &what));
        for (fault, what) in every.chain([(Fault::ErrorLineDropped, &prose)]) {
            for seed in 0..20 {
                let changed = fault.applied(&capture, what, seed).unwrap();
                let side = |capture| Side {
                    capture,
                    normaliser: &normaliser,
                };
                assert_eq!(
                    compare(what, &side(&changed), &side(&capture)).len(),
                    if fault == Fault::KeyChanged { 2 } else { 1 },
                    "{fault:?} {seed}"
                );
            }
        }
        let nothing = Capture::default();
        assert!(
            FAULTS
                .iter()
                .all(|fault| fault.applied(&nothing, &what, 3).is_none())
        );
    }
}
