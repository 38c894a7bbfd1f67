//! The operation `get-wal`: finds one WAL file, in the archive or still in a queue, and gives its plain content.
//!
//! Nothing is listed or read but the files in question, so it takes the same time in an archive of any size; nothing
//! is written to disk but the file that is asked for.

mod error;
mod locate;
mod peek;
mod send;

use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use barman_wal::WalFileName;
use barman_wal::durable::AtomicFile;

use crate::context::{Context, Level};
use crate::server::Server;

pub use error::GetWalError;
use locate::Place;
use send::Delivery;

/// The name under which the log records it.
const TARGET: &str = "barman.server";

/// A compression of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputCompression {
    /// `--gzip`.
    Gzip,
    /// `--bzip2`.
    Bzip2,
}

/// In which form the file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputForm {
    /// Decompressed.
    #[default]
    Plain,
    /// Compressed anew, unless it is stored like this.
    Compressed(OutputCompression),
    /// `--keep-compression`: as it is stored.
    AsStored,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetWalOptions {
    /// `WAL_NAME`, as given.
    pub wal_name: String,
    /// In which form.
    pub form: OutputForm,
    /// `--partial`: a partial segment will do.
    pub partial: bool,
    /// `--peek`: only tell which of so many files from this one on are there.
    pub peek: Option<NonZeroU32>,
    /// `--output-directory`: write the file there instead of to `output`.
    pub output_directory: Option<PathBuf>,
    /// The address of the client, when it came by SSH: it ends messages.
    pub ssh_host: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum GetWalReport {
    /// The file was sent.
    Sent {
        /// From where.
        path: PathBuf,
        /// How many bytes were written.
        bytes: u64,
    },
    /// These files are there; each was told to the user.
    Peeked {
        /// In their order.
        names: Vec<WalFileName>,
    },
}

/// `--test`: tells that the server exists and could be asked.
///
/// # Errors
/// [`GetWalError::Cloud`].
pub fn test(server: &Server, ctx: &Context<'_>) -> Result<(), GetWalError> {
    refuse_cloud(server)?;
    let text = format!("Ready to retrieve WAL files from the server {}", server.name());
    ctx.say(Level::Info, "barman.cli", &text);
    Ok(())
}

/// Sends a WAL file to `output` (or to a file, see [`GetWalOptions::output_directory`]), or tells what is there.
/// `output` gets large blocks and should not be buffered by lines; it is flushed at the end.
///
/// # Errors
/// [`GetWalError`]. `output` may have got a beginning of the file then; an output file is there only as a whole.
pub fn run(
    server: &Server,
    options: &GetWalOptions,
    output: &mut dyn Write,
    ctx: &Context<'_>,
) -> Result<GetWalReport, GetWalError> {
    let request = Request::new(server, options)?;
    if let Some(count) = options.peek {
        let names = peek::names(server, &request, count, ctx.cancel);
        for name in &names {
            ctx.say_console(Level::Info, TARGET, &name.to_string());
        }
        return Ok(GetWalReport::Peeked { names });
    }
    match &options.output_directory {
        None => request.send(output, ctx, |found| {
            let suffix = request.suffix();
            log::info!(
                target: TARGET,
                "Sending WAL '{found}' for server '{}' to standard output{suffix}",
                server.name()
            );
        }),
        Some(directory) => request.send_into(&directory.join(&options.wal_name), ctx),
    }
}

fn refuse_cloud(server: &Server) -> Result<(), GetWalError> {
    if server.config().wals_in_cloud() {
        return Err(GetWalError::Cloud {
            server: server.name().to_owned(),
        });
    }
    Ok(())
}

/// A request that makes sense.
struct Request<'a> {
    server: &'a Server,
    options: &'a GetWalOptions,
    name: WalFileName,
}

impl<'a> Request<'a> {
    fn new(server: &'a Server, options: &'a GetWalOptions) -> Result<Self, GetWalError> {
        refuse_cloud(server)?;
        // A path is no name either: the request may come from another host.
        let name = options.wal_name.parse().map_err(|_| GetWalError::Name {
            name: options.wal_name.clone(),
            client: client_suffix(options),
        })?;
        Ok(Self {
            server,
            options,
            name,
        })
    }

    fn suffix(&self) -> String {
        client_suffix(self.options)
    }

    fn send_into(&self, target: &Path, ctx: &Context<'_>) -> Result<GetWalReport, GetWalError> {
        let unwritable = |source: std::io::Error| GetWalError::Output {
            path: target.to_path_buf(),
            client: self.suffix(),
            source,
        };
        if target.is_dir() {
            return Err(unwritable(std::io::ErrorKind::IsADirectory.into()));
        }
        let mut file = AtomicFile::create(target, 0o666).map_err(|error| unwritable(error.source))?;
        let report = self.send(&mut file, ctx, |found| {
            let text = format!(
                "Sending WAL '{found}' for server '{}' into '{}' file{}",
                self.server.name(),
                target.display(),
                self.suffix()
            );
            ctx.say(Level::Info, TARGET, &text);
        })?;
        file.commit().map_err(|error| GetWalError::Write {
            name: self.options.wal_name.clone(),
            source: error.into(),
        })?;
        Ok(report)
    }

    /// Sends the first file that is there; one that vanishes between being seen and being opened is passed over.
    fn send(
        &self,
        output: &mut dyn Write,
        ctx: &Context<'_>,
        announce: impl Fn(&str),
    ) -> Result<GetWalReport, GetWalError> {
        let delivery = Delivery {
            config: self.server.config(),
            form: self.options.form,
        };
        for Place { path, kind } in locate::places(
            self.server.layout(),
            &self.options.wal_name,
            self.name,
            self.options.partial,
        ) {
            let Some(source) =
                locate::open(&path, kind, self.name).map_err(|source| self.unreadable(&path, source))?
            else {
                continue;
            };
            let found = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            announce(&found);
            let bytes = delivery.send(&source, &path, kind, self.name, output, ctx.cancel)?;
            return Ok(GetWalReport::Sent { path, bytes });
        }
        Err(GetWalError::NotFound {
            name: self.options.wal_name.clone(),
            server: self.server.name().to_owned(),
            client: self.suffix(),
        })
    }

    fn unreadable(&self, path: &Path, source: std::io::Error) -> GetWalError {
        GetWalError::Read {
            path: path.to_path_buf(),
            source,
        }
    }
}

fn client_suffix(options: &GetWalOptions) -> String {
    options
        .ssh_host
        .as_ref()
        .map(|host| format!(" (SSH host: {host})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
