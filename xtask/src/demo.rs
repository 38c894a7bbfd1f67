//! `cargo xtask demo`: a backup, a mistake, a disaster and a point-in-time recovery, on a throw-away PostgreSQL, told in plain words.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use testkit::{Cluster, Finished, Mode, Program, Sandbox, Stop, interrupt_flag, wait_until};

use crate::{run, setup};

/// How to run the demonstration.
#[derive(Debug, Args)]
pub struct Options {
    /// PostgreSQL major to use, 10 to 18
    #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u16).range(10..=18))]
    major: u16,
    /// Run this program instead of building ours
    #[arg(long, hide = true)]
    barman: Option<PathBuf>,
}

const SOON: Duration = Duration::from_secs(60);

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let barman = match &options.barman {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("find {}", path.display()))?,
        None => build()?,
    };
    run::watch_signals()?;
    let result = Demo::new(options.major, &barman).and_then(Demo::play);
    if interrupt_flag().load(Ordering::Relaxed) {
        bail!("interrupted; the servers are stopped and their files removed");
    }
    result
}

/// With the profile of the tests: what this task itself is made of is made of it too, so little is left to compile, and
/// the tests find it done. The demonstration would not be quicker with an optimised program.
fn build() -> Result<PathBuf> {
    say("Building barman (the first time this takes a minute).");
    run::built(&["--package", "barman-cli", "--bin", "barman"], "barman")
}

fn say(text: &str) {
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m{text}\x1b[0m");
    } else {
        println!("\n{text}");
    }
}

/// What is in the table: how many rows, and a digest of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rows {
    count: String,
    digest: String,
}

/// What is remembered of one moment.
#[derive(Debug)]
struct Moment {
    /// With its offset from UTC.
    time: String,
    lsn: String,
    rows: Rows,
}

struct Demo {
    start: Instant,
    // Declared before the cluster: background programs go first.
    sandbox: Sandbox,
    cluster: Cluster,
    barman: Program,
}

impl Demo {
    fn new(major: u16, barman: &Path) -> Result<Self> {
        let start = Instant::now();
        say(&format!("A new PostgreSQL {major}, with a table of orders."));
        let cluster = Cluster::start_new(major)?;
        cluster.sql("CREATE TABLE orders (id bigserial PRIMARY KEY, placed_at timestamptz NOT NULL DEFAULT clock_timestamp(), article text NOT NULL)")?;
        println!(
            "    data directory {}, port {}",
            cluster.data_dir().display(),
            cluster.port()
        );
        let sandbox = Sandbox::builder("shop")
            .cluster(&cluster)
            .mode(Mode::Streaming)
            .option("description", "The shop's database")
            .program(barman)
            .build()?;
        let barman = sandbox.barman()?.timeout(SOON);
        println!("    Barman's configuration {}", sandbox.config_path().display());
        Ok(Self {
            start,
            sandbox,
            cluster,
            barman,
        })
    }

    /// Shows a command and what it says, and insists on its success.
    fn barman(&self, args: &[&str]) -> Result<Finished> {
        println!("\n    $ barman {}", typed(args));
        let done = self.barman.run(args)?;
        for line in done.stdout.lines().chain(done.stderr.lines()) {
            println!("    {line}");
        }
        ensure!(
            done.code == Some(0),
            "`barman {}` ended with {:?}",
            typed(args),
            done.code
        );
        println!("    ({:.2} s)", done.elapsed.as_secs_f64());
        Ok(done)
    }

    fn play(self) -> Result<()> {
        let result = self.story();
        if result.is_err() && !interrupt_flag().load(Ordering::Relaxed) {
            let log = self.sandbox.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
            eprintln!("\nThe end of Barman's log:\n{}", tail.join("\n"));
        }
        result
    }

    fn story(&self) -> Result<()> {
        say("Barman starts to receive WAL, over a replication connection, as it is written.");
        self.barman(&["cron"])?;
        wait_until("the receiver streams", SOON, || {
            Ok(self
                .cluster
                .sql_value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")?
                == "1")
        })?;
        let moment = self.shop_is_open()?;
        self.disaster()?;

        say(&format!(
            "Recovery to {}, the moment before the mistake.",
            moment.time
        ));
        let target = self.sandbox.dir().join("recovered");
        let directory = target.to_str().context("the directory's name is not UTF-8")?;
        self.barman(&[
            "restore",
            "--target-time",
            &moment.time,
            "--target-action",
            "promote",
            "--partial-wal",
            "shop",
            "latest",
            directory,
        ])?;

        say("The recovered server starts, replays its WAL up to that moment, and opens.");
        let recovered = Cluster::builder(self.cluster.major())
            .tree(self.cluster.tree().clone())
            .open(&target)?;
        recovered.wait_primary(SOON)?;
        println!(
            "    data directory {}, port {}",
            recovered.data_dir().display(),
            recovered.port()
        );
        self.compare(&moment, &rows(&recovered)?)
    }

