//! Playing a scenario with one program.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rustix::process::Signal;
use testkit::dirs::{kill_marked, marked};
use testkit::sandbox;
use testkit::{Cluster, Finished, Paused, Program, TestDir, wait_until};

use super::capture::{self, Capture, Run};
use super::normalise::Normaliser;
use super::scenario::{Scenario, Step, words};
use super::world::World;

/// What is compared of the directory of a run.
const COMPARED: [&str; 2] = ["home", "out"];

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of the two programs.
#[derive(Debug, Clone)]
pub struct Player {
    /// `ours` or `oracle`: the name of the directory that is kept.
    pub name: &'static str,
    /// Its path.
    pub program: PathBuf,
}

/// What the steps of a scenario work on.
pub struct Stage {
    /// Processes of the cluster that must not write now; they go on before it is stopped.
    paused: RefCell<Vec<Paused>>,
    /// The directory of the run.
    pub root: PathBuf,
    /// `barman`, with the configuration of the run.
    pub barman: Program,
    /// The live cluster.
    pub cluster: Option<Arc<Cluster>>,
    owner: PathBuf,
    held: RefCell<Vec<File>>,
    standbys: RefCell<Vec<Cluster>>,
}

impl Stage {
    /// Takes the lock of this name (`main-backup`), as another process of Barman would have it, until the steps are done. No process id is in it, so that
    /// nobody sends its holder a signal.
    ///
    /// # Errors
    /// Somebody else has it.
    pub fn hold(&self, name: &str) -> Result<()> {
        self.lock(name, File::try_lock)
    }

    /// Holds it shared, as a restore of ours holds that of its backup.
    ///
    /// # Errors
    /// Somebody has it alone.
    pub fn hold_shared(&self, name: &str) -> Result<()> {
        self.lock(name, File::try_lock_shared)
    }

    fn lock(&self, name: &str, how: fn(&File) -> Result<(), std::fs::TryLockError>) -> Result<()> {
        let path = self.root.join(format!("home/.{name}.lock"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        how(&file).with_context(|| format!("lock {}", path.display()))?;
        self.held.borrow_mut().push(file);
        Ok(())
    }

    /// The live cluster.
    ///
    /// # Errors
    /// The state has none.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_deref().context("the state has no live cluster")
    }

    /// Until the end of the scenario nothing is written into the cluster's WAL but what the scenario causes: an idle server
    /// logs its running transactions every 15 seconds, which may fall between two commands of one program alone.
    ///
    /// # Errors
    /// The state has no live cluster, or it cannot be asked.
    pub fn keep_still(&self) -> Result<()> {
        let paused = self.cluster()?.pause_background_writer()?;
        self.paused.borrow_mut().push(paused);
        Ok(())
    }

    /// Changes each line of the configuration.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn edit_configuration(&self, change: impl Fn(&str) -> String) -> Result<()> {
        let path = self.root.join("barman.conf");
        let text = fs::read_to_string(&path).context("read the configuration")?;
        let changed: Vec<String> = text.lines().map(change).collect();
        fs::write(&path, changed.join("\n") + "\n").context("write the configuration")
    }

    /// Adds a section `[name]` with the lines of `[main]` and these.
    ///
    /// # Errors
    /// The configuration cannot be read or written.
    pub fn twin(&self, name: &str, lines: &str) -> Result<()> {
        let path = self.root.join("barman.conf");
        let text = fs::read_to_string(&path).context("read the configuration")?;
        let of_main = text.lines().skip_while(|line| *line != "[main]").skip(1);
        let of_main: Vec<&str> = of_main.take_while(|line| !line.starts_with('[')).collect();
        let twin = format!("{text}\n[{name}]\n{}\n{lines}\n", of_main.join("\n"));
        fs::write(&path, twin).context("write the configuration")
    }

    /// Starts a process that holds the lock of a task (`main-backup`), as Barman's would, until [`Stage::end_tasks`] or a signal ends it.
    /// `signals` are words of the shell that say how it answers them: `trap '' INT`, or `:`.
    ///
    /// # Errors
    /// It does not take the lock within two minutes.
    pub fn start_task(&self, task: &str, signals: &str) -> Result<()> {
        let lock = self.root.join(format!("home/.{task}.lock"));
        let ready = self.root.join(format!("user-home/{task}-ready"));
        let script = format!(
            "umask 077; exec 9>>'{0}'; flock 9; echo $$ >'{0}'; {signals}; touch '{1}'; while test -e '{1}'; do sleep 0.1 9>&-; done",
            lock.display(),
            ready.display()
        );
        // An orphan, which somebody reaps: Barman takes a process that nobody reaps for a running one.
        Program::new("setsid")
            .belonging_to(&self.owner)
            .ok(["--fork", "sh", "-c", &script])?;
        wait_until("the task holds its lock", PATIENCE, || Ok(ready.exists()))
    }

    /// Several of them, which end when they are asked to.
    pub fn start_tasks(&self, tasks: &[&str]) -> Result<()> {
        tasks.iter().try_for_each(|task| self.start_task(task, ":"))
    }

    /// Ends what [`Stage::start_task`] started and no signal has ended.
    ///
    /// # Errors
    /// It takes more than two minutes.
    pub fn end_tasks(&self) -> Result<()> {
        for entry in fs::read_dir(self.root.join("user-home")).context("list the tasks")? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-ready") {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        self.settle()
    }

