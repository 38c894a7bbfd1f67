//! One scenario: a recorded run, whose calls are the points and whose order is checked, then a fault at each point.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::strace::order::{self, Places, Violation};
use testkit::strace::{self, Call, Outcome};
use testkit::{Finished, dirs, interrupt_flag};

use super::points::{self, Kind, Plan, Point, Side};
use super::scenario::{Scenario, Scene};
use super::{disk, kept, planted, readers};

/// Fewer faults than this that did not happen are chance.
const FEW: usize = 20;

/// What to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our program.
    pub program: PathBuf,
    /// Which faults.
    pub kinds: Vec<Kind>,
    /// Which calls; all if empty.
    pub calls: Vec<String>,
    /// Only the call of this number.
    pub at: Option<u32>,
    /// Only the points of the threads beside the first.
    pub others: bool,
    /// Only every so manieth point.
    pub stride: usize,
    /// How much bulk of each kind; everything if none.
    pub bulk: Option<usize>,
    /// When to stop beginning new runs.
    pub budget: Option<Duration>,
    /// Whether the checks are checked: planted faults, Barman's own.
    pub plant: bool,
    /// What decides which points are tried first.
    pub seed: u64,
    /// How many runs at a time.
    pub jobs: usize,
    /// Where the directories of broken runs are kept.
    pub keep: PathBuf,
}

/// Something that does not hold.
#[derive(Debug)]
pub struct Broken {
    /// The fault: options that repeat it.
    pub options: String,
    /// The invariant.
    pub invariant: String,
    /// What is wrong.
    pub why: String,
    /// Where the directory is kept.
    pub kept: PathBuf,
}

impl From<readers::Unread> for Broken {
    fn from(unread: readers::Unread) -> Self {
        Self {
            options: unread.label,
            invariant: "Barman can read the catalogue".to_owned(),
            why: unread.why,
            kept: unread.kept,
        }
    }
}

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls that touch the scenario's files, by name.
    pub calls: BTreeMap<String, usize>,
    /// By kind of fault and call: how many were injected, and how many there are.
    pub injected: BTreeMap<(Kind, String), (usize, usize)>,
    /// How many points were to be tried.
    pub chosen: usize,
    /// Faults whose call was not made this time, or hit another file.
    pub missed: usize,
    /// How many catalogues Barman has read.
    pub read: usize,
    /// What broke.
    pub broken: Vec<Broken>,
    /// What the order checker has found.
    pub violations: Vec<Violation>,
    /// Where the run is kept whose order is wrong.
    pub kept: Option<PathBuf>,
    /// Faults that were planted in the recorded calls and found, by rule.
    pub planted: BTreeMap<&'static str, usize>,
    /// Damage that was planted on disk and seen by the invariants.
    pub damages: usize,
    /// What the order checker has found in Barman's calls, by rule, if it was asked.
    pub barman: Option<BTreeMap<&'static str, Vec<Violation>>>,
}

impl Report {
    /// Whether everything held.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty() && self.violations.is_empty() && !self.is_idle() && !self.misses_much()
    }

    /// Whether so many faults did not happen that the campaign says little: more than half. Of a few this may be
    /// chance.
    pub fn misses_much(&self) -> bool {
        self.missed >= FEW && self.missed > self.tried()
    }

    /// How many faults were injected.
    pub fn tried(&self) -> usize {
        self.injected.values().map(|(done, _)| done).sum()
    }

    /// Whether there were points, and none was tried: nothing is proved then.
    pub fn is_idle(&self) -> bool {
        self.chosen > 0 && self.tried() == 0
    }
}

/// A prepared scenario that one thread works with.
struct Site {
    scene: Box<dyn Scene>,
    saved: PathBuf,
    oracle: readers::Oracle,
    /// The state after an undisturbed run.
    after: BTreeMap<String, String>,
    /// The state after an undisturbed run and the next one.
    settled: BTreeMap<String, String>,
}

