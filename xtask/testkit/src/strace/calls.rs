//! What `strace` has recorded, as data.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it says.
    Done,
    /// It failed by itself.
    Failed,
    /// It failed because a fault was injected.
    Injected,
    /// Its process ended before it did.
    Unfinished,
}

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// The arguments as `strace` shows them: descriptors with their paths, texts in quotes.
    pub arguments: Vec<String>,
    /// What it returned, as `strace` shows it: `3</path>`, `0`, `-1 ENOENT (...)`.
    pub result: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The line of the log in which it began, from 0.
    pub begin: usize,
    /// The line of the log in which it ended.
    pub end: usize,
}

impl Call {
    /// The path of the descriptor that is the `index`-th argument.
    pub fn descriptor(&self, index: usize) -> Option<PathBuf> {
        described(self.arguments.get(index)?)
    }

    /// The path of the descriptor that the call has returned.
    pub fn opened(&self) -> Option<PathBuf> {
        described(&self.result)
    }

    /// The bytes of the text that is the `index`-th argument.
    pub fn bytes(&self, index: usize) -> Option<Vec<u8>> {
        unescape(self.arguments.get(index)?)
    }

    /// The `index`-th argument as a number.
    pub fn number(&self, index: usize) -> Option<u64> {
        self.arguments.get(index)?.parse().ok()
    }

    /// The path that is the `index`-th argument; relative to the descriptor before it if the call is one of those
    /// that take one.
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        let path = PathBuf::from(String::from_utf8(self.bytes(index)?).ok()?);
        if path.is_absolute() {
            return Some(clean(&path));
        }
        let base = self.descriptor(index.checked_sub(1)?)?;
        if path.as_os_str().is_empty() {
            return Some(base);
        }
        Some(clean(&base.join(path)))
    }

    /// Name and arguments for people, not longer than a line.
    pub fn text(&self) -> String {
        let text = format!("{}({})", self.name, self.arguments.join(", "));
        match text.char_indices().nth(240) {
            Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }
}

/// Without `.` and doubled slashes.
fn clean(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

/// `3</path>` or `AT_FDCWD</path>`; `None` for what has no name any more, and for sockets and pipes. A file that was
/// made without a name (`O_TMPFILE`) has the one that the kernel shows, `/directory/#inode (deleted)`.
fn described(text: &str) -> Option<PathBuf> {
    let (descriptor, rest) = text.split_once('<')?;
    if descriptor != "AT_FDCWD" && descriptor.parse::<i32>().is_err() {
        return None;
    }
    let path = rest
        .strip_suffix('>')
        .or_else(|| Some(rest.rsplit_once('>')?.0))?;
    let path = path.strip_suffix(">(deleted)").unwrap_or(path);
    if !path.starts_with('/') || (text.contains("(deleted)") && !is_unnamed(path)) {
        return None;
    }
    Some(PathBuf::from(path))
}

/// Whether the kernel shows a file that was made without a name like this.
pub(super) fn is_unnamed(path: &str) -> bool {
    path.strip_suffix(" (deleted)")
        .unwrap_or(path)
        .rsplit_once("/#")
        .is_some_and(|(_, inode)| inode.bytes().all(|b| b.is_ascii_digit()))
}

/// The bytes of a text in quotes; what `strace` cut off is missing.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('"')?;
    let inner = inner.strip_suffix("...").unwrap_or(inner).strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes().iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let escaped = rest.next()?;
        bytes.push(match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|b| (b'0'..=b'7').contains(b)) else {
                        break;
                    };
                    value = value * 8 + u32::from(digit - b'0');
                }
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

/// Splits arguments at the commas that are not inside texts, brackets or paths.
fn split(arguments: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut depth = 0_u32;
    let mut rest = arguments.chars();
    let mut in_text = false;
    while let Some(c) = rest.next() {
        part.push(c);
        match c {
            '\\' if in_text => part.extend(rest.next()),
            '"' => in_text = !in_text,
            _ if in_text => {}
            '<' | '[' | '{' | '(' => depth += 1,
            '>' | ']' | '}' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                part.pop();
                parts.push(part.trim().to_owned());
                part.clear();
            }
            _ => {}
        }
    }
    if !part.trim().is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

