//! `--wait`: the WAL that makes the backup consistent is archived before the command ends.

use std::time::{Duration, Instant};

use barman_catalog::BackupInfo;

use super::failed::chain;
use super::options::Wait;
use super::sequence::TARGET;
use super::{archiving, consistency};
use crate::context::{CancelCause, Context, Level};
use crate::server::Server;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Archives WAL until the last file of the backup is there, then evaluates the backup (the caller saves it). A request
/// to stop ends only the waiting: Ctrl-C lets the command go on, any other cause is returned.
pub(super) fn for_end(
    server: &Server,
    info: &mut BackupInfo,
    wait: Wait,
    ctx: &Context<'_>,
) -> Option<CancelCause> {
    let end = info.end_wal?;
    let limit = match wait {
        Wait::AtMost(limit) => Some(limit),
        Wait::Forever | Wait::No => None,
    };
    let shown = limit
        .map(|limit| format!(" (max: {} seconds)", limit.as_secs()))
        .unwrap_or_default();
    let line = format!(
        "Waiting for the WAL file {end} from server '{}'{shown}",
        server.name()
    );
    ctx.say(Level::Info, TARGET, &line);

    let path = server.layout().wal_path(&end.into());
    let begun = Instant::now();
    let mut stopped = None;
    loop {
        if let Some(cause) = ctx.cancel.cause() {
            ctx.cancel.reset();
            stopped = Some(cause);
            break;
        }
        let archived = archiving::run(server, archiving::Busy::Silent, ctx);
        if path.exists() {
            break;
        }
        if ctx.cancel.is_requested() {
            continue;
        }
        if let Err(reason) = archived {
            ctx.say(
                Level::Error,
                TARGET,
                &format!("Cannot archive WAL while waiting for {end}: {reason}"),
            );
            break;
        }
        if let Some(limit) = limit.filter(|limit| begun.elapsed() >= *limit) {
            let line = format!(
                "The WAL file {end} has not been received in {} seconds",
                limit.as_secs()
            );
            ctx.say(Level::Error, TARGET, &line);
            break;
        }
        ctx.clock.sleep(PAUSE);
    }
    if stopped == Some(CancelCause::Interrupt) {
        let line = format!("Got CTRL-C. Continuing without waiting for '{end}' to be archived");
        ctx.say(Level::Info, TARGET, &line);
        stopped = None;
    }
    if let Err(error) = consistency::evaluate(server.layout(), info) {
        log::warn!(target: TARGET, "cannot read the WAL archive: {}", chain(&error));
    }
    stopped
}