impl Site {
    fn new(scenario: &Scenario, settings: &Settings) -> Result<Self> {
        let scene = (scenario.build)(&settings.program).context("prepare the scenario")?;
        let saved = scene.sandbox().dir().join("saved");
        disk::copy(&scene.sandbox().home(), &saved)?;
        Ok(Self {
            scene,
            saved,
            oracle: readers::Oracle::new(&settings.keep, scenario.name)?,
            after: BTreeMap::new(),
            settled: BTreeMap::new(),
        })
    }

    /// Puts everything back. PostgreSQL may be delivering WAL meanwhile, so the directory is exchanged as a whole.
    fn reset(&mut self) -> Result<()> {
        let sandbox = self.scene.sandbox();
        let (home, next, old) = (
            sandbox.home(),
            sandbox.dir().join("next"),
            sandbox.dir().join("old"),
        );
        disk::copy(&self.saved, &next)?;
        fs::rename(&home, &old).context("put the home away")?;
        fs::rename(&next, &home).context("put the home back")?;
        fs::remove_dir_all(&old).context("remove the old home")?;
        self.scene.reset().context("put the scenario back")
    }

    /// A run that nothing disturbs, recorded; with `plant`, also how much planted damage its invariants have seen.
    fn undisturbed(&mut self, plant: bool) -> Result<(Vec<Call>, usize)> {
        self.reset()?;
        let log = self.scene.sandbox().dir().join("recorded.log");
        let barman = self.scene.sandbox().barman()?;
        let done = self
            .scene
            .run(&strace::recorded(&barman, &strace::order_calls(), &log))?;
        ensure!(
            !(done.stderr.contains("ptrace") && done.stderr.contains("not permitted")),
            "strace may not trace programs here: allow ptrace (of a container with --cap-add=SYS_PTRACE, else with \
             `sysctl kernel.yama.ptrace_scope=1`)\n{done}"
        );
        ensure!(done.code == Some(0), "without any fault: {done}");
        self.check("without any fault")?;
        self.after = self.scene.state()?;
        let damages = if plant {
            planted::damage::find_all(self.scene.as_ref())?
        } else {
            0
        };
        self.scene
            .again(&barman)
            .context("the run after an undisturbed one")?;
        self.check("after two undisturbed runs")?;
        self.settled = self.scene.state()?;
        Ok((strace::calls(&log)?, damages))
    }

    fn places(&self) -> Places {
        Places {
            home: self.scene.sandbox().home(),
            before: Some(self.saved.clone()),
            destination: self.scene.destination(),
            segment_size: self.scene.segment_size(),
            mounts: order::mounts(),
        }
    }

    /// Whether all is as an undisturbed run leaves it, apart from what the disturbed one has announced.
    fn as_after(&self, expected: &BTreeMap<String, String>, done: &Finished) -> Result<()> {
        let but = |state: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let kept = state
                .iter()
                .filter(|(key, _)| !self.scene.is_announced(done, key));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        same(&but(expected), &but(&self.scene.state()?))
    }

    fn check(&self, when: &str) -> Result<()> {
        for (name, held) in self.scene.invariants() {
            held.with_context(|| format!("{when}, \"{name}\" does not hold"))?;
        }
        Ok(())
    }

    /// One fault and what follows.
    fn torture(&mut self, point: &Point, plan: &Plan) -> Result<Tortured> {
        self.reset()?;
        let log = self.scene.sandbox().dir().join("fault.log");
        let injection = point.injection(&plan.slow, &log);
        let barman = self.scene.sandbox().barman()?;
        let done = self.scene.run(&strace::injected(&barman, &injection))?;
        // What it may have started in the background would be gone after a crash, and must not work on.
        if point.kind == Kind::Kill {
            dirs::kill_marked(self.scene.sandbox().dir());
        }
        let calls = strace::calls(&log)?;
        let hit = calls.iter().any(|call| {
            call.name == point.call
                && matches!(call.outcome, Outcome::Injected | Outcome::Unfinished)
                && points::touched(call).is_some_and(|path| self.concerns(&path))
        });
        let mut found = Tortured {
            hit,
            broken: Vec::new(),
            unread: Vec::new(),
            done,
        };
        if hit && point.is_failing_sync() {
            let held = relies_on_nothing_failed(&calls, &self.places(), found.done.code == Some(0));
            if let Err(error) = held {
                let name = "what was not synced is not relied on".to_owned();
                let why = format!("{error:#}\n{}", found.done);
                found.broken.push((name, why));
            }
        }
        self.judge(point, &mut found);
        Ok(found)
    }

