//! PostgreSQL trees from other suites of Debian than the machine's own, with everything in them.
//!
//! The packages are fetched with `apt-get` through sources, lists and a package state of this setup's own, so that the machine's configuration
//! is read (proxies, certificates) but never changed, and nothing is installed. Signatures and checksums are apt's business. The packages are unpacked into a root
//! of their own, and each program gets a script that starts it with that root's loader and libraries: this needs neither root nor `chroot`, and the
//! server sees the same files as everybody else. These suites move on and a machine may be offline, so a failure costs this tree only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use testkit::trees::{SUITE_TREES, SUITE_VERSION_FILE, SuiteTree};

use super::{fetch, say, step};
use crate::run;

/// The keys of Debian's archive, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's archive, when the machine's own configuration names none.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// Packages of libraries that the programs run without: the JIT compiler (tens of megabytes) and Perl.
const UNNEEDED: [&str; 5] = ["libllvm", "libz3", "libperl", "libsystemd-shared", "libc-l10n"];

/// Where a suite's libraries are below its root.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Fetches the trees that are not there. What cannot be had is said.
pub fn install() {
    for tree in &SUITE_TREES {
        if tree.version().is_some() {
            continue;
        }
        let what = format!(
            "fetch PostgreSQL {} with everything in it (Debian's {})",
            tree.major, tree.suite
        );
        if let Err(error) = step(&what, || install_tree(tree)) {
            let reason = format!("{error:#}").replace('\n', " ");
            say(&format!(
                "  not to be had, tests use other trees: {}",
                reason.get(..300).unwrap_or(&reason)
            ));
        }
    }
}

fn install_tree(tree: &SuiteTree) -> Result<()> {
    for tool in ["apt-get", "dpkg-deb"] {
        ensure!(run::find(tool).is_some(), "this machine has no {tool}");
    }
    ensure!(
        Path::new(KEYRING).exists(),
        "{KEYRING} is missing (package debian-archive-keyring)"
    );
    let scratch = fetch::scratch(&format!("debian-{}", tree.suite))?;
    let apt = Apt::new(&scratch, tree.suite)?;
    apt.update()?;
    let all = apt.with_dependencies(tree.packages)?;
    let wanted: Vec<&str> = all
        .keys()
        .map(String::as_str)
        .filter(|name| tree.packages.contains(name) || is_library(name))
        .collect();
    let fresh = scratch.join("root");
    fs::create_dir(&fresh)?;
    for package in apt.download(&wanted)? {
        run::quiet(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&fresh))?;
    }
    let server = format!("postgresql-{}", tree.major);
    let version = all
        .get(&server)
        .with_context(|| format!("no version of {server}"))?;
    // The scripts hold the final path, and the checks below run them: the tree has its place before it counts as there.
    let root = tree.root();
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove what is left of {}", root.display()))?;
    }
    fetch::publish(&fresh, &root)?;
    without_jit(tree)?;
    wrap_programs(tree)?;
    let file_name = version.replace([':', '/', '~'], "_");
    fs::write(root.join(SUITE_VERSION_FILE), format!("{file_name}\n"))
        .context("mark the tree as complete")?;
    fs::remove_dir_all(&scratch).context("remove the download")
}

fn is_library(package: &str) -> bool {
    // libc-bin holds the locale C.UTF-8.
    let library = package.starts_with("lib") || package == "zlib1g";
    library && !package.ends_with("-perl") && !UNNEEDED.iter().any(|name| package.starts_with(name))
}

/// `apt-get` for one suite, with a state of its own below a directory.
struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn new(scratch: &Path, suite: &str) -> Result<Self> {
        let dir = scratch.join("apt");
        for sub in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        // No package counts as installed, so every library is a dependency to fetch.
        fs::write(dir.join("state/status"), "")?;
        let mirror = mirror();
        fs::write(
            dir.join("sources.list"),
            format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"),
        )?;
        Ok(Self { dir })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "APT::Sandbox::User=root"]);
        for (name, path) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State", "state"),
            ("Dir::State::status", "state/status"),
            ("Dir::Cache", "cache"),
        ] {
            let mut option = std::ffi::OsString::from(format!("{name}="));
            option.push(self.dir.join(path));
            command.arg("-o").arg(option);
        }
        for option in [
            "Dir::Etc::sourceparts=/dev/null",
            "Dir::Etc::preferences=/dev/null",
            "Dir::Etc::preferencesparts=/dev/null",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
            "Acquire::http::Timeout=30",
            "Acquire::https::Timeout=30",
            "Acquire::Retries=1",
            "APT::Install-Recommends=false",
            "APT::Update::Error-Mode=any",
        ] {
            command.args(["-o", option]);
        }
        command.env("LC_ALL", "C");
        command
    }

    fn update(&self) -> Result<()> {
        run::quiet(self.command().arg("update")).map(drop)
    }

    /// The packages and all that they depend on, with their versions.
    fn with_dependencies(&self, packages: &[&str]) -> Result<BTreeMap<String, String>> {
        let plan = run::quiet(self.command().args(["install", "--simulate"]).args(packages))?;
        let found = parse_plan(&plan);
        for package in packages {
            ensure!(
                found.contains_key(*package),
                "apt-get would not install {package}"
            );
        }
        Ok(found)
    }

    fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join("packages");
        run::quiet(self.command().arg("download").args(packages).current_dir(&dir))?;
        let files: Vec<PathBuf> = fs::read_dir(&dir)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        ensure!(
            files.len() == packages.len(),
            "{} packages were asked for, {} came",
            packages.len(),
            files.len()
        );
        Ok(files)
    }
}

