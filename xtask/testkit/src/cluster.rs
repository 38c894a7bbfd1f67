//! A running PostgreSQL cluster of any served major.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use postgres::{Client, NoTls, SimpleQueryMessage};
use rustix::process::{Pid, Signal, kill_process};

use crate::dirs::TestDir;
use crate::ports::PortLease;
use crate::process::{Background, spawn_tied};
use crate::template::{self, BARMAN_PASSWORD, STREAMING_PASSWORD, Shape};
use crate::trees::PgTree;
use crate::wait::check_interrupt;
use crate::{executed, tree, user, wait_until};

/// How long a server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Orderly, sessions ended: SIGINT.
    Fast,
    /// Without a checkpoint: SIGQUIT.
    Immediate,
    /// `kill -9` of the postmaster and all its children at one moment.
    Kill,
}

/// What a cluster should be like. See [`Cluster::builder`].
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    major: u16,
    tree: Option<PgTree>,
    shape: Shape,
    durable: bool,
    conf: Vec<(String, String)>,
}

impl ClusterBuilder {
    /// Uses this tree instead of the default one of the major.
    #[must_use]
    pub fn tree(mut self, tree: PgTree) -> Self {
        self.tree = Some(tree);
        self
    }

    /// Data page checksums on or off, whatever the version's default.
    #[must_use]
    pub fn checksums(mut self, on: bool) -> Self {
        self.shape.checksums = Some(on);
        self
    }

    /// WAL segment size in MiB: a power of two from 1 to 1024; 11 and newer.
    #[must_use]
    pub fn wal_segment_mb(mut self, mb: u32) -> Self {
        self.shape.segment_mb = Some(mb);
        self
    }

    /// Leaves `fsync` on: for tests that kill things and look at what survived.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// A setting: in `postgresql.conf` of a new cluster, on the server's command line for an opened one.
    #[must_use]
    pub fn conf(mut self, name: &str, value: &str) -> Self {
        self.conf.push((name.to_owned(), value.to_owned()));
        self
    }

    fn tree_or_default(&self) -> Result<PgTree> {
        self.tree.clone().map_or_else(|| PgTree::of_major(self.major), Ok)
    }

    /// Makes a new cluster and starts it.
    ///
    /// # Errors
    /// The tree is not installed, or the server does not start; the message has its log.
    pub fn start(self) -> Result<Cluster> {
        let pg = self.tree_or_default()?;
        let from = template::get(&pg, self.shape)?;
        let dir = TestDir::new()?;
        let data = dir.join("data");
        tree::copy(&from, &data, &|_| false)?;
        self.write_conf(&data)?;
        Cluster::launch(pg, dir, data, &[])
    }

    /// Starts the data directory `data`, for example a restored one, wherever it is: gives it (and its tablespaces) to the user that runs
    /// PostgreSQL, and runs it on a port of its own until it accepts connections. The directory is left behind when the cluster is dropped.
    ///
    /// # Errors
    /// The server does not start; the message has its log.
    pub fn open(self, data: &Path) -> Result<Cluster> {
        let pg = self.tree_or_default()?;
        user::give_data_directory(data)?;
        let mut conf = self.conf.clone();
        if !self.durable {
            conf.push(("fsync".to_owned(), "off".to_owned()));
        }
        Cluster::launch(pg, TestDir::new()?, data.to_owned(), &conf)
    }

