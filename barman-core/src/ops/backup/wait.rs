//! Waiting for the WAL that makes a backup consistent: as long as the user wants (`--wait`), or for a moment, because a
//! server that archives delivers it just when its backup has ended. By then the status on disk is WAITING_FOR_WALS.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use barman_catalog::BackupInfo;
use barman_pg::SqlClient;
use barman_pg::sql::ArchiverStats;
use barman_wal::{SegmentName, WalFileName};

use super::failed::chain;
use super::options::Wait;
use super::sequence::TARGET;
use super::{archiving, consistency};
use crate::context::{CancelCause, Context, Level};
use crate::ops::archive::Patience;
use crate::server::Server;

/// Pauses between two looks, growing from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// How long a backup waits for the server's archiver without being told to. PostgreSQL itself would wait for ever.
const ARCHIVER: Duration = Duration::from_secs(60);
/// The same for a receiver, which cannot be seen at work.
const RECEIVER: Duration = Duration::from_secs(5);

/// How long the backup history file is waited for when the WAL is there.
const HISTORY: Duration = Duration::from_secs(1);
/// How often the server is asked what it has archived.
const ASK: Duration = Duration::from_secs(1);

/// How a wait for a file of the archive ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Archived,
    /// The sender has sent it, and it is not here.
    Elsewhere,
    /// It did not come in time.
    Late,
    /// Somebody asked to stop; the request is taken back.
    Stopped(CancelCause),
    /// WAL cannot be archived.
    Broken(String),
}

/// What the server itself is about to deliver when its backup has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nothing: it does not archive.
    Nothing,
    /// The WAL: a standby that archives.
    Wal,
    /// The WAL, and the backup history file after it: a primary that archives.
    WalAndHistory,
}

