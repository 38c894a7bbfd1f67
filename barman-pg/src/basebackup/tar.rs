//! The tar archives of a base backup, parsed as they arrive: plain POSIX ustar members (PostgreSQL, `tar.c`), no
//! extension headers. Member names are made safe here.

use std::path::{Component, Path, PathBuf};

use tar::{EntryType, Header};

/// Tar's unit.
const BLOCK: usize = 512;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    /// A symbolic link to this target.
    Link(PathBuf),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Relative, of normal components only, at least one.
    pub(super) path: PathBuf,
    pub(super) kind: MemberKind,
    /// Permission bits.
    pub(super) mode: u32,
    /// Bytes of content; 0 unless a file.
    pub(super) size: u64,
    /// When it was last changed on the server, seconds from 1970.
    pub(super) modified: u64,
}

/// What the parser found.
#[derive(Debug)]
pub(super) enum TarEvent<'a> {
    Member(Member),
    /// The next bytes of the file.
    Data(&'a [u8]),
    /// The file is complete.
    EndOfFile,
}

/// Where in an archive the parser is.
#[derive(Debug)]
pub(super) struct TarParser {
    header: [u8; BLOCK],
    header_length: usize,
    /// Content of the current file still to come.
    remaining: u64,
    /// Filling up to a whole block still to come.
    padding: usize,
    in_file: bool,
    /// A block of zeros was seen: only zeros may follow.
    ended: bool,
}

impl TarParser {
    pub(super) fn new() -> Self {
        Self {
            header: [0; BLOCK],
            header_length: 0,
            remaining: 0,
            padding: 0,
            in_file: false,
            ended: false,
        }
    }

    /// Takes the next bytes of the archive.
    pub(super) fn push<'a, E: From<String>>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(TarEvent<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let length = usize::try_from(self.remaining)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let (content, rest) = bytes.split_at(length);
                sink(TarEvent::Data(content))?;
                self.remaining -= length as u64;
                bytes = rest;
                if self.remaining == 0 {
                    self.in_file = false;
                    sink(TarEvent::EndOfFile)?;
                }
            } else if self.padding > 0 {
                let length = self.padding.min(bytes.len());
                self.padding -= length;
                bytes = bytes.get(length..).unwrap_or_default();
            } else if self.ended {
                if bytes.iter().any(|byte| *byte != 0) {
                    return Err("data after the end of the archive".to_owned().into());
                }
                return Ok(());
            } else {
                let length = (BLOCK - self.header_length).min(bytes.len());
                let (part, rest) = bytes.split_at(length);
                if let Some(room) = self
                    .header
                    .get_mut(self.header_length..self.header_length + length)
                {
                    room.copy_from_slice(part);
                }
                self.header_length += length;
                bytes = rest;
                if self.header_length == BLOCK {
                    self.header_length = 0;
                    self.header_complete(sink)?;
                }
            }
        }
        Ok(())
    }

    fn header_complete<'a, E: From<String>>(
        &mut self,
        sink: &mut impl FnMut(TarEvent<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.header.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(());
        }
        let member = member(&self.header)?;
        let (size, is_file) = (member.size, member.kind == MemberKind::File);
        sink(TarEvent::Member(member))?;
        if is_file {
            self.in_file = size > 0;
            self.remaining = size;
            self.padding = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or(0)) % BLOCK;
            if size == 0 {
                sink(TarEvent::EndOfFile)?;
            }
        }
        Ok(())
    }

    /// Whether the end marker was seen.
    pub(super) fn is_marked(&self) -> bool {
        self.ended
    }

    /// Whether the archive may end here. Servers before 15 send no end marker.
    pub(super) fn is_complete(&self) -> bool {
        self.remaining == 0 && self.padding == 0 && self.header_length == 0 && !self.in_file
    }
}

/// The fields that matter of a header.
fn member(bytes: &[u8; BLOCK]) -> Result<Member, String> {
    let header = Header::from_byte_slice(bytes);
    // The sum over the header with its checksum field taken as blanks.
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .map(|(at, b)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*b)
            }
        })
        .sum();
    if header.cksum().ok() != Some(sum) {
        return Err("a member's header has a wrong checksum".to_owned());
    }
    let name = header.path_bytes();
    let shown = String::from_utf8_lossy(&name).into_owned();
    let path = safe_path(&name).ok_or_else(|| format!("member \"{shown}\" leads out of the backup"))?;
    let bad = |what: &str| format!("member \"{shown}\" has no valid {what}");
    let mode = header.mode().map_err(|_| bad("mode"))? & 0o7777;
    let size = header.entry_size().map_err(|_| bad("size"))?;
    let (kind, size) = match header.entry_type() {
        EntryType::Regular => (MemberKind::File, size),
        EntryType::Directory => (MemberKind::Directory, 0),
        EntryType::Symlink => {
            let target = header.link_name_bytes().ok_or_else(|| bad("link target"))?;
            (MemberKind::Link(as_path(&target).to_path_buf()), 0)
        }
        other => return Err(format!("member \"{shown}\" is of type {other:?}")),
    };
    if kind != MemberKind::File && header.entry_size().map_err(|_| bad("size"))? != 0 {
        return Err(bad("size"));
    }
    let modified = header.mtime().map_err(|_| bad("time"))?;
    Ok(Member {
        path,
        kind,
        mode,
        size,
        modified,
    })
}

fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// The path of normal components only; nothing if it is absolute, has `..`, or names the directory itself.
fn safe_path(name: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in as_path(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A member as PostgreSQL writes it.
    pub(in crate::basebackup) fn bytes_of(
        name: &str,
        kind: EntryType,
        content: &[u8],
        link: &str,
    ) -> Vec<u8> {
        let mut header = Header::new_ustar();
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        header.set_mtime(1_793_509_098);
        header.set_entry_type(kind);
        header.set_cksum();
        let mut out = header.as_bytes().to_vec();
        out.extend(content);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        out
    }

    fn parse(bytes: &[u8], step: usize) -> Result<(Vec<String>, bool), String> {
        let mut parser = TarParser::new();
        let mut seen = Vec::new();
        for part in bytes.chunks(step) {
            parser.push::<String>(part, &mut |event| {
                match event {
                    TarEvent::Member(member) => {
                        seen.push(format!("{:?} {}", member.kind, member.path.display()));
                    }
                    TarEvent::Data(data) => {
                        if let Some(last) = seen.last_mut() {
                            last.push_str(&String::from_utf8_lossy(data));
                        }
                    }
                    TarEvent::EndOfFile => seen.push("end".to_owned()),
                }
                Ok(())
            })?;
        }
        Ok((seen, parser.is_complete()))
    }

    #[test]
    fn members_come_whole_however_the_archive_is_cut() {
        let archive = [
            bytes_of("base/", EntryType::Directory, b"", ""),
            bytes_of("base/1", EntryType::Regular, b":abc", ""),
            bytes_of("./empty", EntryType::Regular, b"", ""),
            bytes_of("pg_tblspc/5", EntryType::Symlink, b"", "/mnt/x"),
            vec![0; 1024],
        ]
        .concat();
        for step in [1, 7, 511, 512, 4096, archive.len()] {
            let (seen, complete) = parse(&archive, step).unwrap();
            assert_eq!(
                seen,
                [
                    "Directory base",
                    "File base/1:abc",
                    "end",
                    "File empty",
                    "end",
                    "Link(\"/mnt/x\") pg_tblspc/5"
                ],
                "{step}"
            );
            assert!(complete);
        }
        assert!(
            parse(&archive[..archive.len() - 1024], 999).unwrap().1,
            "no end marker before PostgreSQL 15"
        );
        assert!(!parse(&archive[..1030], 100).unwrap().1);
        assert!(!parse(&archive[..100], 100).unwrap().1);
    }

    #[test]
    fn members_that_lead_out_or_are_no_files_are_refused() {
        for name in ["/etc/passwd", "../x", "base/../../x", ".", ""] {
            let archive = bytes_of(name, EntryType::Regular, b"x", "");
            assert!(parse(&archive, 512).is_err(), "{name}");
        }
        for kind in [
            EntryType::Link,
            EntryType::Char,
            EntryType::Fifo,
            EntryType::GNULongName,
            EntryType::XHeader,
        ] {
            assert!(parse(&bytes_of("x", kind, b"", ""), 512).is_err(), "{kind:?}");
        }
        let mut broken = bytes_of("x", EntryType::Regular, b"x", "");
        broken[0] = b'y';
        assert!(parse(&broken, 512).is_err());
        let after_end = [vec![0; 512], bytes_of("x", EntryType::Regular, b"x", "")].concat();
        assert!(parse(&after_end, 512).is_err());
        assert!(parse(&bytes_of("d", EntryType::Directory, b"x", ""), 512).is_err());
    }

    /// A header as it is, with a checksum that fits.
    fn with_checksum(header: &mut [u8]) {
        if header.len() == BLOCK {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }

    #[test]
    fn sizes_beyond_octal_are_read_and_impossible_ones_refused() {
        let of = |size: &[u8]| {
            let mut archive = bytes_of("x", EntryType::Regular, b"", "");
            archive[124..136].copy_from_slice(size);
            with_checksum(&mut archive);
            archive
        };
        // PostgreSQL writes what does not fit into eleven octal digits in base 256.
        let twenty_gib = 20_u64 << 30;
        let mut size = [0; 12];
        size[0] = 0x80;
        size[4..].copy_from_slice(&twenty_gib.to_be_bytes());
        let member = member(of(&size).first_chunk().unwrap()).unwrap();
        assert_eq!(member.size, twenty_gib);
        // A content that does not end is not complete.
        for size in [&size, &[0xff; 12], b"77777777777\0"] {
            assert!(!parse(&of(size), 512).is_ok_and(|(_, complete)| complete));
        }
        for size in [
            b"-0000000001\0",
            b"8\0\0\0\0\0\0\0\0\0\0\0",
            b"0x10\0\0\0\0\0\0\0\0",
        ] {
            assert!(parse(&of(size), 512).is_err(), "{size:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_damage_leads_out_or_makes_it_panic(
            damage in proptest::collection::vec((0..BLOCK, proptest::prelude::any::<u8>()), 0..6),
            step in 1..1500_usize,
        ) {
            let mut archive = [
                bytes_of("base/1", EntryType::Regular, b"abc", ""),
                bytes_of("base/2", EntryType::Regular, b"", ""),
            ]
            .concat();
            for (at, byte) in damage {
                archive[at] = byte;
            }
            with_checksum(&mut archive[..BLOCK]);
            let mut parser = TarParser::new();
            for part in archive.chunks(step) {
                let outcome = parser.push::<String>(part, &mut |event| {
                    if let TarEvent::Member(member) = event {
                        assert!(member.path.components().count() > 0);
                        assert!(member.path.components().all(|c| matches!(c, Component::Normal(_))));
                    }
                    Ok(())
                });
                if outcome.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn no_archive_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
            let _ = parse(&bytes, 300);
        }
    }
}
