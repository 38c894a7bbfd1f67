//! The WAL archiver, as the end of a backup runs it.

use super::failed::chain;
use crate::context::{Context, Level};
use crate::failure::{Class, Failure as _};
use crate::ops::archive::{self, Patience};
use crate::server::Server;

/// Archives what has come. What is not archived now stays queued, so an interruption is no failure here, nor is a
/// lock that somebody else holds: that somebody archives.
///
/// # Errors
/// Why WAL cannot be archived.
pub(super) fn run(
    server: &Server,
    busy: Busy,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> Result<(), String> {
    match archive::run_again(server, patience, ctx) {
        Ok(_) => Ok(()),
        Err(error) if error.class() == Class::Interrupted => Ok(()),
        Err(error) if error.class() == Class::Info => {
            if busy == Busy::Told {
                ctx.say(Level::Info, super::sequence::TARGET, &error.to_string());
            }
            Ok(())
        }
        Err(error) => Err(chain(&error)),
    }
}

/// Whether the user hears that somebody else archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// Once, at the end of the command.
    Told,
    /// Not ten times a second.
    Silent,
}
