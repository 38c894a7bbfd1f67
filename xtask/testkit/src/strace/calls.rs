//! What `strace` has recorded, as data.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

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
    /// The working directory of its process when it began, if the log shows it.
    pub directory: Option<Arc<Path>>,
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

    /// What the call writes or sends: its text, or the texts of its list of buffers one after the other, at most what it
    /// has really written.
    pub fn payload(&self) -> Option<Vec<u8>> {
        let mut bytes = match self.name.as_str() {
            "writev" | "pwritev" | "pwritev2" | "sendmsg" | "sendmmsg" => buffers(self.arguments.get(1)?),
            _ => self.bytes(1)?,
        };
        // `sendmmsg` returns messages, not bytes.
        if self.outcome == Outcome::Done
            && self.name != "sendmmsg"
            && let Ok(written) = self.result.parse()
        {
            bytes.truncate(written);
        }
        Some(bytes)
    }

    /// The path that is the `index`-th argument; relative to the descriptor before it if the call is one of those
    /// that take one, else to the working directory. `.` and `..` are resolved by name alone.
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(self.bytes(index)?));
        if path.is_absolute() {
            return Some(clean(&path));
        }
        let before = index.checked_sub(1).and_then(|index| self.arguments.get(index));
        let base = match before {
            Some(descriptor) if descriptor.starts_with(|c: char| c.is_ascii_digit()) => {
                described(descriptor)?
            }
            Some(current) if current.starts_with("AT_FDCWD<") => described(current)?,
            _ => self.directory.as_deref()?.to_owned(),
        };
        if path.as_os_str().is_empty() {
            return Some(base);
        }
        Some(clean(&base.join(path)))
    }

    /// The first name that this call makes, changes or removes and of which the log does not say where it is.
    pub fn unknown_name(&self) -> Option<&str> {
        let names: &[usize] = match self.name.as_str() {
            "rename" | "link" => &[0, 1],
            "renameat" | "renameat2" | "linkat" => &[1, 3],
            "unlink" | "rmdir" | "mkdir" | "mknod" | "truncate" => &[0],
            "unlinkat" | "mkdirat" | "mknodat" | "symlink" => &[1],
            "symlinkat" => &[2],
            _ => &[],
        };
        names
            .iter()
            .find(|index| self.path(**index).is_none())
            .map(|index| self.arguments.get(*index).map_or("", String::as_str))
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

/// Without `.`, `..` and doubled slashes.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            part => cleaned.push(part),
        }
    }
    cleaned
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

/// The bytes of `[{iov_base="...", iov_len=3}, ...]`.
fn buffers(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("iov_base=\"") {
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some((inside, more)) = end.and_then(|end| after.split_at_checked(end)) else {
            break;
        };
        bytes.extend(unescape(&format!("\"{inside}\"")).unwrap_or_default());
        rest = more;
    }
    bytes
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
                directory: None,
            });
        }
    }
    follow(&mut calls);
    calls
}

