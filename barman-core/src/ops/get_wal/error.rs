//! Why a WAL file was not delivered.

use std::io;
use std::path::PathBuf;

use barman_wal::codec::CodecError;

use crate::failure::{Class, Failure};
use crate::host::filter::FilterError;

/// Why a WAL file was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum GetWalError {
    /// The name is none, or a path.
    #[error("'{name}' is not a valid wal file name{client}")]
    Name {
        /// As given.
        name: String,
        /// Who asked, ready to be appended.
        client: String,
    },
    /// It is nowhere.
    #[error("WAL file '{name}' not found in server '{server}'{client}")]
    NotFound {
        /// As given.
        name: String,
        /// The server.
        server: String,
        /// Who asked, ready to be appended.
        client: String,
    },
    /// The file to write cannot be made.
    #[error("Unable to open '{}' file: {source}{client}", path.display())]
    Output {
        /// Which.
        path: PathBuf,
        /// Who asked, ready to be appended.
        client: String,
        /// Why.
        source: io::Error,
    },
    /// The file that was found cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that was found is damaged.
    #[error("Error decompressing WAL: {}: {source}", path.display())]
    Decompress {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The stored compression cannot be handled.
    #[error("cannot deliver WAL file {name}: {source}")]
    Compression {
        /// Which file.
        name: String,
        /// Which compression, and why.
        source: io::Error,
    },
    /// The wanted compression cannot be made.
    #[error("cannot deliver WAL file {name} compressed: {source}")]
    OutputCompression {
        /// Which file.
        name: String,
        /// Which compression.
        source: CodecError,
    },
    /// The file that was found is no whole WAL segment.
    #[error("WAL file {} is damaged: {why}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Encrypted files cannot be read yet.
    #[error("cannot deliver WAL file {}: it is encrypted, which is not yet available", path.display())]
    Encrypted {
        /// Which.
        path: PathBuf,
    },
    /// The receiver takes no more.
    #[error("cannot write WAL file {name}: {source}")]
    Write {
        /// Which file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The archive is in object storage.
    #[error("get-wal is not available for server {server}: its WAL archive is object storage")]
    Cloud {
        /// The server.
        server: String,
    },
    /// Somebody asked to stop.
    #[error("sending WAL file {name} was interrupted")]
    Interrupted {
        /// Which file.
        name: String,
    },
}

impl Failure for GetWalError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. } | Self::Write { .. } => Class::Exception,
            Self::Interrupted { .. } => Class::Interrupted,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Decompress { source, .. }
                if source
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<FilterError>())
                    .is_some() =>
            {
                Some("--keep-compression gives the file as it is stored".to_owned())
            }
            Self::Compression { .. } => Some("--keep-compression gives the file as it is stored".to_owned()),
            Self::Encrypted { .. } => Some("use Barman 3.20.1 to read this file".to_owned()),
            Self::OutputCompression { .. } => Some("take the file without --gzip and --bzip2".to_owned()),
            Self::Damaged { .. } | Self::Decompress { .. } => Some(
                "the archived file is not what PostgreSQL wrote: get this segment from another archive or from pg_wal"
                    .to_owned(),
            ),
            Self::Output { .. } => Some("the output directory must exist and be writable".to_owned()),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Name { .. } | Self::Output { .. } => 3,
            _ => 1,
        }
    }
}
