//! One run: its archivers one after the other, the files of each staged in parallel and committed in order.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use barman_catalog::xlogdb::CustomMagic;
use barman_wal::WalFileName;
use barman_wal::durable;
use jiff::Timestamp;

use super::commit::{Done, Item};
use super::error::{ArchiveError, Stop};
use super::patience::Patience;
use super::queue::{self, Batch, Source, Waiting};
use super::rejects::{self, Reason};
use super::stage::{Staged, Storage};
use super::{ArchiveReport, Occasion, TARGET, hook, repair};
use crate::config::ServerConfig;
use crate::context::{Context, Level};

/// More threads than this do not make a disk quicker.
const MOST_THREADS: usize = 16;
/// How many staged files one thread may be ahead.
const AHEAD: usize = 2;
/// How many files are committed together at most.
const COMMIT: usize = 64;
/// How often a wait looks whether to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// The state of a run.
pub(super) struct Run<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) storage: &'a Storage<'a>,
    pub(super) custom: CustomMagic,
    pub(super) occasion: Occasion,
    pub(super) ctx: &'a Context<'a>,
    pub(super) report: ArchiveReport,
    /// Everything the catalogue lists, read when it is first needed.
    pub(super) listed: Option<std::collections::HashSet<WalFileName>>,
    /// What earlier runs of the same command failed at.
    pub(super) patience: &'a mut Patience,
    /// What is to be said before the first line about a file.
    header: Option<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        config: &'a ServerConfig,
        storage: &'a Storage<'a>,
        custom: CustomMagic,
        occasion: Occasion,
        patience: &'a mut Patience,
        ctx: &'a Context<'a>,
    ) -> Self {
        Self {
            config,
            storage,
            custom,
            occasion,
            ctx,
            report: ArchiveReport::default(),
            listed: None,
            patience,
            header: None,
        }
    }

    pub(super) fn into_report(self) -> ArchiveReport {
        self.report
    }

    /// Finishes what an earlier run left undone.
    pub(super) fn repair(&mut self) -> Result<(), ArchiveError> {
        let added = repair::complete_tail(self.storage, &self.custom, &self.ctx.cancel.flag())?;
        self.report.repaired = u64::try_from(added).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Archives what waits in one directory.
    pub(super) fn archiver(
        &mut self,
        source: Source,
        directory: &Path,
        limit: u64,
    ) -> Result<(), ArchiveError> {
        if self.patience.is_stopped(source) {
            return Ok(());
        }
        let entries = queue::list(directory).map_err(|error| ArchiveError::queue(directory, error))?;
        let batch = queue::choose(source, entries, limit, &|file| self.patience.rests(source, file));
        self.announce(source, &batch);
        self.report.left_by_limit += to_u64(batch.ready - batch.files.len());
        let before = (self.report.archived, self.report.already_archived);
        self.sweep(&batch);
        let result = self.process(source, directory, &batch.files);
        self.header = None;
        if (self.report.archived, self.report.already_archived) != before {
            // Not for safety: a source that comes back with a crash would be found to be archived.
            if let Err(error) = durable::fsync_dir(directory) {
                log::warn!(target: TARGET, "{error}");
            }
        }
        match result {
            Ok(()) => {
                self.reject_unknown(directory, &batch);
                Ok(())
            }
            Err(Stop::Hook(abort)) => {
                self.report.stopped_by_hook = true;
                self.patience.stopped(source);
                log::warn!(target: TARGET, "archiving from {} stops: {abort}", source.title());
                Ok(())
            }
            Err(Stop::Error(error)) => Err(error),
        }
    }

    fn announce(&mut self, source: Source, batch: &Batch) {
        let config = self.config;
        let (server, count, total) = (&config.name, batch.files.len(), batch.total);
        let verbose = self.occasion == Occasion::Command;
        if verbose || count > 0 {
            // An empty run never has it, whatever is passed over.
            let suffix = if count > 0 && total > count {
                format!(" (batch size: {count})")
            } else {
                String::new()
            };
            let header = format!(
                "Processing xlog segments from {} for {server}{suffix}",
                source.title()
            );
            if verbose {
                self.tell(&header);
            } else {
                // Not above nothing: what is in the queue may all stay there.
                self.header = Some(header);
            }
        }
        if count > 0 {
            log::info!(
                target: TARGET,
                "Found {total} entries from {} for {server}, archiving {count} of {} WAL files",
                source.title(),
                batch.ready
            );
        } else if verbose {
            self.tell("\tno file found");
        }
    }

    /// A line for standard output only.
    pub(super) fn tell(&mut self, text: &str) {
        if let Some(header) = self.header.take() {
            self.ctx.say_console(Level::Info, TARGET, &header);
        }
        self.ctx.say_console(Level::Info, TARGET, text);
    }

    /// A problem of one file: an error of `archive-wal`, a warning of anything else. Told once.
    pub(super) fn complain(&mut self, text: &str) {
        if !self.patience.is_news(text) {
            log::debug!(target: TARGET, "still: {text}");
            return;
        }
        let level = match self.occasion {
            Occasion::Command => Level::Error,
            Occasion::Implicit => Level::Warning,
        };
        self.ctx.say(level, TARGET, text);
    }

    /// Removes what killed runs left in the directories that this run writes to.
    fn sweep(&self, batch: &Batch) {
        let mut last = None;
        for file in &batch.files {
            let target = self.storage.target(&file.name);
            let Some(directory) = target.parent() else {
                continue;
            };
            if last.as_deref() == Some(directory) {
                continue;
            }
            match durable::remove_stale_temporaries(directory) {
                Ok(0) => {}
                Ok(count) => {
                    log::info!(target: TARGET, "removed {count} unfinished files from {}", directory.display());
                }
                Err(error) => log::warn!(target: TARGET, "{error}"),
            }
            last = Some(directory.to_path_buf());
        }
    }

    fn process(&mut self, source: Source, directory: &Path, files: &[Waiting]) -> Result<(), Stop> {
        let processors = barman_wal::processors();
        let threads = processors.min(MOST_THREADS).min(files.len());
        let at_once = if hook::configured(self.config) {
            1
        } else {
            threads.max(1)
        };
        let spare = processors.div_ceil(at_once);
        self.storage.spare_threads.store(spare, Ordering::Relaxed);
        if hook::configured(self.config) {
            return self.one_by_one_with_hooks(source, directory, files);
        }
        if threads > 1 {
            self.parallel(source, directory, files, threads)
        } else {
            self.one_by_one(source, directory, files)
        }
    }

    fn interrupted(&self) -> Stop {
        Stop::Error(ArchiveError::Interrupted {
            server: self.config.name.clone(),
        })
    }

    fn one_by_one(&mut self, source: Source, directory: &Path, files: &[Waiting]) -> Result<(), Stop> {
        let (cancel, now) = (self.ctx.cancel, self.now());
        for file in files {
            if cancel.is_requested() {
                return Err(self.interrupted());
            }
            let item = stage_one(self.storage, source, directory, file, now, &|| {
                cancel.is_requested()
            });
            self.commit(vec![item])?;
        }
        Ok(())
    }

    /// As Barman: the scripts of one file before those of the next, the post scripts whatever has happened.
    fn one_by_one_with_hooks(
        &mut self,
        source: Source,
        directory: &Path,
        files: &[Waiting],
    ) -> Result<(), Stop> {
        let (config, ctx, cancel, now) = (self.config, self.ctx, self.ctx.cancel, self.now());
        for file in files {
            if cancel.is_requested() {
                return Err(self.interrupted());
            }
            let path = queue::path_of(directory, file);
            let target = self.storage.target(&file.name);
            let Ok(Some(facts)) = self.storage.look(source, &path) else {
                // Gone, or not readable: nothing that a script could be told. The commit says what is wrong.
                let item = stage_one(self.storage, source, directory, file, now, &|| {
                    cancel.is_requested()
                });
                self.commit(vec![item])?;
                continue;
            };
            if let Err(abort) = hook::before(config, file, &path, &facts, ctx) {
                let after = hook::after(config, file, &target, &facts, None, abort.to_string(), ctx);
                if ctx.cancel.is_requested() {
                    return Err(self.interrupted());
                }
                after.map_err(Stop::Hook)?;
                return Err(Stop::Hook(abort));
            }
            // A script may have changed the file.
            let item = stage_one(self.storage, source, directory, file, now, &|| {
                cancel.is_requested()
            });
            let mut error = None;
            let result = match self.commit(vec![item]) {
                Ok(mut done) => {
                    let done = done.pop().unwrap_or(Done::Nothing);
                    error = done.hook_error(file, &facts);
                    Ok(done)
                }
                Err(failure) => {
                    error.get_or_insert(failure.to_string());
                    Err(failure)
                }
            };
            let record = match &result {
                Ok(Done::Stored(record)) => Some(record),
                _ => None,
            };
            hook::after(
                config,
                file,
                &target,
                &facts,
                record,
                error.unwrap_or_default(),
                ctx,
            )
            .map_err(|_| self.interrupted())?;
            result?;
        }
        Ok(())
    }

    /// Each thread stages every n-th file; the results are taken in order, as many at a time as are ready.
    fn parallel(
        &mut self,
        source: Source,
        directory: &Path,
        files: &[Waiting],
        threads: usize,
    ) -> Result<(), Stop> {
        let (storage, now) = (self.storage, self.now());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let stop = &stop;
            let mut receivers: Vec<Receiver<Item>> = Vec::new();
            for worker in 0..threads {
                let (sender, receiver) = sync_channel(AHEAD);
                let work = move || {
                    for file in files.iter().skip(worker).step_by(threads) {
                        let stopped = || stop.load(Ordering::Relaxed);
                        if stopped() {
                            return;
                        }
                        let item = stage_one(storage, source, directory, file, now, &stopped);
                        if sender.send(item).is_err() {
                            return;
                        }
                    }
                };
                if thread::Builder::new()
                    .name(format!("archive-{worker}"))
                    .spawn_scoped(scope, work)
                    .is_ok()
                {
                    receivers.push(receiver);
                }
            }
            let result = if receivers.len() == threads {
                self.collect(&receivers, files.len())
            } else {
                // The system gives us fewer threads than asked for: then without them.
                Ok(false)
            };
            stop.store(true, Ordering::Relaxed);
            drop(receivers);
            result
        })
        .and_then(|complete| {
            if complete {
                Ok(())
            } else {
                self.one_by_one(source, directory, files)
            }
        })
    }

    /// `true` when all files are done.
    fn collect(&mut self, receivers: &[Receiver<Item>], count: usize) -> Result<bool, Stop> {
        let mut next = 0;
        while next < count {
            let Some(receiver) = receivers.get(next % receivers.len()) else {
                return Ok(false);
            };
            let first = loop {
                if self.ctx.cancel.is_requested() {
                    return Err(self.interrupted());
                }
                match receiver.recv_timeout(GLANCE) {
                    Ok(item) => break item,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(false),
                }
            };
            next += 1;
            let mut items = vec![first];
            while items.len() < COMMIT
                && next < count
                && let Some(Ok(item)) = receivers.get(next % receivers.len()).map(Receiver::try_recv)
            {
                items.push(item);
                next += 1;
            }
            self.commit(items)?;
        }
        Ok(true)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ctx.clock.now().timestamp()
    }

    fn reject_unknown(&mut self, directory: &Path, batch: &Batch) {
        let mut moved: Vec<String> = Vec::new();
        for name in &batch.unknown {
            let path: PathBuf = directory.join(name);
            let shown = name.to_string_lossy().into_owned();
            match rejects::reject(&path, &self.config.errors_directory, Reason::Unknown, self.now()) {
                Ok(target) => {
                    log::warn!(target: TARGET, "{shown} is no WAL file: moved to {}", target.display());
                    self.report.unknown += 1;
                    moved.push(shown);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !exists(&path) => {
                    log::info!(target: TARGET, "{} not found", path.display());
                }
                Err(error) => {
                    self.report.failed += 1;
                    self.complain(&format!(
                        "{shown} is no WAL file and stays in {}: {error}",
                        directory.display()
                    ));
                }
            }
        }
        if !moved.is_empty() {
            let mut text = format!(
                "Found unknown objects while processing xlog segments for {}. Objects moved to errors directory:",
                self.config.name
            );
            for name in moved {
                text.push_str("\n\t");
                text.push_str(&name);
            }
            for line in text.split('\n') {
                self.tell(line);
            }
        }
    }
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Looks at a file and stages it.
fn stage_one(
    storage: &Storage<'_>,
    source: Source,
    directory: &Path,
    file: &Waiting,
    now: Timestamp,
    cancelled: &dyn Fn() -> bool,
) -> Item {
    let path = queue::path_of(directory, file);
    let (facts, staged) = match storage.look(source, &path) {
        Ok(Some(facts)) => {
            let staged = storage.stage(file, &path, &facts, now, cancelled);
            (Some(facts), staged)
        }
        Ok(None) => (None, Staged::Vanished),
        Err(error) => (None, Staged::Failed(format!("it cannot be read: {error}"))),
    };
    Item {
        source,
        file: file.clone(),
        path,
        facts,
        staged,
    }
}
