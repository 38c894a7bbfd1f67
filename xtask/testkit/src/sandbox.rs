//! A throw-away Barman home with a configuration, in which our programs and the oracle can be run in turn.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::dirs::TestDir;
use crate::process::Program;
use crate::{cache, trees, user};

/// Environment variable with the path of the `barman` program to test, when it is not the one of the build.
pub const PROGRAM_ENV: &str = "BARMAN_RS_PROGRAM";

/// How WAL reaches the server's directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `streaming_archiver = on` with the slot `barman`.
    Streaming,
    /// `archiver = on`; PostgreSQL's `archive_command` copies into `incoming/`.
    Archiver,
    /// Both.
    Both,
}

/// What a sandbox should be like. See [`Sandbox::builder`].
#[derive(Debug)]
pub struct SandboxBuilder<'a> {
    server: String,
    cluster: Option<&'a Cluster>,
    mode: Mode,
    program: Option<PathBuf>,
    global: Vec<(String, String)>,
    options: Vec<(String, String)>,
}

impl<'a> SandboxBuilder<'a> {
    /// The PostgreSQL server to back up; without one, the configuration points to a port where nobody listens.
    #[must_use]
    pub fn cluster(mut self, cluster: &'a Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// How WAL arrives ([`Mode::Streaming`] by default). With an archiver the cluster's archiving is set up and the cluster restarted.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The `barman` program to test: pass `env!("CARGO_BIN_EXE_barman")` where Cargo gives it.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Sets or replaces an option of the `[barman]` section; an empty value leaves the option out.
    #[must_use]
    pub fn global(mut self, name: &str, value: &str) -> Self {
        self.global.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets or replaces an option of the server's section; an empty value leaves the option out.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// A file cannot be written, or the cluster's archiving cannot be set up.
    pub fn build(self) -> Result<Sandbox> {
        let dir = TestDir::new()?;
        for name in ["home", "conf.d", "user-home"] {
            fs::create_dir(dir.join(name)).with_context(|| format!("create {name}"))?;
        }
        let mut sandbox = Sandbox {
            server: self.server,
            program: self.program,
            dir,
            global: Vec::new(),
            options: Vec::new(),
        };
        sandbox.global = sandbox.default_global()?;
        sandbox.options = sandbox.default_options(self.cluster, self.mode)?;
        for (name, value) in self.global {
            set(&mut sandbox.global, &name, &value);
        }
        for (name, value) in self.options {
            set(&mut sandbox.options, &name, &value);
        }
        sandbox.write_config()?;
        if let (Some(cluster), Mode::Archiver | Mode::Both) = (self.cluster, self.mode) {
            let command = sandbox.archive_command()?;
            cluster.alter_system("archive_mode", "on")?;
            cluster.alter_system("archive_command", &command)?;
            cluster.restart()?;
        }
        Ok(sandbox)
    }
}

fn set(options: &mut Vec<(String, String)>, name: &str, value: &str) {
    options.retain(|(n, _)| n != name);
    if !value.is_empty() {
        options.push((name.to_owned(), value.to_owned()));
    }
}

/// A Barman home, its configuration with one server, and the programs that run on it.
#[derive(Debug)]
pub struct Sandbox {
    server: String,
    program: Option<PathBuf>,
    dir: TestDir,
    global: Vec<(String, String)>,
    options: Vec<(String, String)>,
}

impl Sandbox {
    /// A sandbox with one configured server of this name.
    pub fn builder<'a>(server: &str) -> SandboxBuilder<'a> {
        SandboxBuilder {
            server: server.to_owned(),
            cluster: None,
            mode: Mode::Streaming,
            program: None,
            global: Vec::new(),
            options: Vec::new(),
        }
    }

    fn default_global(&self) -> Result<Vec<(String, String)>> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let options = [
            ("barman_user", user::current_name()?),
            ("configuration_files_directory", path("conf.d")),
            ("barman_home", path("home")),
            ("log_file", path("barman.log")),
            ("log_level", "INFO".to_owned()),
        ];
        Ok(options.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn default_options(&self, cluster: Option<&Cluster>, mode: Mode) -> Result<Vec<(String, String)>> {
        let nobody = || "host=127.0.0.1 port=1 user=barman dbname=postgres".to_owned();
        let mut options = vec![
            ("description", "Test server".to_owned()),
            ("conninfo", cluster.map_or_else(nobody, Cluster::conninfo)),
            (
                "streaming_conninfo",
                cluster.map_or_else(nobody, Cluster::streaming_conninfo),
            ),
            ("backup_method", "postgres".to_owned()),
        ];
        if mode != Mode::Archiver {
            options.push(("streaming_archiver", "on".to_owned()));
            options.push(("slot_name", "barman".to_owned()));
            options.push(("create_slot", "auto".to_owned()));
        }
        if mode != Mode::Streaming {
            options.push(("archiver", "on".to_owned()));
        }
        if let Some(cluster) = cluster {
            options.push((
                "path_prefix",
                trees::client_bin(cluster.major())?.display().to_string(),
            ));
        }
        Ok(options
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    fn write_config(&self) -> Result<()> {
        let mut text = String::from("[barman]\n");
        for (name, value) in &self.global {
            text.push_str(&format!("{name} = {value}\n"));
        }
        text.push_str(&format!("\n[{}]\n", self.server));
        for (name, value) in &self.options {
            text.push_str(&format!("{name} = {value}\n"));
        }
        fs::write(self.config_path(), text).context("write the configuration")
    }

    /// Changes an option of the server and writes the configuration again; an empty value removes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_option(&mut self, name: &str, value: &str) -> Result<()> {
        set(&mut self.options, name, value);
        self.write_config()
    }

    /// Changes an option of `[barman]` and writes the configuration again; an empty value removes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_global(&mut self, name: &str, value: &str) -> Result<()> {
        set(&mut self.global, name, value);
        self.write_config()
    }

    /// The sandbox's directory, for whatever else the test needs; readable by the user that runs PostgreSQL.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `barman_home`.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The server's directory in `barman_home`.
    pub fn server_dir(&self) -> PathBuf {
        self.home().join(&self.server)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("barman.conf")
    }

    /// The log file's content so far; empty when there is none.
    pub fn log(&self) -> String {
        fs::read(self.dir.join("barman.log"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// An `archive_command` that puts each WAL file into `incoming/` as one step. Makes `incoming/` writable for the user that runs PostgreSQL.
    ///
    /// # Errors
    /// The directories cannot be made.
    pub fn archive_command(&self) -> Result<String> {
        let incoming = self.server_dir().join("incoming");
        let staging = self.dir.join("staging");
        for dir in [&incoming, &staging] {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
        }
        let (incoming, staging) = (incoming.display(), staging.display());
        Ok(format!(
            "test ! -e {incoming}/%f && cp %p {staging}/%f && mv {staging}/%f {incoming}/%f"
        ))
    }

    /// Our `barman` with this sandbox's configuration: the path given to the builder, else `$BARMAN_RS_PROGRAM`, else the one beside the test's own program in
    /// the target directory.
    ///
    /// # Errors
    /// There is no such program.
    pub fn barman(&self) -> Result<Program> {
        let path = match &self.program {
            Some(path) => {
                ensure!(path.exists(), "{} is not built", path.display());
                path.clone()
            }
            None => barman_program()?,
        };
        Ok(program(&path, &self.config_path(), self.dir()))
    }

    /// Barman 3.20.1 with this sandbox's configuration.
    ///
    /// # Errors
    /// It is not installed.
    pub fn oracle(&self) -> Result<Program> {
        Ok(program(&installed_oracle()?, &self.config_path(), self.dir()))
    }
}

/// Our `barman`: `$BARMAN_RS_PROGRAM`, else the one beside the running test's own program in the target directory.
///
/// # Errors
/// There is no such program.
pub fn barman_program() -> Result<PathBuf> {
    let path = match std::env::var_os(PROGRAM_ENV) {
        Some(path) => PathBuf::from(path),
        None => built_program("barman")?,
    };
    ensure!(path.exists(), "{} is not built", path.display());
    Ok(path)
}

/// Barman 3.20.1.
///
/// # Errors
/// It is not installed.
pub fn installed_oracle() -> Result<PathBuf> {
    let path = cache::oracle_program();
    ensure!(
        path.exists(),
        "the oracle is not at {}: run `cargo xtask setup`",
        path.display()
    );
    Ok(path)
}

/// A program that takes `-c CONFIGURATION`, run in and belonging to the test directory `dir`, which has a `user-home`.
pub fn program(path: &Path, config: &Path, dir: &Path) -> Program {
    Program::new(path)
        .arg("-c")
        .arg(config)
        .belonging_to(dir)
        .env("HOME", dir.join("user-home"))
        // What Barman starts by its own name (`cron`) must be the same program.
        .env("PATH", path_with(path.parent().unwrap_or_else(|| Path::new("/"))))
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let mut path = first.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
    path
}

/// A program of the same build as the running test: `target/<profile>/deps/<test>` -> `target/<profile>/<name>`.
fn built_program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "there is no {name} near {}: build it, or pass its path",
                own.display()
            )
        })
}