/// Reads what [`super::recorded`] wrote: all calls, in the order in which they ended.
///
/// # Errors
/// The log cannot be read.
pub fn calls(log: &Path) -> Result<Vec<Call>> {
    let text = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// [`calls()`] of a log that is in memory.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<u32, (usize, String)> = HashMap::new();
    let mut last = 0;
    for (number, line) in text.lines().enumerate() {
        last = number;
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let Ok(thread) = thread.parse() else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begun.to_owned()));
            continue;
        }
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        let (begin, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                match unfinished.remove(&thread) {
                    Some((begin, begun)) => (begin, begun + end),
                    None => continue,
                }
            }
            None => (number, rest.to_owned()),
        };
        calls.extend(finished(thread, &whole, begin, number));
    }
    let mut cut: Vec<_> = unfinished.into_iter().collect();
    cut.sort_by_key(|(_, (begin, _))| *begin);
    for (thread, (begin, begun)) in cut {
        if let Some((name, arguments)) = begun.split_once('(') {
            calls.push(Call {
                thread,
                name: name.to_owned(),
                arguments: split(arguments.trim_end_matches(')')),
                result: String::new(),
                outcome: Outcome::Unfinished,
                begin,
                end: last + 1,
            });
        }
    }
    calls
}

/// `name(arguments) = result`.
fn finished(thread: u32, whole: &str, begin: usize, end: usize) -> Option<Call> {
    let (call, result) = whole.rsplit_once(" = ")?;
    let call = call.trim_end().strip_suffix(')')?;
    let (name, arguments) = call.split_once('(')?;
    let outcome = if result.starts_with('?') {
        Outcome::Unfinished
    } else if !result.starts_with("-1 ") {
        Outcome::Done
    } else if result.ends_with("(INJECTED)") {
        Outcome::Injected
    } else {
        Outcome::Failed
    };
    Some(Call {
        thread,
        name: name.to_owned(),
        arguments: split(arguments),
        result: result.to_owned(),
        outcome,
        begin,
        end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_several_threads() {
        let log = "10 fsync(3</a/b>) = 0\n\
                   11 write(4</c>, \"x) = -1\\n, \", 3 <unfinished ...>\n\
                   10 unlink(\"/a/b\")      = 0\n\
                   11 <... write resumed>) = 3\n\
                   11 unlink(\"/none\") = -1 ENOENT (No such file or directory)\n\
                   11 fsync(4</c>) = -1 EIO (Input/output error) (INJECTED)\n\
                   11 mkdir(\"/d\", 0777 <unfinished ...>\n\
                   11 +++ killed by SIGKILL +++\n";
        let found: Vec<_> = parse(log)
            .into_iter()
            .map(|call| (call.text(), call.thread, call.outcome, call.begin, call.end))
            .collect();
        let expected = [
            ("fsync(3</a/b>)", 10, Outcome::Done, 0, 0),
            ("unlink(\"/a/b\")", 10, Outcome::Done, 2, 2),
            ("write(4</c>, \"x) = -1\\n, \", 3)", 11, Outcome::Done, 1, 3),
            ("unlink(\"/none\")", 11, Outcome::Failed, 4, 4),
            ("fsync(4</c>)", 11, Outcome::Injected, 5, 5),
            ("mkdir(\"/d\", 0777)", 11, Outcome::Unfinished, 6, 8),
        ];
        assert_eq!(
            found,
            expected.map(|(text, thread, outcome, begin, end)| (
                text.to_owned(),
                thread,
                outcome,
                begin,
                end
            ))
        );
    }

    #[test]
    fn arguments_are_read() {
        let text = "7 openat(3</a, b>, \"./c\\\"d\\n\", O_RDWR|O_CREAT, 0600) = 5</a, b/c>\n\
                    7 write(5</tmp/x (deleted)>, \"\\0018\\377\\0\"..., 5) = 5\n\
                    7 linkat(5</a/#7 (deleted)>, \"\", AT_FDCWD</w>, \"rel\", AT_EMPTY_PATH) = 0\n\
                    7 sendto(6<socket:[1]>, \"d\", 1, 0, NULL, 0) = 1\n";
        let calls = parse(text);
        assert_eq!(calls[0].path(1), Some(PathBuf::from("/a, b/c\"d\n")));
        assert_eq!(calls[0].opened(), Some(PathBuf::from("/a, b/c")));
        assert_eq!(calls[1].descriptor(0), None);
        assert_eq!(calls[1].bytes(1), Some(vec![1, b'8', 255, 0]));
        assert_eq!(calls[1].number(2), Some(5));
        assert_eq!(calls[2].path(3), Some(PathBuf::from("/w/rel")));
        assert_eq!(calls[2].path(1), Some(PathBuf::from("/a/#7 (deleted)")));
        assert_eq!(calls[3].descriptor(0), None);
    }
}