    /// Customers order while a backup is taken; then somebody makes a mistake. Returns the moment just before it.
    fn shop_is_open(&self) -> Result<Moment> {
        say("The shop opens: customers place orders all the time.");
        let closed = AtomicBool::new(false);
        // Held by whoever needs a moment without an order.
        let till = Mutex::new(());
        thread::scope(|scope| {
            let customers = scope.spawn(|| self.place_orders(&closed, &till));
            let story = || -> Result<Moment> {
                wait_until("some orders are placed", SOON, || {
                    Ok(rows(&self.cluster)?.count.parse::<u64>()? > 50)
                })?;
                // A received segment is archived once the next one has begun, so it needs a server that is written to.
                self.barman(&["switch-wal", "--force", "--archive", "shop"])?;
                self.barman(&["check", "shop"])?;
                say("A base backup, while the orders go on.");
                self.barman(&["backup", "--wait", "shop"])?;
                self.barman(&["list-backups", "shop"])?;
                let before = rows(&self.cluster)?;
                wait_until("more orders are placed", SOON, || {
                    Ok(rows(&self.cluster)?.count.parse::<u64>()? > before.count.parse::<u64>()? + 50)
                })?;
                let moment = {
                    let _quiet = till.lock();
                    let time = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00'";
                    let moment = Moment {
                        rows: rows(&self.cluster)?,
                        lsn: self.cluster.current_lsn()?,
                        time: self.cluster.sql_value(time)?,
                    };
                    thread::sleep(Duration::from_millis(2)); // the next order must be later, not at the same microsecond
                    moment
                };
                say(&format!(
                    "All is well at {} (LSN {}): {} orders.",
                    moment.time, moment.lsn, moment.rows.count
                ));
                wait_until("a few more orders are placed", SOON, || {
                    Ok(rows(&self.cluster)? != moment.rows)
                })?;
                say("Then somebody runs a DELETE without its WHERE.");
                self.cluster.sql("DELETE FROM orders")?;
                println!("    orders now: {}", rows(&self.cluster)?.count);
                Ok(moment)
            };
            let moment = story();
            closed.store(true, Ordering::Relaxed);
            match customers.join() {
                Ok(placed) => moment.and_then(|moment| placed.map(|()| moment)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn place_orders(&self, closed: &AtomicBool, till: &Mutex<()>) -> Result<()> {
        let mut session = self.cluster.client()?;
        while !closed.load(Ordering::Relaxed) {
            {
                let _turn = till.lock();
                session
                    .simple_query("INSERT INTO orders (article) VALUES (md5(random()::text))")
                    .context("place an order")?;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The server's host is lost, some WAL of the last, unfinished segment included.
    fn disaster(&self) -> Result<()> {
        let last = self.cluster.current_lsn()?;
        let segment = self
            .cluster
            .sql_value(&format!("SELECT pg_walfile_name('{last}')"))?;
        let used = self
            .cluster
            .sql_value(&format!(
                "SELECT file_offset FROM pg_walfile_name_offset('{last}')"
            ))?
            .parse()?;
        // A disaster takes what the receiver does not have yet; the demonstration gives it the blink of an eye.
        let written = self.cluster.data_dir().join("pg_wal").join(&segment);
        let received = self
            .sandbox
            .server_dir()
            .join("streaming")
            .join(format!("{segment}.partial"));
        wait_until("the receiver has the last WAL", SOON, || {
            Ok(head(&received, used)? == head(&written, used)?)
        })?;
        self.cluster.stop(Stop::Kill)?;
        std::fs::remove_dir_all(self.cluster.data_dir()).context("remove the data directory")?;
        say("Before anybody can repair that, the host is lost: kill -9, and the data directory is gone.");
        println!("    last WAL position {last}");
        Ok(())
    }

    fn compare(&self, moment: &Moment, found: &Rows) -> Result<()> {
        say("Proof");
        println!(
            "    orders at {}: {} (digest {})",
            moment.time, moment.rows.count, moment.rows.digest
        );
        println!(
            "    orders recovered:                           {} (digest {})",
            found.count, found.digest
        );
        ensure!(
            moment.rows == *found,
            "the recovered rows are not those of that moment"
        );
        println!(
            "    Every order of that moment is back, and none from after it. {:.1} s in all.",
            self.start.elapsed().as_secs_f64()
        );
        println!("    Everything that the demonstration made is now removed.");
        Ok(())
    }
}

/// The first `length` bytes of a file.
fn head(path: &Path, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    file.take(length)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", path.display()))?;
    Ok(bytes)
}

fn rows(cluster: &Cluster) -> Result<Rows> {
    let text = "SELECT count(*), coalesce(md5(string_agg(o::text, ',' ORDER BY id)), '-') FROM orders o";
    let row = cluster.sql(text)?.into_iter().next().context("no row")?;
    let mut fields = row.into_iter().flatten();
    match (fields.next(), fields.next()) {
        (Some(count), Some(digest)) => Ok(Rows { count, digest }),
        _ => bail!("`{text}` returned an unexpected row"),
    }
}

/// Arguments as one types them into a shell.
fn typed(args: &[&str]) -> String {
    let quoted = args.iter().map(|arg| {
        if arg.contains(|c: char| c.is_whitespace() || "'\"$&;()<>|*?".contains(c)) {
            format!("'{}'", arg.replace('\'', "'\\''"))
        } else {
            (*arg).to_owned()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