    /// Whether this path is one of the scenario's.
    fn concerns(&self, path: &Path) -> bool {
        path.starts_with(self.scene.sandbox().home())
            || self
                .scene
                .destination()
                .is_some_and(|destination| path.starts_with(destination))
    }

    fn judge(&mut self, point: &Point, found: &mut Tortured) {
        let mut broken = Vec::new();
        let mut note = |name: &str, held: Result<()>| {
            if let Err(error) = held {
                broken.push((name.to_owned(), format!("{error:#}")));
            }
        };
        note("it does not panic", no_panic(&found.done));
        for (name, held) in self.scene.invariants() {
            note(name, held);
        }
        note("we can read the catalogue", readers::ours(self.scene.sandbox()));
        if found.done.code == Some(0) && self.scene.success_is_complete() {
            let held = self.as_after(&self.after, &found.done);
            note("exit code 0 is true", held);
        }
        let server = self.scene.sandbox().server_dir();
        match self.oracle.collect(&server, &point.options()) {
            Ok(unread) => found.unread = unread,
            Err(error) => note("Barman can read the catalogue", Err(error)),
        }
        let barman = self.scene.sandbox().barman();
        note(
            "the next run works",
            barman.and_then(|barman| self.scene.again(&barman)),
        );
        for (name, held) in self.scene.invariants() {
            note(&format!("{name} (after the next run)"), held);
        }
        note("the next run repairs", self.as_after(&self.settled, &found.done));
        found.broken.extend(broken);
    }
}

struct Tortured {
    hit: bool,
    done: Finished,
    /// Invariant, reason.
    broken: Vec<(String, String)>,
    /// What Barman could not read meanwhile, of this fault or of earlier ones.
    unread: Vec<readers::Unread>,
}

/// After a sync that failed: the rules of the order hold as if it had not been made. Only a run that says that all is well
/// must have put everything on stable storage in the end.
fn relies_on_nothing_failed(calls: &[Call], places: &Places, says_well: bool) -> Result<()> {
    let found = order::check(calls, places)
        .into_iter()
        .find(|violation| says_well || violation.rule != order::AT_END);
    match found {
        Some(violation) => bail!("a sync has failed, and the program goes on all the same: {violation}"),
        None => Ok(()),
    }
}

fn no_panic(done: &Finished) -> Result<()> {
    ensure!(
        done.code != Some(101) && !done.stderr.contains("panicked at"),
        "{done}"
    );
    Ok(())
}

