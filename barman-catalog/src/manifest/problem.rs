//! What a verification can find, in the words of PostgreSQL's `pg_verifybackup`, which scripts look for.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// So many problems are named; the others are counted.
const LIMIT: usize = 1000;

/// One thing that is not as the manifest says. Paths are relative to the data directory.
#[derive(Debug)]
pub enum Problem {
    /// A file that is not in the manifest.
    Extra(PathBuf),
    /// A file of the manifest that is not there.
    Missing(PathBuf),
    /// A file of another size.
    Size {
        /// The file.
        path: PathBuf,
        /// Its size, bytes.
        found: u64,
        /// As the manifest has it.
        expected: u64,
    },
    /// A file of the right size with other content.
    Checksum(PathBuf),
    /// A file that changed its length while it was read.
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes read.
        found: u64,
        /// As the manifest has it.
        expected: u64,
    },
    /// Neither a file nor a directory.
    Special(PathBuf),
    /// The system refuses.
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `pg_control` is not what it should be, or of another cluster.
    Control {
        /// The file, or the archive and the file.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A file that has no place in a backup in tar format.
    NotAnArchive(PathBuf),
    /// As the ones above, for a member of an archive.
    Member {
        /// The archive.
        archive: String,
        /// The member, as the archive names it.
        name: String,
        /// What is wrong with it.
        what: MemberProblem,
    },
    /// An archive that cannot be read to its end.
    Archive {
        /// The archive.
        archive: String,
        /// Why not.
        reason: String,
    },
}

/// What is wrong with a member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberProblem {
    /// It is not in the manifest.
    Extra,
    /// It has another size.
    Size {
        /// Its size, bytes.
        found: u64,
        /// As the manifest has it.
        expected: u64,
    },
    /// It has other content.
    Checksum,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extra(path) => write!(
                f,
                "\"{}\" is present on disk but not in the manifest",
                path.display()
            ),
            Self::Missing(path) => write!(
                f,
                "\"{}\" is present in the manifest but not on disk",
                path.display()
            ),
            Self::Size {
                path,
                found,
                expected,
            } => {
                let path = path.display();
                write!(
                    f,
                    "\"{path}\" has size {found} on disk but size {expected} in the manifest"
                )
            }
            Self::Checksum(path) => write!(f, "checksum mismatch for file \"{}\"", path.display()),
            Self::Length {
                path,
                found,
                expected,
            } => {
                let path = path.display();
                write!(
                    f,
                    "file \"{path}\" should contain {expected} bytes, but read {found}"
                )
            }
            Self::Special(path) => write!(f, "\"{}\" is not a regular file or directory", path.display()),
            Self::Io { what, path, source } => {
                write!(f, "could not {what} \"{}\": {}", path.display(), reason(source))
            }
            Self::Control { place, what } => write!(f, "{place}: {what}"),
            Self::NotAnArchive(path) => {
                write!(
                    f,
                    "file \"{}\" is not expected in a tar format backup",
                    path.display()
                )
            }
            Self::Member { archive, name, what } => match what {
                MemberProblem::Extra => {
                    write!(
                        f,
                        "file \"{name}\" is present in archive \"{archive}\" but not in the manifest"
                    )
                }
                MemberProblem::Size { found, expected } => write!(
                    f,
                    "file \"{name}\" has size {found} in archive \"{archive}\" but size {expected} in the manifest"
                ),
                MemberProblem::Checksum => {
                    write!(
                        f,
                        "checksum mismatch for file \"{name}\" in archive \"{archive}\""
                    )
                }
            },
            Self::Archive { archive, reason } => write!(f, "could not read archive \"{archive}\": {reason}"),
        }
    }
}

/// The system's words for an error, without Rust's `(os error N)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many files the manifest has.
    pub files: u64,
    /// The sum of their sizes, bytes.
    pub bytes: u64,
    /// What is wrong, at most 1000 things.
    pub problems: Vec<Problem>,
    /// How many more are wrong.
    pub more: u64,
}

impl Verdict {
    /// Whether the backup is what its manifest says.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems.is_empty() && self.more == 0
    }

    pub(super) fn add(&mut self, problem: Problem) {
        if self.problems.len() < LIMIT {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

/// Why nothing can be said of a backup.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The manifest cannot be opened.
    #[error("could not open file \"{}\": {}", path.display(), reason(source))]
    Open {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The manifest is not to be trusted.
    #[error("could not parse backup manifest \"{}\": {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest has a file twice.
    #[error("duplicate path name in backup manifest: \"{}\"", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
    },
    /// The data directory cannot be read.
    #[error("could not open directory \"{}\": {}", path.display(), reason(source))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An archive is compressed in a way that this program cannot read.
    #[error("cannot read archive \"{archive}\": {source}")]
    Codec {
        /// The archive.
        archive: String,
        /// Why not.
        source: barman_wal::codec::CodecError,
    },
    /// The system gives no thread.
    #[error("cannot work with several threads: {0}")]
    Thread(#[from] io::Error),
    /// The caller's flag was raised.
    #[error("the verification was interrupted")]
    Interrupted,
}