/// Names and versions in the output of `apt-get --simulate install`: `Inst libc6 (2.43-7 Debian:unstable [amd64])`.
fn parse_plan(plan: &str) -> BTreeMap<String, String> {
    plan.lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("Inst ")?.split_whitespace();
            let name = words.next()?;
            let version = words.next()?.strip_prefix('(')?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// The machine's own mirror of Debian: what it has configured decides how the archive is reached.
fn mirror() -> String {
    let listed = run::quiet(Command::new("apt-get").args(["--print-uris", "update"])).unwrap_or_default();
    mirror_in(&listed).unwrap_or(DEFAULT_MIRROR).to_owned()
}

/// The first archive in the output of `apt-get --print-uris update` that is Debian's own: not its security or debug archive, nobody else's.
fn mirror_in(listed: &str) -> Option<&str> {
    listed.lines().find_map(|line| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (archive, _) = uri.split_once("/dists/")?;
        archive.ends_with("/debian").then_some(archive)
    })
}

/// Takes the JIT provider out: its libraries are not there, and a server that finds it would fail on them. Without it PostgreSQL runs without JIT.
fn without_jit(tree: &SuiteTree) -> Result<()> {
    let lib = tree.root().join(format!("usr/lib/postgresql/{}/lib", tree.major));
    for name in ["llvmjit.so", "llvmjit_types.bc"] {
        match fs::remove_file(lib.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("remove the JIT provider");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Moves the programs aside and puts a script in the place of each.
fn wrap_programs(tree: &SuiteTree) -> Result<()> {
    let root = tree.root();
    let bin = tree.bin();
    let programs = bin.with_file_name("programs");
    fs::rename(&bin, &programs).context("move the programs aside")?;
    fs::create_dir(&bin)?;
    let pgbackrest = root.join("usr/bin/pgbackrest");
    if tree.packages.contains(&"pgbackrest") {
        fs::rename(&pgbackrest, programs.join("pgbackrest")).context("move pgbackrest")?;
    }
    let loader = ["usr/lib64", "lib64"]
        .iter()
        .map(|dir| root.join(dir).join("ld-linux-x86-64.so.2"))
        .find(|path| path.exists())
        .context("the packages have no loader")?;
    let libraries = LIBRARIES
        .map(|dir| root.join(dir).display().to_string())
        .join(":");
    for entry in fs::read_dir(&programs)? {
        let program = entry?.path();
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        check_libraries(&root, &loader, &libraries, &program)?;
        let script = bin.join(&*name);
        fs::write(&script, wrapper(&root, &loader, &libraries, &script, &program)?)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    for name in ["postgres", "initdb", "pg_basebackup", "pg_verifybackup"] {
        run::quiet(Command::new(bin.join(name)).arg("--version"))?;
    }
    Ok(())
}

/// The script that starts one program. `--argv0` lets PostgreSQL find its directories from `bin`, where its other programs have their scripts.
fn wrapper(root: &Path, loader: &Path, libraries: &str, script: &Path, program: &Path) -> Result<String> {
    for path in [root, loader, script, program] {
        ensure!(
            !path.to_string_lossy().contains(['\'', ':']),
            "{} cannot be written into a script",
            path.display()
        );
    }
    let mut text = String::from(
        "#!/bin/sh\n# Written by `cargo xtask setup` of barman-rs: runs the program with its own suite's loader and libraries.\n",
    );
    writeln!(text, "export LOCPATH='{}/usr/lib/locale'", root.display())?;
    writeln!(
        text,
        "exec '{}' --inhibit-cache --library-path '{libraries}' --argv0 '{}' '{}' \"$@\"",
        loader.display(),
        script.display(),
        program.display()
    )?;
    Ok(text)
}

/// Insists that every library of a program comes from the tree: one of the machine's own would be of another version.
fn check_libraries(root: &Path, loader: &Path, libraries: &str, program: &Path) -> Result<()> {
    let listed = run::quiet(
        Command::new(loader)
            .args(["--inhibit-cache", "--library-path", libraries, "--list"])
            .arg(program),
    )?;
    // "\tlibz.so.1 => /path/libz.so.1 (0x...)"; the loader itself and the kernel's page have no arrow.
    for line in listed.lines() {
        let Some((name, path)) = line.trim().split_once(" => ") else {
            continue;
        };
        if !Path::new(path).starts_with(root) {
            bail!("{} finds {name} at {path}", program.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_apt_is_understood() {
        let plan = "Inst gcc-16-base (16.2.0-4 Debian:unstable [amd64])\nConf gcc-16-base (16.2.0-4 Debian:unstable [amd64])\n\
                    Inst libcrypt1 (1:4.5.2+20251210-1 Debian:unstable [amd64]) []\n";
        let found: Vec<_> = parse_plan(plan).into_iter().collect();
        assert_eq!(
            found,
            [
                ("gcc-16-base".to_owned(), "16.2.0-4".to_owned()),
                ("libcrypt1".to_owned(), "1:4.5.2+20251210-1".to_owned()),
            ]
        );
    }

    #[test]
    fn only_libraries_that_programs_need_come_along() {
        let cases = [
            ("libc6", true),
            ("zlib1g", true),
            ("libc-bin", true),
            ("libssl3t64", true),
            ("libllvm19", false),
            ("libipc-run-perl", false),
            ("perl", false),
            ("postgresql-common", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_library(name), expected, "{name}");
        }
    }

    #[test]
    fn the_machines_mirror_of_debian_is_found() {
        let listed = "'https://deb.example.org/node/dists/x/InRelease' a 0 \n\
                      'http://mirror.example.org/debian-security/dists/bookworm-security/InRelease' b 0 \n\
                      'http://mirror.example.org/debian/dists/bookworm/InRelease' c 0 \n";
        assert_eq!(mirror_in(listed), Some("http://mirror.example.org/debian"));
        assert_eq!(mirror_in("Reading package lists...\n"), None);
    }
}
