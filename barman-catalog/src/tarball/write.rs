//! Writing a tar archive as Python's `tarfile` does in its PAX format, which is what Barman's exports are: the same
//! headers, records and filling, so that whoever reads the ones reads the others.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::{BLOCK, Kind, pax};

/// Tar's record: archives are filled up to a multiple of it.
const RECORD: u64 = 20 * BLOCK as u64;
/// The largest numbers of a header: seven and eleven octal digits.
const MAX_ID: u64 = 0o777_7777;
const MAX_SIZE: u64 = 0o777_7777_7777;

/// A member to be written.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Its name, without a slash at the end.
    pub name: &'a [u8],
    /// What it is; [`Kind::Other`] is refused.
    pub kind: Kind,
    /// Bytes of content; 0 unless a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, by number and by name.
    pub owner: (u32, u32, &'a str, &'a str),
    /// When it was last changed: seconds since 1970; `None` writes the whole number 0.
    pub modified: Option<f64>,
    /// Where a link leads.
    pub link: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A small file that is made up: mode 0644, of nobody, without a time.
    #[must_use]
    pub fn made_up(name: &'a [u8], size: u64) -> Self {
        Self {
            name,
            kind: Kind::File,
            size,
            mode: 0o644,
            owner: (0, 0, "", ""),
            modified: None,
            link: b"",
        }
    }
}