    /// Makes a hot standby of `primary` that streams from it, of the same major and tree.
    ///
    /// # Errors
    /// The primary has tablespaces, or something fails on the way.
    pub fn standby_of(self, primary: &Cluster) -> Result<Cluster> {
        let pg = primary.tree.clone();
        ensure!(
            fs::read_dir(primary.data.join("pg_tblspc"))?.next().is_none(),
            "a standby on the same host cannot share the primary's tablespaces"
        );
        let dir = TestDir::new()?;
        let data = dir.join("data");
        primary.copy_online(&data)?;
        self.write_conf(&data)?;
        let conninfo = format!(
            "host={} port={} user=streaming_barman",
            primary.socket_dir().display(),
            primary.port()
        );
        let settings = format!("primary_conninfo = '{conninfo}'\n");
        if pg.major() >= 12 {
            fs::write(data.join("standby.signal"), "")?;
            append(&data.join("postgresql.auto.conf"), &settings)?;
        } else {
            fs::write(
                data.join("recovery.conf"),
                format!("standby_mode = 'on'\nrecovery_target_timeline = 'latest'\n{settings}"),
            )?;
        }
        user::give_data_directory(&data)?;
        Cluster::launch(pg, dir, data, &[])
    }

    fn write_conf(&self, data: &Path) -> Result<()> {
        let mut text = String::from(
            "\n# Test kit\nwal_level = replica\nmax_wal_senders = 10\nmax_replication_slots = 10\nhot_standby = on\n",
        );
        text.push_str("password_encryption = 'scram-sha-256'\nmax_connections = 50\nshared_buffers = 16MB\ntimezone = 'UTC'\n");
        if !self.durable {
            text.push_str("fsync = off\n");
        }
        for (name, value) in &self.conf {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        append(&data.join("postgresql.conf"), &text)
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("append to {}", path.display()))
}

/// A PostgreSQL cluster that was started by the kit and is stopped and removed with this handle.
#[derive(Debug)]
pub struct Cluster {
    tree: PgTree,
    dir: TestDir,
    data: PathBuf,
    port: PortLease,
    conf: Vec<(String, String)>,
    postmaster: Mutex<Option<Child>>,
}

impl Cluster {
    /// A cluster of this major: `fsync` off, `wal_level` replica, ten senders and slots, roles `postgres` and `barman` (superusers) and
    /// `streaming_barman` (replication). Everybody is trusted over the Unix socket; over TCP all but `postgres` need their SCRAM password.
    pub fn builder(major: u16) -> ClusterBuilder {
        ClusterBuilder {
            major,
            tree: None,
            shape: Shape::default(),
            durable: false,
            conf: Vec::new(),
        }
    }

    /// A new cluster of this major with the default settings.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub fn start_new(major: u16) -> Result<Self> {
        Self::builder(major).start()
    }

    fn launch(pg: PgTree, dir: TestDir, data: PathBuf, conf: &[(String, String)]) -> Result<Self> {
        dir.server_dir("sock")?;
        let cluster = Self {
            tree: pg,
            dir,
            data,
            port: PortLease::take()?,
            conf: conf.to_vec(),
            postmaster: Mutex::new(None),
        };
        cluster.start()?;
        executed::note(cluster.major());
        Ok(cluster)
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the server after a [`Cluster::stop`] and waits until it accepts connections (in hot standby too).
    ///
    /// # Errors
    /// It does not start; the message has the end of its log.
    pub fn start(&self) -> Result<()> {
        self.spawn()?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.try_wait()? {
                bail!(
                    "PostgreSQL {} ended with {status} instead of starting\n{}",
                    self.major(),
                    self.log_tail()
                );
            }
            if self.accepts_connections() {
                return Ok(());
            }
            check_interrupt()?;
            if Instant::now() > deadline {
                bail!(
                    "PostgreSQL {} does not accept connections\n{}",
                    self.major(),
                    self.log_tail()
                );
            }
            thread::sleep(Duration::from_millis(3));
        }
    }

    /// Starts the server and does not wait: for recoveries that are expected to fail or to shut the server down.
    ///
    /// # Errors
    /// It runs already, or the program cannot be started.
    pub fn spawn(&self) -> Result<()> {
        let mut postmaster = self.postmaster();
        ensure!(postmaster.is_none(), "the server runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .context("open the server's log")?;
        let mut command = Command::new(self.tree.program("postgres"));
        command.arg("-D").arg(&self.data);
        command.arg("-c").arg(format!("port={}", self.port()));
        command
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.socket_dir().display()));
        // No shared memory may outlive a killed server, and a test's log must be in the test's directory.
        for fixed in [
            "listen_addresses=127.0.0.1",
            "dynamic_shared_memory_type=mmap",
            "logging_collector=off",
            "external_pid_file=",
        ] {
            command.arg("-c").arg(fixed);
        }
        for (name, value) in &self.conf {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        user::as_server_user(&mut command)?;
        *postmaster = Some(spawn_tied(command, Signal::QUIT).context("start PostgreSQL")?);
        Ok(())
    }

