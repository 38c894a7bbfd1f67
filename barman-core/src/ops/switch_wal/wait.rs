//! `--archive`: the closed segment, or any new one, is in the archive before the command ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use barman_wal::{SegmentName, TimelineId};

use super::{SwitchWalError, TARGET, latest};
use crate::context::{Context, Level};
use crate::failure::{Class, Failure as _};
use crate::ops::archive::{self, Patience};
use crate::server::Server;

/// Pauses between two looks, growing from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// What has to arrive.
#[derive(Debug)]
pub(super) enum Awaited {
    /// The segment that was closed.
    Segment(SegmentName),
    /// A segment that is newer than these, on any timeline: nothing was closed, or the server is a standby.
    Anything {
        /// The newest segment of each timeline before the switch.
        before: BTreeMap<TimelineId, SegmentName>,
    },
}

impl Awaited {
    fn arrived(&self, server: &Server) -> Result<bool, SwitchWalError> {
        match self {
            Self::Segment(segment) => Ok(server.layout().wal_path(&(*segment).into()).exists()),
            Self::Anything { before } => Ok(latest(server)? != *before),
        }
    }
}

/// Archives until it is there; whether it came in time.
///
/// # Errors
/// A named segment that did not come, an archive that cannot be written or read, an interruption.
pub(super) fn wait(
    server: &Server,
    awaited: &Awaited,
    limit: Option<Duration>,
    ctx: &Context<'_>,
) -> Result<bool, SwitchWalError> {
    let name = server.name();
    let shown = limit
        .map(|limit| format!(" (max: {} seconds)", limit.as_secs()))
        .unwrap_or_default();
    let line = match awaited {
        Awaited::Segment(segment) => {
            format!("Waiting for the WAL file {segment} from server '{name}'{shown}")
        }
        Awaited::Anything { .. } => {
            format!("Waiting for a WAL file from server '{name}' to be archived{shown}")
        }
    };
    ctx.say(Level::Info, TARGET, &line);

    let start = Instant::now();
    let mut pause = PAUSES.0;
    let mut patience = Patience::default();
    loop {
        if ctx.cancel.is_requested() {
            return Err(SwitchWalError::Interrupted {
                server: name.to_owned(),
            });
        }
        let over = limit.filter(|limit| start.elapsed() >= *limit);
        if over.is_some() {
            patience.try_all();
        }
        archive(server, &mut patience, ctx)?;
        if awaited.arrived(server)? {
            return Ok(true);
        }
        if let Some(limit) = over {
            let seconds = limit.as_secs();
            return match awaited {
                Awaited::Segment(segment) => Err(SwitchWalError::NotReceived {
                    segment: *segment,
                    seconds,
                }),
                Awaited::Anything { .. } => {
                    let line = format!("A WAL file has not been received in {seconds} seconds");
                    ctx.say(Level::Info, TARGET, &line);
                    Ok(false)
                }
            };
        }
        let left = limit.map_or(pause, |limit| limit.saturating_sub(start.elapsed()));
        ctx.clock.sleep(pause.min(left.max(Duration::from_millis(1))));
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// One quiet run of the archiver. Somebody else who archives is as good as ourselves.
fn archive(server: &Server, patience: &mut Patience, ctx: &Context<'_>) -> Result<(), SwitchWalError> {
    match archive::run_again(server, patience, ctx) {
        Ok(_) => Ok(()),
        Err(error) if error.class() == Class::Info => Ok(()),
        Err(error) if error.class() == Class::Interrupted => Err(SwitchWalError::Interrupted {
            server: server.name().to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::context::{Cancel, Silent, SystemClock};
    use std::fs;

    #[test]
    fn what_failed_is_tried_once_more_before_the_wait_ends() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        // It works from the second time on.
        let text = format!(
            "[barman]\nbarman_home = {0}\n[s]\nconninfo = host={0}\narchiver = on\ncompression = custom\n\
             custom_decompression_filter = cat\n\
             custom_compression_filter = if test -e {0}/tried; then cat; else touch {0}/tried; exit 1; fi\n",
            root.display()
        );
        fs::write(root.join("barman.conf"), text).unwrap();
        let name = "000000010000000000000004";
        fs::create_dir_all(root.join("s/incoming")).unwrap();
        fs::write(root.join("s/incoming").join(name), "x").unwrap();
        let config = Config::load(&root.join("barman.conf"), None).unwrap();
        let ctx = Context {
            progress: &Silent,
            cancel: &Cancel::new(),
            clock: &SystemClock,
        };
        let awaited = Awaited::Segment(name.parse().unwrap());
        let server = Server::new(config.server("s").unwrap().clone());
        let limit = Duration::from_millis(100);
        assert!(wait(&server, &awaited, Some(limit), &ctx).unwrap());
    }
}