/// Writes an archive. Without [`TarWriter::finish`] it has no end.
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    output: W,
    written: u64,
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive. `output` should be buffered.
    pub fn new(output: W) -> Self {
        Self { output, written: 0 }
    }

    /// Adds a member with its content, in pieces as large as `buffer`.
    ///
    /// # Errors
    /// Those of `output` and `content`; [`io::ErrorKind::UnexpectedEof`] when `content` has fewer bytes than the entry
    /// says, [`io::ErrorKind::InvalidData`] when it has more: the archive is of no use then.
    pub fn append(&mut self, entry: &Entry<'_>, mut content: impl Read, buffer: &mut [u8]) -> io::Result<()> {
        self.header(entry)?;
        let mut remaining = entry.size;
        while remaining > 0 {
            let want = usize::try_from(remaining).unwrap_or(usize::MAX).min(buffer.len());
            let room = buffer.get_mut(..want).unwrap_or_default();
            match content.read(room) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "it has become shorter",
                    ));
                }
                Ok(count) => {
                    self.put(room.get(..count).unwrap_or_default())?;
                    remaining -= (count as u64).min(remaining);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        loop {
            match content.read(&mut [0]) {
                Ok(0) => break,
                Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it has grown")),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.fill(BLOCK as u64)
    }

    /// Writes the end and gives the output back, not flushed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(&[0; 2 * BLOCK])?;
        self.fill(RECORD)?;
        Ok(self.output)
    }

    fn header(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let kind = match entry.kind {
            Kind::File => EntryType::Regular,
            Kind::Directory => EntryType::Directory,
            Kind::Symlink => EntryType::Symlink,
            Kind::Other(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let mut name = entry.name.to_vec();
        if entry.kind == Kind::Directory && !name.ends_with(b"/") {
            name.push(b'/');
        }
        let (uid, gid, uname, gname) = entry.owner;
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        let mut is_text = true;
        {
            let mut text = |field: &mut [u8], keyword, value: &[u8]| {
                if !value.is_ascii() || value.len() > field.len() {
                    is_text &= std::str::from_utf8(value).is_ok();
                    pax::push(&mut records, keyword, value);
                }
                for (place, byte) in field.iter_mut().zip(value) {
                    *place = if byte.is_ascii() { *byte } else { b'?' };
                }
            };
            if let Some(fields) = header.as_ustar_mut() {
                text(&mut fields.name, "path", &name);
                text(&mut fields.linkname, "linkpath", entry.link);
                text(&mut fields.uname, "uname", uname.as_bytes());
                text(&mut fields.gname, "gname", gname.as_bytes());
            }
        }
        let mut number = |keyword, value: u64, max| {
            if value > max {
                pax::push(&mut records, keyword, value.to_string().as_bytes());
                0
            } else {
                value
            }
        };
        header.set_mode(entry.mode & 0o7777);
        header.set_uid(number("uid", u64::from(uid), MAX_ID));
        header.set_gid(number("gid", u64::from(gid), MAX_ID));
        header.set_size(number("size", entry.size, MAX_SIZE));
        if let Some(time) = entry.modified {
            let text = crate::python_literal::float_repr(time);
            pax::push(&mut records, "mtime", text.as_bytes());
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "cut to what the field can hold"
            )]
            header.set_mtime((time.max(0.0) as u64).min(MAX_SIZE));
        }
        header.set_entry_type(kind);
        header.set_cksum();
        if !is_text {
            let mut with_charset = Vec::new();
            pax::push(&mut with_charset, "hdrcharset", b"BINARY");
            with_charset.append(&mut records);
            records = with_charset;
        }
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            if let Some(fields) = extended.as_ustar_mut() {
                for (place, byte) in fields.name.iter_mut().zip(b"././@PaxHeader") {
                    *place = *byte;
                }
            }
            extended.set_mode(0);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_mtime(0);
            extended.set_size(records.len() as u64);
            extended.set_entry_type(EntryType::XHeader);
            extended.set_cksum();
            self.put(extended.as_bytes())?;
            self.put(&records)?;
            self.fill(BLOCK as u64)?;
        }
        self.put(header.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Zeros up to a multiple of `unit`.
    fn fill(&mut self, unit: u64) -> io::Result<()> {
        let zeros = [0; RECORD as usize];
        let length = usize::try_from(self.written.next_multiple_of(unit) - self.written).unwrap_or(0);
        self.put(zeros.get(..length).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, TarReader};
    use super::*;

    fn archive(entries: &[(Entry<'_>, &[u8])]) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, content) in entries {
            writer.append(entry, *content, &mut [0; 100]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn members(bytes: &[u8]) -> Vec<(Member, Vec<u8>)> {
        let mut reader = TarReader::new(bytes);
        let mut members = Vec::new();
        while let Some(member) = reader.next().unwrap() {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            members.push((member, content));
        }
        assert!(reader.is_marked());
        members
    }

    #[test]
    fn names_of_every_kind_come_back() {
        let long = [b"d/".repeat(80).as_slice(), b"file"].concat();
        for name in [
            &b"plain"[..],
            b"with\nline\nend",
            "d/\u{e9}\u{1f600}".as_bytes(),
            b"not/utf8/\xff\xfe",
            &long,
            &[b'x'; 100],
            &[b'x'; 101],
        ] {
            for (kind, link) in [
                (Kind::File, &b""[..]),
                (Kind::Directory, b""),
                (Kind::Symlink, name),
            ] {
                let content: &[u8] = if kind == Kind::File { b"content" } else { b"" };
                let entry = Entry {
                    kind,
                    link,
                    modified: Some(1_795_286_654.300_222_2),
                    owner: (4_000_000_000, 0, "\u{fc}ser", "g"),
                    ..Entry::made_up(name, content.len() as u64)
                };
                let bytes = archive(&[(entry, content)]);
                assert_eq!(bytes.len() as u64 % RECORD, 0);
                let mut expected = name.to_vec();
                if kind == Kind::Directory {
                    expected.push(b'/');
                }
                let found = members(&bytes);
                let [(member, found)] = found.as_slice() else {
                    panic!("{found:?}")
                };
                assert_eq!(
                    (&member.name, member.kind, member.link.as_slice()),
                    (&expected, kind, link)
                );
                assert_eq!(
                    (member.modified, found.as_slice()),
                    ((1_795_286_654, 300_222_158), content)
                );
            }
        }
    }

    #[test]
    fn content_of_another_length_is_an_error() {
        for (content, kind) in [
            (&b"ab"[..], io::ErrorKind::UnexpectedEof),
            (b"abcd", io::ErrorKind::InvalidData),
        ] {
            let error = TarWriter::new(Vec::new())
                .append(&Entry::made_up(b"x", 3), content, &mut [0; 100])
                .unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }

    #[test]
    fn a_size_beyond_eleven_digits_is_in_a_record() {
        let mut writer = TarWriter::new(Vec::new());
        writer.header(&Entry::made_up(b"big", 9 << 30)).unwrap();
        let member = TarReader::new(writer.output.as_slice()).next().unwrap().unwrap();
        assert_eq!((member.size, member.name), (9 << 30, b"big".to_vec()));
    }

    #[test]
    fn cuts_are_noticed() {
        let bytes = archive(&[
            (Entry::made_up(b"a", 600), &[1; 600]),
            (Entry::made_up(&[b'n'; 200], 3), b"abc"),
        ]);
        for cut in 0..bytes.len() {
            let mut reader = TarReader::new(&bytes[..cut]);
            let mut count = 0;
            let outcome = loop {
                match reader.next() {
                    Ok(Some(_)) => count += 1,
                    Ok(None) => break Ok(reader.is_marked()),
                    Err(e) => break Err(e),
                }
            };
            // Whole only with its end; else at most the end of a member is taken for an end, without the mark.
            assert_eq!(
                matches!(outcome, Ok(true)),
                cut >= 4096,
                "{cut} {count} {outcome:?}"
            );
        }
    }
}