    /// How the server ended, if it did by itself.
    ///
    /// # Errors
    /// Its state cannot be asked for.
    pub fn try_wait(&self) -> Result<Option<std::process::ExitStatus>> {
        let mut postmaster = self.postmaster();
        let Some(child) = postmaster.as_mut() else {
            return Err(anyhow!("the server was not started"));
        };
        let status = child.try_wait().context("look at the postmaster")?;
        if status.is_some() {
            *postmaster = None;
        }
        Ok(status)
    }

    fn accepts_connections(&self) -> bool {
        let own = self.postmaster().as_ref().map(|child| child.id().to_string());
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines();
        lines.next().map(str::trim) == own.as_deref()
            && matches!(lines.nth(6).map(str::trim), Some("ready" | "standby"))
    }

    /// Stops the server; nothing happens when it does not run.
    ///
    /// # Errors
    /// It does not end within a minute (and is then killed).
    pub fn stop(&self, how: Stop) -> Result<()> {
        let mut postmaster = self.postmaster();
        let Some(mut child) = postmaster.take() else {
            return Ok(());
        };
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            bail!("process id out of range")
        };
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
            Stop::Kill => {
                kill_all(pid);
                child.wait().context("wait for the postmaster")?;
                return Ok(());
            }
        };
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        let _ = kill_process(pid, signal);
        let ended = wait_until("the server has stopped", Duration::from_secs(60), || {
            Ok(child.try_wait()?.is_some())
        });
        if ended.is_err() {
            kill_all(pid);
            let _ = child.wait();
        }
        ended
    }

    /// Stops (fast) and starts the server, on the same port.
    ///
    /// # Errors
    /// As [`Cluster::stop`] and [`Cluster::start`].
    pub fn restart(&self) -> Result<()> {
        self.stop(Stop::Fast)?;
        self.start()
    }

    /// PostgreSQL major.
    pub fn major(&self) -> u16 {
        self.tree.major()
    }

    /// The tree it runs.
    pub fn tree(&self) -> &PgTree {
        &self.tree
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// Directory of the Unix socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The server's log.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// The last lines of the server's log, for messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log_path())
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default();
        format!("--- {} (end)\n{}", self.log_path().display(), tail.join("\n"))
    }

    /// libpq connection string over the Unix socket, superuser `barman`, no password needed.
    pub fn conninfo(&self) -> String {
        self.conninfo_of("barman")
    }

    /// libpq connection string over the Unix socket for replication, role `streaming_barman`, no password needed.
    pub fn streaming_conninfo(&self) -> String {
        self.conninfo_of("streaming_barman")
    }

    fn conninfo_of(&self, user: &str) -> String {
        format!(
            "host={} port={} user={user} dbname=postgres",
            self.socket_dir().display(),
            self.port()
        )
    }

    /// libpq connection string over TCP with a SCRAM password, superuser `barman`.
    pub fn tcp_conninfo(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=barman dbname=postgres password={BARMAN_PASSWORD}",
            self.port()
        )
    }

    /// libpq connection string over TCP with a SCRAM password for replication, role `streaming_barman`.
    pub fn tcp_streaming_conninfo(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=streaming_barman dbname=postgres password={STREAMING_PASSWORD}",
            self.port()
        )
    }

    /// A session as superuser `postgres`, independent of the code under test.
    ///
    /// # Errors
    /// The connection fails.
    pub fn client(&self) -> Result<Client> {
        postgres::Config::new()
            .host_path(self.socket_dir())
            .port(self.port())
            .user("postgres")
            .dbname("postgres")
            .connect_timeout(Duration::from_secs(60))
            .connect(NoTls)
            .with_context(|| format!("connect to PostgreSQL {} on port {}", self.major(), self.port()))
    }

    /// Runs SQL in a session of its own as superuser and returns all rows as text. Several statements, separated by `;`, are one transaction.
    ///
    /// # Errors
    /// The connection or a statement fails.
    pub fn sql(&self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self
            .client()?
            .simple_query(text)
            .with_context(|| format!("run `{text}`"))?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect())
    }

    /// First column of the first row; empty text for NULL.
    ///
    /// # Errors
    /// As [`Cluster::sql`], and when there is no row.
    pub fn sql_value(&self, text: &str) -> Result<String> {
        let rows = self.sql(text)?;
        let first = rows.into_iter().next().and_then(|row| row.into_iter().next());
        Ok(first
            .with_context(|| format!("`{text}` returned no row"))?
            .unwrap_or_default())
    }

    /// Changes a setting with `ALTER SYSTEM`, reloads the configuration and waits until new sessions start with it; processes that run already follow in
    /// their own time, and some settings need a [`Cluster::restart`].
    ///
    /// # Errors
    /// As [`Cluster::sql`]; the postmaster does not reload within a minute.
    pub fn alter_system(&self, name: &str, value: &str) -> Result<()> {
        // A new session inherits this moment from the postmaster, which handles the request to reload asynchronously.
        let loaded = || self.sql_value("SELECT pg_conf_load_time()");
        let before = loaded()?;
        self.sql(&format!(
            "ALTER SYSTEM SET {name} = '{}'",
            value.replace('\'', "''")
        ))?;
        self.sql("SELECT pg_reload_conf()")?;
        wait_until(
            &format!("new sessions start with the changed {name}"),
            Duration::from_secs(60),
            || Ok(loaded()? != before),
        )
    }

    /// Waits until this statement runs in another session: from then on it can be cancelled. `%` stands for anything.
    ///
    /// # Errors
    /// It does not begin within a minute.
    pub fn wait_running(&self, statement: &str) -> Result<()> {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '{}'",
            statement.replace('\'', "''")
        );
        wait_until(&format!("`{statement}` runs"), Duration::from_secs(60), || {
            Ok(self.sql_value(&count)? != "0")
        })
    }

    /// Waits until the checkpointer has the settings with which the server was started: it tells the others whether
    /// commits wait for a synchronous standby, and the server accepts connections before it does.
    ///
    /// # Errors
    /// It takes more than a minute.
    pub fn wait_checkpointer(&self) -> Result<()> {
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND wait_event = 'CheckpointerMain'";
        wait_until("the checkpointer is idle", Duration::from_secs(60), || {
            Ok(self.sql_value(idle)? == "1")
        })
    }

    /// The current write position, as `X/X`.
    ///
    /// # Errors
    /// As [`Cluster::sql`].
    pub fn current_lsn(&self) -> Result<String> {
        self.sql_value("SELECT pg_current_wal_lsn()")
    }

    /// Writes something and closes the current WAL segment; returns the name of the segment that was closed.
    ///
    /// # Errors
    /// As [`Cluster::sql`].
    pub fn switch_wal(&self) -> Result<String> {
        self.sql("SELECT txid_current()")?;
        // The switch returns the end of the closed segment's used part plus one: a position in the closed segment, or its very end.
        self.sql_value("SELECT pg_walfile_name(pg_switch_wal())")
    }

    /// Makes a tablespace in a directory beside the data directory and returns that directory.
    ///
    /// # Errors
    /// As [`Cluster::sql`].
    pub fn create_tablespace(&self, name: &str) -> Result<PathBuf> {
        let location = self.dir.server_dir(&format!("tablespace-{name}"))?;
        fs::set_permissions(&location, fs::Permissions::from_mode(0o700))?;
        self.sql(&format!(
            "CREATE TABLESPACE \"{name}\" LOCATION '{}'",
            location.display()
        ))?;
        Ok(location)
    }

    /// Promotes a standby (or ends a paused recovery) and waits until it is a primary.
    ///
    /// # Errors
    /// The server does not become a primary within a minute.
    pub fn promote(&self) -> Result<()> {
        let mut command = Command::new(self.tree.program("pg_ctl"));
        command.arg("promote").arg("-W").arg("-D").arg(&self.data);
        user::as_server_user(&mut command)?;
        let done = Background::spawn(command, None)?.wait(Duration::from_secs(60))?;
        ensure!(done.code == Some(0), "{done}");
        self.wait_primary(Duration::from_secs(60))
    }

    /// Waits until recovery has ended and the server takes writes.
    ///
    /// # Errors
    /// The time is up, or the server ended; the message has the end of its log.
    pub fn wait_primary(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.try_wait()? {
                bail!(
                    "PostgreSQL {} ended with {status} during recovery\n{}",
                    self.major(),
                    self.log_tail()
                );
            }
            let state = self.sql_value("SELECT pg_is_in_recovery()");
            if matches!(state.as_deref(), Ok("f")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "PostgreSQL {} is still in recovery after {timeout:?} ({state:?})\n{}",
                    self.major(),
                    self.log_tail()
                );
            }
            check_interrupt()?;
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Copies the data directory of the running server to the new directory `to`, as a base backup with its `backup_label`, without WAL.
    ///
    /// # Errors
    /// A statement or the copy fails.
    pub fn copy_online(&self, to: &Path) -> Result<()> {
        let modern = self.major() >= 15;
        let mut session = self.client()?;
        let begin = if modern {
            "SELECT pg_backup_start('testkit', true)"
        } else {
            "SELECT pg_start_backup('testkit', true, false)"
        };
        let end = if modern {
            "SELECT labelfile FROM pg_backup_stop(false)"
        } else {
            "SELECT labelfile FROM pg_stop_backup(false, false)"
        };
        session.simple_query(begin).context("begin a base backup")?;
        tree::copy(&self.data, to, &|path| {
            let name = path.to_string_lossy();
            let inside = ["pg_wal/", "pg_replslot/", "pg_dynshmem/", "pg_stat_tmp/"]
                .iter()
                .any(|d| name.starts_with(d));
            matches!(&*name, "postmaster.pid" | "postmaster.opts")
                || (inside && name != "pg_wal/archive_status")
        })?;
        let rows = session.simple_query(end).context("end a base backup")?;
        let label = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        fs::write(
            to.join("backup_label"),
            label.context("the server gave no backup label")?,
        )
        .context("write backup_label")?;
        user::give_data_directory(to)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop(Stop::Immediate);
    }
}

/// Kills a postmaster and its children as one moment: it is stopped first, so that it cannot react or fork in between.
/// Returns when the children's memory is gone too: a server that starts while one of them still has it refuses to.
fn kill_all(postmaster: Pid) {
    let _ = kill_process(postmaster, Signal::STOP);
    let parent = postmaster.as_raw_nonzero().get();
    // The signal takes effect when the process is next scheduled, and until then it may fork.
    eventually(|| state_of(parent).is_none_or(|(state, _)| matches!(state, 'T' | 't' | 'Z' | 'X')));
    let children: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| state_of(*pid).is_some_and(|(_, of)| of == parent))
        .collect();
    for child in children.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process(child, Signal::KILL);
    }
    let _ = kill_process(postmaster, Signal::KILL);
    eventually(|| {
        children
            .iter()
            .all(|pid| state_of(*pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X')))
    });
}

/// Waits for what the kernel does soon; whoever needs it sees what comes of it if that is not so.
fn eventually(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A process's state, as in `/proc/<pid>/stat`, and its parent.
fn state_of(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // "pid (name) state ppid ...": the name may hold anything, so read behind its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