/// Finds the working directory of each call: what a process shows with `AT_FDCWD`, goes to with `chdir`, and what its
/// parent had when it was made. Threads share one.
fn follow(calls: &mut [Call]) {
    let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(calls.len() * 2);
    for (number, call) in calls.iter().enumerate() {
        events.push((call.begin, false, number));
        events.push((call.end, true, number));
    }
    events.sort_unstable();
    let mut directories: Vec<Option<Arc<Path>>> = Vec::new();
    let mut of_thread: HashMap<u32, usize> = HashMap::new();
    for (_, ends, number) in events {
        let Some(call) = calls.get_mut(number) else {
            continue;
        };
        let own = *of_thread.entry(call.thread).or_insert_with(|| {
            directories.push(None);
            directories.len() - 1
        });
        let Some(current) = directories.get_mut(own) else {
            continue;
        };
        if ends {
            if call.outcome == Outcome::Done {
                match call.name.as_str() {
                    "chdir" => *current = call.path(0).map(Arc::from),
                    "fchdir" => *current = call.descriptor(0).map(Arc::from),
                    _ => {}
                }
            }
            continue;
        }
        let shown = call.arguments.iter().find(|a| a.starts_with("AT_FDCWD<"));
        if let Some(shown) = shown.and_then(|shown| described(shown))
            && current.as_deref() != Some(shown.as_path())
        {
            *current = Some(Arc::from(shown));
        }
        call.directory.clone_from(current);
        // The child may be heard of before its parent's call ends.
        if let ("clone" | "clone3" | "fork" | "vfork", Outcome::Done) = (call.name.as_str(), call.outcome)
            && let Ok(child) = call.result.parse()
        {
            if call.arguments.iter().any(|a| a.contains("CLONE_FS")) {
                of_thread.insert(child, own);
            } else {
                directories.push(call.directory.clone());
                of_thread.insert(child, directories.len() - 1);
            }
        }
    }
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
        directory: None,
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
    #[test]
    fn names_are_found_from_the_working_directory() {
        let log = "7 unlink(\"early\") = 0\n\
                   7 openat(AT_FDCWD</w>, \"x\", O_RDONLY) = 3</w/x>\n\
                   7 unlink(\"./a/../b\") = 0\n\
                   7 vfork( <unfinished ...>\n\
                   8 chdir(\"sub\") = 0\n\
                   8 rename(\".t\", \"../t\") = 0\n\
                   7 <... vfork resumed>) = 8\n\
                   7 mkdir(\"d\", 0777) = 0\n\
                   7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES}, 88) = 9\n\
                   9 fchdir(4</other>) = 0\n\
                   7 chdir(\"/none\") = -1 ENOENT (No such file or directory)\n\
                   7 rmdir(\"e\") = 0\n\
                   7 unlinkat(5</dir>, \"../f\", 0) = 0\n\
                   7 unlink(\"/\\377\") = 0\n\
                   6 renameat(AT_FDCWD, \"g\", 5</dir>, \"h\") = 0\n";
        let calls = parse(log);
        let found: Vec<String> = calls
            .iter()
            .filter(|call| {
                !matches!(
                    call.name.as_str(),
                    "openat" | "chdir" | "fchdir" | "vfork" | "clone3"
                )
            })
            .map(|call| {
                let index = usize::from(call.name.ends_with("at"));
                match (call.unknown_name(), call.path(index)) {
                    (Some(name), _) => format!("{name} is not known"),
                    (None, path) => path.unwrap_or_default().to_string_lossy().into_owned(),
                }
            })
            .collect();
        let expected = [
            "\"early\" is not known",
            "/w/b",
            "/w/sub/.t",
            "/w/d",
            "/other/e",
            "/f",
            "/\u{fffd}",
            "\"g\" is not known",
        ];
        assert_eq!(found, expected);
        let renamed = calls.iter().find(|call| call.name == "rename");
        assert_eq!(renamed.and_then(|call| call.path(1)), Some(PathBuf::from("/w/t")));
    }

    #[test]
    fn what_is_written_is_read_from_lists_of_buffers_too() {
        let log = "7 writev(3</a>, [{iov_base=\"a\\\"b\", iov_len=3}, {iov_base=\"c\\\\\", iov_len=2}], 2) = 5\n\
                   7 pwritev(3</a>, [{iov_base=\"abc\", iov_len=3}], 1, 8) = 2\n\
                   7 sendmsg(6<socket:[1]>, {msg_name=NULL, msg_iov=[{iov_base=\"d\\0\", iov_len=2}], msg_iovlen=1}, 0) = 2\n\
                   7 write(3</a>, \"iov_base=\", 9) = 9\n";
        let found: Vec<_> = parse(log).iter().filter_map(Call::payload).collect();
        assert_eq!(found, [&b"a\"bc\\"[..], b"ab", b"d\0", b"iov_base="]);
    }
}
