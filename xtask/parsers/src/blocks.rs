//! Files that hold blocks of relations: their names, checksums of pages, incremental files.

use barman_wal::data_file::{DataFileName, Geometry};
use barman_wal::incremental::{self, IncrementalHeader, IncrementalReader, IncrementalWriter};
use barman_wal::page_checksum::{self, BadPage, Checked, PageState, PageVerifier};

use crate::input::{Dripping, choice, reached};

/// Small blocks, so that few bytes are several of them; a file has at most 64.
fn small() -> Geometry {
    Geometry::new(1024, 64).expect("possible sizes")
}

/// The name of a file up to a line end, then its pages: pieces give the same as the whole, and a page whose checksum is
/// set is good.
pub fn data_pages(bytes: &[u8]) {
    let (name, pages) = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]));
    let name = std::str::from_utf8(name).unwrap_or_default();
    let verifier = match name.parse::<DataFileName>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), name);
            PageVerifier::of_file(parsed, small())
        }
        Err(_) => None,
    };
    if verifier.is_some() && pages.len() >= 1024 {
        reached();
    }
    let verifier = verifier.unwrap_or_else(|| PageVerifier::new(u32::MAX - 1, small()));

    let mut bad = Vec::new();
    let checked = verifier
        .clone()
        .read(&mut Dripping::new(pages), |page| bad.push(page))
        .expect("memory can be read");
    let mut whole = verifier.clone();
    let mut again = Vec::new();
    whole.feed(pages, |page| again.push(page));
    assert_eq!((whole.finish(), &again), (checked, &bad));
    assert_eq!(checked.pages * 1024 + u64::from(checked.rest), pages.len() as u64);
    assert_eq!(
        (checked.bad, checked.new <= checked.pages),
        (bad.len() as u64, true)
    );

    let mut repaired = pages.to_vec();
    for page in &bad {
        let at = usize::try_from(page.offset).expect("an offset in memory");
        page_checksum::set_checksum(&mut repaired[at..at + 1024], page.block);
    }
    let mut left: Vec<BadPage> = Vec::new();
    let mut verifier = verifier;
    verifier.feed(&repaired, |page| left.push(page));
    assert!(
        left.iter().all(|page| page.state == PageState::NotEmpty),
        "{left:?}"
    );
    assert_eq!(
        verifier.finish(),
        Checked {
            bad: left.len() as u64,
            ..checked
        }
    );
}

/// An incremental file, with the sizes of most servers or small ones: what is read and written again is the same.
pub fn incremental_file(bytes: &[u8]) {
    let (kind, file) = choice(bytes, 2);
    let geometry = if kind == 0 { small() } else { Geometry::DEFAULT };
    let Ok(mut reader) = IncrementalReader::new(Dripping::new(file), geometry) else {
        return;
    };
    let header = reader.header().clone();
    assert_eq!(
        IncrementalHeader::read(&mut &*file, geometry).ok().as_ref(),
        Some(&header)
    );
    assert!(header.full_length() <= geometry.segment_blocks());
    // What it promises has come.
    assert!(header.length(geometry) <= file.len() as u64);
    let mut writer =
        IncrementalWriter::new(Vec::new(), header.clone(), geometry).expect("memory can be written");
    let mut room = vec![0; geometry.block_size() as usize];
    let mut numbers = Vec::new();
    loop {
        match reader.next_block(&mut room) {
            Ok(Some(number)) => {
                numbers.push(number);
                writer.write_block(&room).expect("a block that was announced");
            }
            Ok(None) => break,
            Err(_) => return,
        }
    }
    assert_eq!(numbers, header.blocks());
    if !numbers.is_empty() {
        reached();
    }
    let written = writer.finish().expect("all blocks");
    assert_eq!(written.len() as u64, header.file_length(geometry));
    // All but what fills up the header.
    let numbers_end = 12 + 4 * header.blocks().len();
    let start = usize::try_from(header.length(geometry)).expect("a length in memory");
    assert_eq!(
        (&written[..numbers_end], &written[start..]),
        (&file[..numbers_end], &file[start..])
    );
    assert_eq!(
        incremental::original_name(&incremental::incremental_name("1")),
        Some("1")
    );
}
