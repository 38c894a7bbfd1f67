//! Where a WAL file may be, in the order of looking.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use barman_catalog::Layout;
use barman_wal::WalFileName;
use barman_wal::codec::{self, Algorithm};

use super::TARGET;
use crate::ops::archive::segment_check::{self, Verdict};

/// What may be found at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of the archive: whole.
    Archived,
    /// A file of a queue: somebody may still be writing it.
    Queued,
    /// A partial segment as its receiver writes it: sent as it is.
    RawPartial,
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// Every place, in order. `spelling` is the name as it was given: Barman stores names as they are spelled.
pub(super) fn places(layout: &Layout, spelling: &str, name: WalFileName, partial: bool) -> Vec<Place> {
    let archived = |name: &WalFileName| Place {
        path: layout.wal_path(name),
        kind: Kind::Archived,
    };
    let queued = |directory: &Path, name: &str, kind| Place {
        path: directory.join(name),
        kind,
    };
    let canonical = name.to_string();
    let streaming = &layout.streaming_wals_directory;
    let incoming = &layout.incoming_wals_directory;
    let received = if matches!(name, WalFileName::Partial(_)) {
        Kind::RawPartial
    } else {
        Kind::Queued
    };

    let mut places = vec![archived(&name)];
    if spelling != canonical {
        places.push(Place {
            path: layout.wal_path(&name).with_file_name(spelling),
            kind: Kind::Archived,
        });
    }
    places.push(queued(incoming, &canonical, Kind::Queued));
    places.push(queued(streaming, &canonical, received));
    if partial && let WalFileName::Segment(segment) = name {
        let part = WalFileName::Partial(segment);
        places.push(queued(streaming, &part.to_string(), Kind::RawPartial));
        // The receiver may have completed it since.
        places.push(queued(streaming, &canonical, Kind::Queued));
        places.push(archived(&part));
        places.push(queued(incoming, &part.to_string(), Kind::Queued));
    }
    // The archiver may have moved it since.
    places.push(archived(&name));
    places
}

/// Opens a file; `None` if there is none, or if it is a segment of a queue that is not complete.
pub(super) fn open(path: &Path, kind: Kind, name: WalFileName) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if kind == Kind::Queued
        && let WalFileName::Segment(segment) = name
    {
        let first = codec::first_bytes(&file)?;
        if Algorithm::detect(&first, None).is_none()
            && let Verdict::Bad(reason) = segment_check::judge(segment, &first, metadata.len())
        {
            log::info!(target: TARGET, "{} is passed over: {reason}", path.display());
            return Ok(None);
        }
    }
    Ok(Some(file))
}

/// Whether there is a file that would be sent for this name, partial ones left aside.
pub(super) fn exists(layout: &Layout, name: WalFileName) -> bool {
    places(layout, &name.to_string(), name, false)
        .iter()
        .any(|place| open(&place.path, place.kind, name).is_ok_and(|file| file.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order() {
        let layout = Layout::new("s", "/b");
        let found = |spelling: &str, partial| -> Vec<String> {
            places(&layout, spelling, spelling.parse().unwrap(), partial)
                .into_iter()
                .map(|place| place.path.strip_prefix("/b/s").unwrap().display().to_string())
                .collect()
        };
        let segment = "00000001000000000000000A";
        let archived = format!("wals/0000000100000000/{segment}");
        let (incoming, streaming) = (format!("incoming/{segment}"), format!("streaming/{segment}"));
        let expected = vec![
            archived.clone(),
            incoming.clone(),
            streaming.clone(),
            archived.clone(),
        ];
        assert_eq!(found(segment, false), expected);
        assert_eq!(
            found(segment, true),
            [
                archived.clone(),
                incoming.clone(),
                streaming.clone(),
                format!("{streaming}.partial"),
                streaming,
                format!("{archived}.partial"),
                format!("{incoming}.partial"),
                archived.clone(),
            ]
        );
        assert_eq!(found("00000002.history", true)[0], "wals/00000002.history");
        assert_eq!(found(&segment.to_lowercase(), false)[1], archived.to_lowercase());
        let part: WalFileName = format!("{segment}.partial").parse().unwrap();
        assert_eq!(
            places(&layout, &part.to_string(), part, true)[2].kind,
            Kind::RawPartial
        );
    }
}