    /// Starts a standby of the live cluster, and waits until it has replayed everything.
    ///
    /// # Errors
    /// It cannot be made, or does not catch up within two minutes.
    pub fn start_standby(&self) -> Result<()> {
        let primary = self.cluster()?;
        let standby = Cluster::builder(primary.major()).standby_of(primary)?;
        self.standbys.borrow_mut().push(standby);
        wait_until("the standby has caught up", PATIENCE, || {
            let level = primary.sql_value(
                "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn() AND flush_lsn = replay_lsn",
            )?;
            Ok(level == "1")
        })
    }

    /// Connection string of the standby.
    ///
    /// # Errors
    /// None was started.
    pub fn standby_conninfo(&self) -> Result<String> {
        let standbys = self.standbys.borrow();
        standbys
            .last()
            .map(Cluster::conninfo)
            .context("no standby was started")
    }

    /// A path in the directory of the server `main`.
    pub fn main(&self, path: &str) -> PathBuf {
        self.root.join("home/main").join(path)
    }

    /// Waits until what the program started in the background has ended. A receiver does not end by itself and is not waited for.
    ///
    /// # Errors
    /// It takes more than two minutes.
    pub fn settle(&self) -> Result<()> {
        wait_until("background processes have ended", PATIENCE, || {
            Ok(marked(&self.owner).iter().all(|line| line.contains("receive")))
        })
    }
}

/// What a program did, with the facts that normalising needs.
pub struct Played {
    /// What it did.
    pub capture: Capture,
    start: Timestamp,
    end: Timestamp,
    ids: Vec<String>,
    /// How long its commands took.
    pub elapsed: Duration,
}

impl Played {
    /// The normaliser for a capture of this run (the one above, or a changed copy).
    pub fn normaliser(&self, scenario: &Scenario, capture: &Capture) -> Normaliser {
        let mut normaliser = Normaliser::new(&scenario.rules, self.start, self.end, &self.ids);
        let outputs: Vec<String> = capture
            .runs
            .iter()
            .flat_map(|run| [&run.stdout, &run.stderr])
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        normaliser.learn(
            outputs
                .iter()
                .map(String::as_str)
                .chain(capture.files.keys().map(String::as_str)),
        );
        normaliser
    }
}

/// Plays the scenario with one program in `dir`, at the path `dir/run`.
///
/// # Errors
/// The state cannot be made, a program cannot be run or does not end, or a step between the commands fails.
pub fn play(
    scenario: &Scenario,
    player: &Player,
    dir: &TestDir,
    world: &World,
    keep: bool,
) -> Result<Played> {
    let root = dir.join("run");
    fs::create_dir(&root).context("create the directory of the run")?;
    let played = acts(scenario, player, dir, &root, world);
    kill_marked(dir.path());
    if keep {
        let kept = dir.join(player.name);
        if !kept.exists() {
            fs::rename(&root, kept).context("keep the directory of the run")?;
        }
    }
    if root.exists() {
        fs::remove_dir_all(&root).context("remove the directory of the run")?;
    }
    played.with_context(|| format!("{} ({})", scenario.name, player.name))
}

fn acts(scenario: &Scenario, player: &Player, dir: &TestDir, root: &Path, world: &World) -> Result<Played> {
    let cluster = scenario.state.make(root, world)?;
    let ids = backup_ids(&root.join("home/main/base"));
    let mut barman = sandbox::program(&player.program, &root.join("barman.conf"), dir.path())
        .env("HOME", root.join("user-home"))
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .timeout(PATIENCE);
    for (name, value) in &scenario.env {
        barman = barman.env(name, value.replace("{root}", &root.display().to_string()));
    }
    let stage = Stage {
        paused: RefCell::default(),
        root: root.to_owned(),
        barman,
        cluster,
        owner: dir.path().to_owned(),
        held: RefCell::default(),
        standbys: RefCell::default(),
    };
    let start = Timestamp::now();
    let mut runs = Vec::new();
    let mut elapsed = Duration::ZERO;
    for step in &scenario.steps {
        if let Some((words, done)) = act(step, &stage, &ids)? {
            elapsed += done.elapsed;
            runs.push(run(words, &done));
        }
    }
    stage.settle()?;
    let end = Timestamp::now();
    let files = capture::files(root, &COMPARED)?;
    Ok(Played {
        capture: Capture { runs, files },
        start,
        end,
        ids,
        elapsed,
    })
}

fn act(step: &Step, stage: &Stage, ids: &[String]) -> Result<Option<(Vec<String>, Finished)>> {
    let (line, program) = match step {
        Step::Then(what) => {
            what(stage)?;
            return Ok(None);
        }
        Step::Barman(line) | Step::Interrupted(line, ..) => (line, stage.barman.clone()),
    };
    let words = words(line, &stage.root, ids)?;
    let Step::Interrupted(_, signal, when) = step else {
        let done = program.run(&words)?;
        return Ok(Some((words, done)));
    };
    let mut running = program.spawn(&words)?;
    let deadline = Instant::now() + PATIENCE;
    while !when(stage)? {
        ensure!(
            running.is_running()?,
            "it ended before it was to be interrupted: {}",
            running.wait(PATIENCE)?
        );
        if Instant::now() > deadline {
            bail!(
                "the moment to interrupt it did not come: {} {}",
                running.stdout_so_far()?,
                running.stderr_so_far()?
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::from_named_raw(*signal).context("a signal")?)?;
    Ok(Some((words, running.wait(PATIENCE)?)))
}

fn run(args: Vec<String>, done: &Finished) -> Run {
    let code = done.code.or(done.signal.map(|signal| 128 + signal)).unwrap_or(-1);
    Run {
        args,
        code,
        stdout: done.stdout_bytes.clone(),
        stderr: done.stderr_bytes.clone(),
    }
}

fn backup_ids(base: &Path) -> Vec<String> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    ids.sort();
    ids
}