/// Archives what comes until `there` says that all is there, or until `sent` says that nothing more is to be expected.
fn until_archived(
    server: &Server,
    there: &mut dyn FnMut() -> bool,
    limit: Option<Duration>,
    sent: &mut dyn FnMut() -> bool,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> Outcome {
    let begun = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        if let Some(cause) = ctx.cancel.cause() {
            ctx.cancel.reset();
            return Outcome::Stopped(cause);
        }
        // Before the look: what was sent by now is found by it.
        let sent = sent();
        let late = limit.is_some_and(|limit| begun.elapsed() >= limit);
        if sent || late {
            patience.try_all();
        }
        let archived = archiving::run(server, archiving::Busy::Silent, patience, ctx);
        if there() {
            return Outcome::Archived;
        }
        if ctx.cancel.is_requested() {
            continue;
        }
        if let Err(reason) = archived {
            return Outcome::Broken(reason);
        }
        if sent {
            return Outcome::Elsewhere;
        }
        if late {
            return Outcome::Late;
        }
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        ctx.clock.sleep(left.map_or(pause, |left| pause.min(left)));
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Ctrl-C ends only the waiting and lets the command go on; any other cause is the caller's business.
fn after_stop(cause: CancelCause, end: SegmentName, ctx: &Context<'_>) -> Option<CancelCause> {
    if cause != CancelCause::Interrupt {
        return Some(cause);
    }
    let line = format!("Got CTRL-C. Continuing without waiting for '{end}' to be archived");
    ctx.say(Level::Info, TARGET, &line);
    None
}

/// `--wait`: archives WAL until the last file of the backup is there, then evaluates the backup (the caller saves it).
/// Returns who asked to stop, but for Ctrl-C.
pub(super) fn for_end(
    server: &Server,
    info: &mut BackupInfo,
    wait: Wait,
    patience: &mut Patience,
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
    let there = &mut || path.exists();
    let stopped = match until_archived(server, there, limit, &mut || false, patience, ctx) {
        Outcome::Archived | Outcome::Elsewhere => None,
        Outcome::Stopped(cause) => after_stop(cause, end, ctx),
        Outcome::Broken(reason) => {
            ctx.say(
                Level::Error,
                TARGET,
                &format!("Cannot archive WAL while waiting for {end}: {reason}"),
            );
            None
        }
        Outcome::Late => {
            let seconds = limit.unwrap_or_default().as_secs();
            let line = format!("The WAL file {end} has not been received in {seconds} seconds");
            ctx.say(Level::Error, TARGET, &line);
            None
        }
    };
    if let Err(error) = consistency::evaluate(server.layout(), info) {
        log::warn!(target: TARGET, "cannot read the WAL archive: {}", chain(&error));
    }
    stopped
}

/// Without `--wait`, after a backup of a server that archives: gives the last WAL file of the backup the time that
/// PostgreSQL takes to deliver it, as PostgreSQL itself would before it ended the backup. What does not come is left to
/// `cron`. Returns who asked to stop, but for Ctrl-C.
pub(super) fn for_delivery(
    server: &Server,
    info: &BackupInfo,
    delivery: Delivery,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> Option<CancelCause> {
    let end = info.end_wal.filter(|_| delivery != Delivery::Nothing)?;
    let limit = if server.config().archiver {
        ARCHIVER
    } else {
        RECEIVER
    };
    let history = (server.config().archiver && delivery == Delivery::WalAndHistory)
        .then(|| history_file(info, end))
        .flatten();
    let awaited = Awaited {
        end,
        history: history.map(|name| server.layout().wal_path(&name)),
        limit,
    };
    delivered(server, &awaited, patience, ctx)
}

/// The backup history file that a primary archives with the WAL of a backup (PostgreSQL, `do_pg_backup_stop`).
fn history_file(info: &BackupInfo, end: SegmentName) -> Option<WalFileName> {
    Some(WalFileName::BackupHistory {
        segment: SegmentName {
            timeline: end.timeline,
            ..info.begin_wal?
        },
        offset: u32::try_from(info.begin_offset?).ok()?,
    })
}

/// What a server is to deliver.
struct Awaited {
    end: SegmentName,
    /// Where the backup history file will be.
    history: Option<PathBuf>,
    limit: Duration,
}

fn delivered(
    server: &Server,
    awaited: &Awaited,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> Option<CancelCause> {
    let Awaited { end, history, limit } = awaited;
    let (end, limit) = (*end, *limit);
    let path = server.layout().wal_path(&end.into());
    let mut complete_since = None;
    let mut there = || {
        if !path.exists() {
            return false;
        }
        // Nobody needs it to restore: it is only given a chance.
        history.as_ref().is_none_or(|history| history.exists())
            || complete_since.get_or_insert_with(Instant::now).elapsed() >= HISTORY.min(limit)
    };
    if there() {
        return None;
    }
    log::debug!(target: TARGET, "waiting for PostgreSQL to deliver the WAL file {end}");
    let mut archiver = Archiver::new(server, end);
    let sent = &mut || archiver.has_sent();
    match until_archived(server, &mut there, Some(limit), sent, patience, ctx) {
        Outcome::Archived | Outcome::Elsewhere => None,
        Outcome::Stopped(cause) => after_stop(cause, end, ctx),
        Outcome::Broken(reason) => {
            let line = format!("Cannot archive WAL after the backup: {reason}");
            ctx.say(Level::Error, TARGET, &line);
            None
        }
        Outcome::Late => {
            if server.config().archiver && !path.exists() {
                let line = format!(
                    "PostgreSQL has not archived the WAL file {end} within {} seconds{}",
                    limit.as_secs(),
                    archiver.failure()
                );
                ctx.say(Level::Warning, TARGET, &line);
            }
            None
        }
    }
}

/// The archiver of the server, as the server tells of it. What cannot be asked is not known.
struct Archiver<'a> {
    server: &'a Server,
    awaited: SegmentName,
    sql: Option<SqlClient>,
    next: Instant,
}

impl<'a> Archiver<'a> {
    fn new(server: &'a Server, awaited: SegmentName) -> Self {
        Self {
            server,
            awaited,
            sql: None,
            next: Instant::now() + ASK,
        }
    }

    fn stats(&mut self) -> Option<ArchiverStats> {
        if self.sql.as_ref().is_none_or(SqlClient::is_lost) {
            self.sql = self.server.connect_sql().ok();
        }
        self.sql.as_mut()?.archiver_stats().ok()
    }

    /// Whether its `archive_command` has done with the awaited file; asked now and then.
    fn has_sent(&mut self) -> bool {
        if Instant::now() < self.next {
            return false;
        }
        self.next = Instant::now() + ASK;
        let last = self.stats().and_then(|stats| stats.last_archived_wal);
        last.is_some_and(|last| is_past(&last, self.awaited))
    }

    /// What is wrong with it, to be put behind a complaint.
    fn failure(&mut self) -> String {
        match self.stats() {
            Some(stats) if stats.is_archiving == Some(false) => stats
                .last_failed_wal
                .map(|name| format!(": archiving {name} has failed, PostgreSQL's log says why"))
                .unwrap_or_default(),
            _ => String::new(),
        }
    }
}

/// Whether a server whose archiver did `last` at last has archived this segment: it takes them in the order of their
/// names.
fn is_past(last: &str, segment: SegmentName) -> bool {
    matches!(
        last.parse(),
        Ok(WalFileName::Segment(last) | WalFileName::BackupHistory { segment: last, .. }) if last >= segment
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Mutex;

    use barman_catalog::BackupMode;

    use super::*;
    use crate::config::Config;
    use crate::context::{Cancel, Message, Progress, SystemClock};

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn message(&self, message: Message<'_>) {
            let mut heard = self.0.lock().unwrap();
            heard.push(format!("{:?} {}", message.level, message.text));
        }
    }

    const END: &str = "000000010000000000000004";

    /// A server in this directory that nobody can connect to.
    fn server_in(directory: &Path, options: &str) -> Server {
        let conf = directory.join("barman.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[s]\nconninfo = host={}\n{options}\n",
            directory.display(),
            directory.display()
        );
        fs::write(&conf, text).unwrap();
        for part in ["incoming", "streaming", "wals"] {
            fs::create_dir_all(directory.join("s").join(part)).unwrap();
        }
        Server::new(Config::load(&conf, None).unwrap().server("s").unwrap().clone())
    }

    /// What a wait of this length answers and says, while `meanwhile` happens.
    fn wait(
        options: &str,
        history: Option<&str>,
        limit: Duration,
        meanwhile: impl FnOnce(&Path, &Cancel) + Send,
    ) -> (Option<CancelCause>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let server = server_in(directory.path(), options);
        let (cancel, heard) = (Cancel::new(), Heard::default());
        let ctx = Context {
            progress: &heard,
            cancel: &cancel,
            clock: &SystemClock,
        };
        let end: SegmentName = END.parse().unwrap();
        let path = server.layout().wal_path(&end.into());
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| meanwhile(&path, &cancel));
            let awaited = Awaited {
                end,
                history: history.map(|name| server.layout().wal_path(&name.parse().unwrap())),
                limit,
            };
            delivered(&server, &awaited, &mut Patience::default(), &ctx)
        });
        (outcome, heard.0.into_inner().unwrap())
    }

    #[test]
    fn the_last_file_is_given_a_moment_and_no_more() {
        let long = Duration::from_secs(60);
        let arrives = |path: &Path, _: &Cancel| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        assert_eq!(wait("archiver = on", None, long, arrives), (None, vec![]));
        let begun = Instant::now();
        let history = Some("000000010000000000000003.00000028.backup");
        assert_eq!(wait("archiver = on", history, long, arrives), (None, vec![]));
        assert!(
            (HISTORY..long).contains(&begun.elapsed()),
            "the history file has its chance"
        );
        let short = Duration::from_millis(30);
        let late = format!("Warning PostgreSQL has not archived the WAL file {END} within 0 seconds");
        assert_eq!(wait("archiver = on", None, short, |_, _| {}), (None, vec![late]));
        // That a receiver has not got it is told by the status alone.
        let streams = "streaming_archiver = on\nslot_name = s";
        assert_eq!(wait(streams, None, short, |_, _| {}), (None, vec![]));
        let stop = |cause| move |_: &Path, cancel: &Cancel| cancel.request(cause);
        let goes_on = format!("Info Got CTRL-C. Continuing without waiting for '{END}' to be archived");
        assert_eq!(
            wait("archiver = on", None, long, stop(CancelCause::Interrupt)),
            (None, vec![goes_on])
        );
        assert_eq!(
            wait("archiver = on", None, long, stop(CancelCause::Terminate)),
            (Some(CancelCause::Terminate), vec![])
        );
    }

    #[test]
    fn what_failed_is_tried_once_more_before_the_wait_ends() {
        let long = Duration::from_secs(600);
        for (limit, rounds) in [(long, 2), (Duration::from_millis(100), 100_000)] {
            let directory = tempfile::tempdir().unwrap();
            // It works from the second time on.
            let tried = directory.path().join("tried");
            let options = format!(
                "archiver = on\ncompression = custom\ncustom_decompression_filter = cat\n\
                 custom_compression_filter = if test -e {0}; then cat; else touch {0}; exit 1; fi",
                tried.display()
            );
            let server = server_in(directory.path(), &options);
            fs::write(directory.path().join("s/incoming").join(END), "x").unwrap();
            let (cancel, heard) = (Cancel::new(), Heard::default());
            let ctx = Context {
                progress: &heard,
                cancel: &cancel,
                clock: &SystemClock,
            };
            let path = server.layout().wal_path(&END.parse().unwrap());
            let (mut there, mut asked) = (|| path.exists(), 0);
            let mut sent = || {
                asked += 1;
                asked >= rounds
            };
            let mut patience = Patience::default();
            let outcome = until_archived(&server, &mut there, Some(limit), &mut sent, &mut patience, &ctx);
            assert_eq!(outcome, Outcome::Archived, "{:?}", heard.0.into_inner().unwrap());
        }
    }

    #[test]
    fn the_history_file_begins_with_the_backup_and_has_its_last_timeline() {
        let mut info = BackupInfo::new(
            "20261121T044852".parse().unwrap(),
            "s",
            Some(BackupMode::Postgres),
        );
        let end = "000000020000000000000004".parse().unwrap();
        assert_eq!(history_file(&info, end), None);
        info.begin_wal = Some("000000010000000000000003".parse().unwrap());
        info.begin_offset = Some(0x28);
        let name = history_file(&info, end).unwrap().to_string();
        assert_eq!(name, "000000020000000000000003.00000028.backup");
    }

    #[test]
    fn what_the_server_has_archived_is_not_awaited_any_more() {
        let end = END.parse().unwrap();
        for (last, past) in [
            ("000000010000000000000003", false),
            ("000000010000000000000003.00000028.backup", false),
            (END, true),
            ("000000010000000000000004.00000028.backup", true),
            ("000000010000000000000005", true),
            ("000000020000000000000004", true),
            ("00000002.history", false),
            ("000000010000000000000004.partial", false),
            ("", false),
        ] {
            assert_eq!(is_past(last, end), past, "{last}");
        }
    }
}
