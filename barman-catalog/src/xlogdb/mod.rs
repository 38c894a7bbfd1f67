//! The WAL catalogue `SERVER-xlog.db`: one line per archived file, in the order of archiving.
//!
//! [`XlogDb`] is the content in a compact form (40 bytes a line), [`LockedXlogDb`] the file under its lock. A command
//! reads the file once. A last line that was torn by a crash is left out when reading and repaired before the next
//! line is appended; the file is rewritten by replacing it, so that it is never seen half written.

mod file;
mod rebuild;
mod record;

pub use file::{LockedXlogDb, XlogDbError, peek, read};
pub use rebuild::{CustomMagic, RebuildReport, inspect};
pub use record::{Tag, WalRecord};

use barman_wal::WalFileName;
use std::io::{self, BufRead as _, Read};

/// A longer line is not one.
const MAX_LINE: u64 = 4096;
/// So many bad lines are kept for the report; the others are counted.
const MAX_BAD: usize = 1000;

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: u64,
    /// Its beginning.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A record without pointers: 40 bytes.
#[derive(Debug, Clone, Copy)]
struct Packed {
    name: WalFileName,
    compression: u8,
    encryption: u8,
    size: u64,
    time: f64,
}

/// The content of a WAL catalogue, in file order.
///
/// ```
/// use barman_catalog::xlogdb::XlogDb;
///
/// let db = XlogDb::parse("000000010000000000000005\t16523\t1795236795.5\tgzip\tNone\n".as_bytes())?;
/// let first = db.iter().next().ok_or("empty")?;
/// assert_eq!(first.compression.map(|c| c.to_string()).as_deref(), Some("gzip"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct XlogDb {
    records: Vec<Packed>,
    /// The words that occur; index 0 of a record means none.
    tags: Vec<Tag>,
    bad: Vec<BadLine>,
    bad_count: u64,
    torn: Option<String>,
}

impl XlogDb {
    /// Reads a catalogue. Bad lines are put aside ([`bad_lines`](Self::bad_lines)), as is a last line without its
    /// end that is not complete.
    ///
    /// # Errors
    /// Those of `input`.
    pub fn parse(input: impl Read) -> io::Result<Self> {
        let mut input = io::BufReader::with_capacity(256 << 10, input);
        let mut db = Self::default();
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            if (&mut input).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(db);
            }
            number += 1;
            let ended = line.pop_if(|b| *b == b'\n').is_some();
            if !ended && line.len() as u64 == MAX_LINE {
                db.add_bad(number, &line, "too long");
                // The rest of it.
                loop {
                    line.clear();
                    let read = (&mut input).take(MAX_LINE).read_until(b'\n', &mut line)?;
                    if read == 0 || line.ends_with(b"\n") {
                        break;
                    }
                }
                continue;
            }
            if !ended && !is_complete(&line) {
                db.torn = Some(String::from_utf8_lossy(&line).into_owned());
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match WalRecord::parse(&line).and_then(|record| db.try_push(&record)) {
                Ok(()) => {}
                Err(reason) => db.add_bad(number, &line, reason),
            }
        }
    }

    fn add_bad(&mut self, number: u64, line: &[u8], reason: &'static str) {
        self.bad_count += 1;
        if self.bad.len() < MAX_BAD {
            let text = String::from_utf8_lossy(line.get(..120).unwrap_or(line)).into_owned();
            self.bad.push(BadLine { number, text, reason });
        }
    }

    fn tag_index(&mut self, tag: Option<Tag>) -> Result<u8, &'static str> {
        let Some(tag) = tag else { return Ok(0) };
        let at = match self.tags.iter().position(|t| *t == tag) {
            Some(at) => at,
            None => {
                self.tags.push(tag);
                self.tags.len() - 1
            }
        };
        u8::try_from(at + 1).map_err(|_| {
            self.tags.pop();
            "too many different compressions"
        })
    }

    fn try_push(&mut self, record: &WalRecord) -> Result<(), &'static str> {
        let compression = self.tag_index(record.compression)?;
        let encryption = self.tag_index(record.encryption)?;
        self.records.push(Packed {
            name: record.name,
            compression,
            encryption,
            size: record.size,
            time: record.time,
        });
        Ok(())
    }

    /// Adds a record at the end. With more than 250 different words for compression in one catalogue a record loses
    /// the word rather than its place.
    pub fn push(&mut self, record: &WalRecord) {
        if self.try_push(record).is_err() {
            let _ = self.try_push(&WalRecord {
                compression: None,
                encryption: None,
                ..*record
            });
        }
    }

    fn unpack(&self, packed: &Packed) -> WalRecord {
        let tag = |index: u8| {
            usize::from(index)
                .checked_sub(1)
                .and_then(|i| self.tags.get(i).copied())
        };
        WalRecord {
            name: packed.name,
            size: packed.size,
            time: packed.time,
            compression: tag(packed.compression),
            encryption: tag(packed.encryption),
        }
    }

    /// The records in file order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = WalRecord> + ExactSizeIterator {
        self.records.iter().map(|p| self.unpack(p))
    }

    /// The record at `index` in file order.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<WalRecord> {
        self.records.get(index).map(|p| self.unpack(p))
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Lines that are no records, at most 1000 of them.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad
    }

    /// How many lines are no records.
    #[must_use]
    pub fn bad_line_count(&self) -> u64 {
        self.bad_count
    }

    /// The last line, if a crash cut it.
    #[must_use]
    pub fn torn_line(&self) -> Option<&str> {
        self.torn.as_deref()
    }

    /// The last record of `name`; a linear search from the end, where young files are.
    #[must_use]
    pub fn find(&self, name: &WalFileName) -> Option<WalRecord> {
        self.records
            .iter()
            .rfind(|p| p.name == *name)
            .map(|p| self.unpack(p))
    }

    /// The record of `name` in a [sorted](Self::sorted) catalogue.
    #[must_use]
    pub fn find_sorted(&self, name: &WalFileName) -> Option<WalRecord> {
        let at = self.records.binary_search_by_key(name, |p| p.name).ok()?;
        self.get(at)
    }

    /// Whether the names ascend, as they do unless files arrived out of order.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.records.is_sorted_by(|a, b| a.name < b.name)
    }

    /// The same records ascending by name; of several with one name the last.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        if !self.is_sorted() {
            // Stable, and the last one wins: reversed, so that `dedup` keeps it.
            self.records.reverse();
            self.records.sort_by_key(|p| p.name);
            self.records.dedup_by_key(|p| p.name);
        }
        self
    }
}

