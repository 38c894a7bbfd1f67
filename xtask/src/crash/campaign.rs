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
use testkit::strace::{self, Call, FILE_CALLS, Outcome, SEND_CALLS};
use testkit::{Finished, dirs, interrupt_flag};

use super::points::{self, Kind, Plan, Point, Side};
use super::scenario::{Scenario, Scene};
use super::{disk, planted, readers};

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

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls that touch the scenario's files, by name.
    pub calls: BTreeMap<String, usize>,
    /// By kind of fault and call: how many were injected, and how many there are.
    pub injected: BTreeMap<(Kind, String), (usize, usize)>,
    /// Faults whose call was not made this time, or hit another file.
    pub missed: usize,
    /// How many catalogues Barman has read.
    pub read: usize,
    /// What broke.
    pub broken: Vec<Broken>,
    /// What the order checker has found.
    pub violations: Vec<Violation>,
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
        self.broken.is_empty() && self.violations.is_empty()
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
            oracle: readers::Oracle::new()?,
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
        let names: Vec<&str> = FILE_CALLS.into_iter().chain(SEND_CALLS).collect();
        let barman = self.scene.sandbox().barman()?;
        let done = self.scene.run(&strace::recorded(&barman, &names, &log))?;
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
        let hit = strace::calls(&log)?.into_iter().find(|call| {
            call.name == point.call && matches!(call.outcome, Outcome::Injected | Outcome::Unfinished)
        });
        let mut found = Tortured {
            hit: hit.is_some(),
            broken: Vec::new(),
            done,
        };
        self.judge(point, &mut found);
        Ok(found)
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
            Ok(unread) => found.unread(unread),
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
        found
            .broken
            .extend(broken.into_iter().map(|(name, why)| (point.options(), name, why)));
    }
}

struct Tortured {
    hit: bool,
    done: Finished,
    /// Options, invariant, reason.
    broken: Vec<(String, String, String)>,
}

impl Tortured {
    fn unread(&mut self, unread: Vec<(String, String)>) {
        let name = "Barman can read the catalogue";
        self.broken.extend(
            unread
                .into_iter()
                .map(|(options, why)| (options, name.to_owned(), why)),
        );
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
    if !violations.is_empty() {
        keep(settings, scenario, "order", &site)?;
    }
    let mut report = Report {
        damages,
        ..Report::default()
    };
    if settings.plant && violations.is_empty() {
        let planted = planted::calls::find_all(&calls, &site.places(), scenario.rules);
        if planted.is_err() {
            keep(settings, scenario, "planted", &site)?;
        }
        report.planted = planted?;
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
    let home = site.scene.sandbox().home();
    let destination = site.scene.destination();
    let concerns = |path: &Path| {
        path.starts_with(&home) || destination.as_ref().is_some_and(|other| path.starts_with(other))
    };
    let plan = points::plan(&calls, &concerns, &|path| site.scene.is_bulk(path));
    let chosen = choose(&plan, settings);
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
    for (options, why) in unread {
        report.broken.push(Broken {
            options,
            invariant: "Barman can read the catalogue".to_owned(),
            why,
            kept: PathBuf::new(),
        });
    }
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
    if found.broken.is_empty() {
        return Ok(());
    }
    let kept = keep(settings, scenario, &point.options(), site)?;
    fs::write(kept.join("output.txt"), found.done.to_string())?;
    let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
    for (options, invariant, why) in found.broken {
        report.broken.push(Broken {
            options,
            invariant,
            why,
            kept: kept.clone(),
        });
    }
    Ok(())
}

/// Keeps the directory of a run that broke something.
fn keep(settings: &Settings, scenario: &Scenario, what: &str, site: &Site) -> Result<PathBuf> {
    let name = format!("{}-{}", scenario.name, what.replace("--", ""));
    let to = settings.keep.join(name.replace([' ', '/'], "-"));
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    let dir = site.scene.sandbox().dir();
    // PostgreSQL may be delivering meanwhile: what vanishes is not missed.
    let _ = disk::copy(&dir.join("home"), &to.join("home"));
    for file in ["barman.conf", "barman.log", "recorded.log", "fault.log"] {
        let _ = fs::copy(dir.join(file), to.join(file));
    }
    Ok(to)
}
