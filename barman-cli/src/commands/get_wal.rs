//! `barman get-wal`: the bytes of a WAL file go to standard output and nothing else does.

use crate::app::{App, CLI};
use crate::args::commands::GetWalArgs;
use crate::environment;
use crate::output::Output;
use barman_core::Server;
use barman_core::ops::get_wal::{self, GetWalError, GetWalOptions, OutputCompression, OutputForm};
use std::io::{self, Write};
use std::num::NonZeroU32;

pub(super) fn run(app: &App<'_>, args: &GetWalArgs) {
    let Some(config) = app.single("get-wal", &args.server) else {
        return;
    };
    let server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
    let compressed = args.gzip || args.bzip2;
    if args.keep_compression && compressed && !args.test {
        let compression = if args.gzip { "gzip" } else { "bzip2" };
        let text = format!("argument `{compression}` not allowed with argument `keep-compression`");
        app.output.error(CLI, &text);
        return;
    }
    if let Err(error) = deliver(app, args, &server) {
        let _ = app.failure(&error);
    }
}

fn deliver(app: &App<'_>, args: &GetWalArgs, server: &Server) -> Result<(), GetWalError> {
    if args.test {
        return get_wal::test(server, &app.context());
    }
    get_wal::run(server, &options(args), &mut Raw(app.output), &app.context()).map(drop)
}

fn options(args: &GetWalArgs) -> GetWalOptions {
    let form = match (args.keep_compression, args.gzip, args.bzip2) {
        (true, _, _) => OutputForm::AsStored,
        (false, true, _) => OutputForm::Compressed(OutputCompression::Gzip),
        (false, false, true) => OutputForm::Compressed(OutputCompression::Bzip2),
        (false, false, false) => OutputForm::Plain,
    };
    let directory = args
        .output_directory
        .clone()
        .filter(|directory| !directory.as_os_str().is_empty());
    GetWalOptions {
        wal_name: args.wal_name.clone(),
        form,
        partial: args.partial,
        peek: args
            .peek
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
            .and_then(NonZeroU32::new),
        output_directory: directory,
        ssh_host: environment::ssh_client(),
    }
}

/// Standard output, for bytes.
struct Raw<'a>(&'a Output);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Command};

    fn parsed(line: &str) -> GetWalOptions {
        let words = ["barman", "get-wal"]
            .into_iter()
            .chain(line.split(' '))
            .map(Into::into);
        match args::parse(words).unwrap().command {
            Some(Command::GetWal(args)) => options(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_of_the_command_line() {
        let gzip = OutputForm::Compressed(OutputCompression::Gzip);
        let bzip2 = OutputForm::Compressed(OutputCompression::Bzip2);
        for (line, form) in [
            ("m w", OutputForm::Plain),
            ("-j -z m w", gzip),
            ("-z -j m w", bzip2),
            ("-x m w", gzip),
            ("--keep-compression m w", OutputForm::AsStored),
        ] {
            assert_eq!(parsed(line).form, form, "{line}");
        }
        assert_eq!(parsed("--peek 99999999999 m w").peek, NonZeroU32::new(u32::MAX));
        assert_eq!(parsed("-o= -P m w").output_directory, None);
        assert!(parsed("-P m w").partial);
    }
}