/// Whether a last line without its end lacks only the end: five fields, the last one a whole word we know.
fn is_complete(line: &[u8]) -> bool {
    let mut fields = line.split(|&b| b == b'\t');
    fields.clone().count() == 5
        && matches!(fields.next_back(), Some(b"None" | b"gpg"))
        && WalRecord::parse(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "000000010000000000000005\t16523\t1795236795.0167494\tgzip\tNone\n";
    const B: &str = "000000010000000000000006\t16523\t1795236796.5\tNone\tgpg\n";

    #[test]
    fn what_was_read_is_written_back() {
        let text = format!("{A}{B}");
        let db = XlogDb::parse(text.as_bytes()).unwrap();
        let back: String = db.iter().map(|r| format!("{r}\n")).collect();
        assert_eq!(back, text);
        assert!(std::mem::size_of::<Packed>() <= 40);
    }

    #[test]
    fn a_torn_last_line_is_left_out_at_every_cut() {
        for cut in 1..B.len() {
            let text = format!("{A}{}", &B[..cut]);
            let db = XlogDb::parse(text.as_bytes()).unwrap();
            // Only the line end is missing: the record is whole.
            let whole = cut == B.len() - 1;
            assert_eq!(
                (db.len(), db.torn_line().is_some()),
                if whole { (2, false) } else { (1, true) },
                "{cut}"
            );
            assert!(db.bad_lines().is_empty());
        }
    }

    #[test]
    fn bad_lines_do_not_hide_the_others() {
        let long = "x".repeat(20_000);
        let text = format!("{A}garbage\n\n{long}\n00000001000000000000000G 1 2.0\n{B}");
        let db = XlogDb::parse(text.as_bytes()).unwrap();
        assert_eq!(db.len(), 2);
        let numbers: Vec<_> = db.bad_lines().iter().map(|b| b.number).collect();
        assert_eq!((numbers, db.bad_line_count()), (vec![2, 4, 5], 3));
    }

    #[test]
    fn sorting_keeps_the_last_of_several_records() {
        let again = B.replace("16523", "99");
        let db = XlogDb::parse(format!("{B}{A}{again}").as_bytes()).unwrap();
        assert!(!db.is_sorted());
        let back: String = db.sorted().iter().map(|r| format!("{r}\n")).collect();
        assert_eq!(back, format!("{A}{again}"));
    }
}