fn same(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Result<()> {
    match disk::difference(expected, found) {
        Some(difference) => bail!("not as after an undisturbed run:\n{difference}"),
        None => Ok(()),
    }
}

/// Runs a scenario.
///
/// # Errors
/// It could not be prepared or run. What broke is in the report.
pub fn run(scenario: &Scenario, settings: &Settings, progress: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    let mut site = Site::new(scenario, settings)?;
    let (calls, damages) = site.undisturbed(settings.plant)?;
    let violations = order::check(&calls, &site.places());
    let kept = match violations.is_empty() {
        true => None,
        false => Some(keep(settings, scenario, "order", &site)?),
    };
    let mut report = Report {
        damages,
        kept,
        ..Report::default()
    };
    if settings.plant && violations.is_empty() {
        let planted = planted::calls::find_all(&calls, &site.places(), scenario.rules);
        report.planted = match planted {
            Ok(planted) => planted,
            Err(error) => {
                let kept = keep(settings, scenario, "planted", &site)?;
                return Err(error.context(format!("the record is kept in {}", kept.display())));
            }
        };
    }
    if let Some(known) = scenario.barman.filter(|_| settings.plant) {
        site.reset()?;
        let places = site.places();
        let mut found: BTreeMap<&'static str, Vec<Violation>> = BTreeMap::new();
        for violation in planted::barman::run(site.scene.as_mut(), &places, known)? {
            found.entry(violation.rule.name).or_default().push(violation);
        }
        report.barman = Some(found);
    }
    report.violations = violations;
    let plan = points::plan(&calls, &|path| site.concerns(path), &|path| {
        site.scene.is_bulk(path)
    });
    let chosen = choose(&plan, settings);
    report.chosen = chosen.len();
    report.calls = plan.calls.clone();
    for point in plan
        .points
        .iter()
        .filter(|point| settings.kinds.contains(&point.kind))
    {
        let key = (point.kind, point.call.clone());
        report.injected.entry(key).or_default().1 += 1;
    }
    ensure!(
        !(chosen.is_empty() && settings.at.is_some()),
        "there is no such call: --call and --at name one that an undisturbed run makes"
    );
    let total = chosen.len();
    let queue = Mutex::new(VecDeque::from(chosen));
    let shared = Mutex::new(report);
    let start = Instant::now();
    let work = |mut site: Site| {
        work(
            scenario, settings, &plan, &queue, &shared, start, total, &mut site, progress,
        )
    };
    thread::scope(|scope| -> Result<()> {
        let others: Vec<_> = (1..settings.jobs.min(total))
            .map(|_| {
                scope.spawn(|| {
                    let mut site = Site::new(scenario, settings)?;
                    site.undisturbed(false)?;
                    work(site)
                })
            })
            .collect();
        let mut outcome = work(site);
        for other in others {
            let other = other
                .join()
                .map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
            outcome = outcome.and(other);
        }
        outcome
    })?;
    Ok(shared.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn choose(plan: &Plan, settings: &Settings) -> Vec<Point> {
    let asked = |point: &&Point| {
        settings.kinds.contains(&point.kind)
            && (settings.calls.is_empty() || settings.calls.contains(&point.call))
            && settings.at.is_none_or(|at| at == point.at)
            && (!settings.others || point.side == Side::Others)
            && !(settings.at.is_some() && !settings.others && point.side == Side::Others)
    };
    let points = plan.points.iter().filter(asked).cloned().collect();
    let points = points::thinned(points, settings.bulk, settings.stride, settings.seed);
    points::shuffled(points, settings.seed)
}

#[allow(clippy::too_many_arguments, reason = "what the threads of one campaign share")]
fn work(
    scenario: &Scenario,
    settings: &Settings,
    plan: &Plan,
    queue: &Mutex<VecDeque<Point>>,
    shared: &Mutex<Report>,
    start: Instant,
    total: usize,
    site: &mut Site,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let report = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        ensure!(!interrupt_flag().load(Ordering::Relaxed), "interrupted");
        if settings.budget.is_some_and(|budget| start.elapsed() >= budget) {
            break;
        }
        let (point, left) = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(point) = queue.pop_front() else { break };
            (point, queue.len())
        };
        progress(&format!(
            "{}: {} of {total}, {} {} {}",
            scenario.name,
            total - left,
            point.kind.name(),
            point.call,
            point.at
        ));
        let found = match site.torture(&point, plan) {
            Ok(found) => found,
            Err(error) => {
                ensure!(!interrupt_flag().load(Ordering::Relaxed), "interrupted");
                let kept = keep(settings, scenario, &point.options(), site)?;
                report().broken.push(Broken {
                    options: point.options(),
                    invariant: "it ends".to_owned(),
                    why: format!("{error:#}"),
                    kept,
                });
                continue;
            }
        };
        {
            let mut report = report();
            if found.hit {
                let key = (point.kind, point.call.clone());
                report.injected.entry(key).or_default().0 += 1;
            } else {
                report.missed += 1;
            }
        }
        note(scenario, settings, site, &point, found, shared)?;
    }
    let unread = site.oracle.flush()?;
    let mut report = report();
    report.read += site.oracle.read;
    report.broken.extend(unread.into_iter().map(Broken::from));
    Ok(())
}

fn note(
    scenario: &Scenario,
    settings: &Settings,
    site: &Site,
    point: &Point,
    found: Tortured,
    shared: &Mutex<Report>,
) -> Result<()> {
    let unread = found.unread.into_iter().map(Broken::from);
    shared
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .broken
        .extend(unread);
    if found.broken.is_empty() {
        return Ok(());
    }
    let kept = keep(settings, scenario, &point.options(), site)?;
    fs::write(kept.join("output.txt"), found.done.to_string())?;
    let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
    for (invariant, why) in found.broken {
        report.broken.push(Broken {
            options: point.options(),
            invariant,
            why,
            kept: kept.clone(),
        });
    }
    Ok(())
}

/// Keeps the directory of a run that broke something.
fn keep(settings: &Settings, scenario: &Scenario, what: &str, site: &Site) -> Result<PathBuf> {
    let to = kept::make(&settings.keep, scenario.name, what)?;
    let dir = site.scene.sandbox().dir();
    // PostgreSQL may be delivering meanwhile: what vanishes is not missed.
    let _ = disk::copy(&dir.join("home"), &to.join("home"));
    for file in ["barman.conf", "barman.log", "recorded.log", "fault.log"] {
        let _ = fs::copy(dir.join(file), to.join(file));
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `xlog.db` is replaced; what is between the write and the rename, and at the end, is put in.
    fn replaced(sync: &str, end: &str) -> Vec<Call> {
        strace::parse(&format!(
            "1 openat(AT_FDCWD</>, \"/h/main/wals/.new\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</h/main/wals/.new>\n\
             1 write(3</h/main/wals/.new>, \"x\", 1) = 1\n{sync}\
             1 rename(\"/h/main/wals/.new\", \"/h/main/wals/main-xlog.db\") = 0\n{end}"
        ))
    }

    #[test]
    fn a_program_that_does_not_care_about_a_failed_sync_is_found() {
        let places = Places {
            home: "/h".into(),
            ..Places::default()
        };
        let held = |calls: &[Call], says_well| relies_on_nothing_failed(calls, &places, says_well).is_ok();
        let file = "1 fsync(3</h/main/wals/.new>) = 0\n";
        let directory = "1 fsync(4</h/main/wals>) = 0\n";
        let failed = |line: &str| line.replace("= 0", "= -1 EIO (Input/output error) (INJECTED)");
        assert!(held(&replaced(file, directory), true));
        assert!(!held(&replaced(&failed(file), directory), true));
        assert!(!held(&replaced(&failed(file), directory), false));
        // The last sync has failed: whoever says so has not claimed anything.
        assert!(!held(&replaced(file, &failed(directory)), true));
        assert!(held(&replaced(file, &failed(directory)), false));
    }

    #[test]
    fn a_campaign_that_tried_nothing_is_not_good() {
        let mut report = Report {
            chosen: 3,
            ..Report::default()
        };
        report.injected.insert((Kind::Kill, "fsync".to_owned()), (0, 3));
        assert!(report.is_idle() && !report.is_good());
        report.injected.insert((Kind::Eio, "fsync".to_owned()), (1, 3));
        assert!(!report.is_idle() && report.is_good());
    }

    #[test]
    fn a_campaign_that_misses_much_is_not_good() {
        for (missed, tried, good) in [
            (19, 1, true),
            (20, 20, true),
            (20, 19, false),
            (100, 100, true),
            (101, 100, false),
        ] {
            let mut report = Report {
                missed,
                chosen: missed + tried,
                ..Report::default()
            };
            report
                .injected
                .insert((Kind::Kill, "fsync".to_owned()), (tried, missed + tried));
            assert_eq!(report.is_good(), good, "{missed} missed, {tried} tried");
        }
    }
}
