//! `check` of servers whose backups come over ssh or from this host: a real `sshd`, real servers, and ssh commands that
//! hang.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod check_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use barman_catalog::{BackupInfo, BackupStatus, Layout, backup_info};
use barman_core::context::{Silent, SystemClock};
use barman_core::ops::check::{self, CheckOptions};
use barman_core::{Cancel, CancelCause, Context, Server};
use check_support::{Host, lines, run};
use testkit::{Cluster, Sshd, wait_until};

const LONG: Duration = Duration::from_secs(60);
const NOBODY: &str = "host=127.0.0.1 port=1 user=barman";
const LABEL: &str =
    "backup_label: FAILED (Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.)";
const METHOD: &str = "backup method: FAILED (backup_method 'rsync' is not available yet)";

/// The lines between the redundancy and the system identifiers: those of the backup method.
fn of_the_method(server: &mut Server) -> Vec<String> {
    let shown = lines(&run(server));
    let place = |name: &str| shown.iter().position(|line| line.starts_with(name)).unwrap();
    shown[place("minimum redundancy") + 1..place("systemid coherence")].to_vec()
}

fn backup(layout: &Layout, id: &str, status: BackupStatus, pgdata: &Path) {
    let mut info = BackupInfo::new(id.parse().unwrap(), "main", Some("rsync".into()));
    info.status = status;
    info.pgdata = Some(pgdata.display().to_string());
    fs::create_dir_all(layout.meta_directory()).unwrap();
    backup_info::save(layout, &info).unwrap();
}

fn script(host: &Host, text: &str) -> PathBuf {
    let path = host.directory.path().join("ssh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_host_over_ssh() {
    let sshd = Sshd::start().unwrap();
    let cluster = Cluster::start_new(15).unwrap();
    let host = Host::new();
    let layout = host.with_wal();
    // A path that no shell may take apart, on this side or the other.
    let pgdata = host.directory.path().join("it's $HOME; data");
    fs::create_dir(&pgdata).unwrap();
    backup(&layout, "20261121T010000", BackupStatus::Failed, &pgdata);
    backup(
        &layout,
        "20261121T020000",
        BackupStatus::Empty,
        Path::new("/nowhere"),
    );
    let label = pgdata.join("backup_label");
    fs::write(&label, "START WAL LOCATION").unwrap();
    let with = |conninfo: &str| {
        host.server(&format!(
            "conninfo = {conninfo}\nbackup_method = rsync\narchiver = on\nssh_command = {}\n",
            sshd.command()
        ))
    };
    let ok = "ssh: OK (PostgreSQL server)";
    // A server that runs has a right to its label.
    assert_eq!(of_the_method(&mut with(&cluster.conninfo())), [ok, METHOD]);
    let mut server = with(NOBODY);
    assert_eq!(of_the_method(&mut server), [ok, LABEL, METHOD]);
    fs::remove_file(&label).unwrap();
    assert_eq!(of_the_method(&mut server), [ok, METHOD]);

    let command = sshd.command();
    sshd.stop();
    let failed = format!(
        "ssh: FAILED (Connection failed using '{command} -o BatchMode=yes -o StrictHostKeyChecking=no' return code 255)"
    );
    assert_eq!(of_the_method(&mut server), [failed.as_str(), METHOD]);
    let report = run(&mut server);
    let critical: Vec<&str> = report.critical().map(|result| result.name.as_str()).collect();
    assert_eq!(critical, ["PostgreSQL", "ssh", "backup method"]);
}

#[test]
fn nothing_may_be_added_to_the_output() {
    let host = Host::new();
    host.with_wal();
    let unclean = "ssh output clean: FAILED (the configured ssh_command must not add anything to the remote command output)";
    for (said, clean) in [
        (":", true),
        ("echo Welcome", false),
        ("echo Welcome >&2", false),
        ("printf '\\0\\377' >&2", false),
    ] {
        let ssh = script(&host, said);
        let mut server = host.server(&format!(
            "conninfo = {NOBODY}\nbackup_method = rsync\narchiver = on\nssh_command = {}\n",
            ssh.display()
        ));
        let mut expected = vec!["ssh: OK (PostgreSQL server)", unclean, METHOD];
        if clean {
            expected.remove(1);
        }
        assert_eq!(of_the_method(&mut server), expected, "{said}");
    }
}

#[test]
fn a_data_directory_on_this_host() {
    let cluster = Cluster::start_new(15).unwrap();
    let host = Host::new();
    host.with_wal();
    let mut server = host.server(&format!(
        "conninfo = {}\nbackup_method = local-rsync\narchiver = on\n",
        cluster.conninfo()
    ));
    let method = "backup method: FAILED (backup_method 'local-rsync' is not available yet)";
    assert_eq!(
        of_the_method(&mut server),
        ["local PGDATA: OK (Access to local PGDATA)", method]
    );
    let version = cluster.data_dir().join("PG_VERSION");
    let kept = fs::read(&version).unwrap();
    fs::remove_file(&version).unwrap();
    let failed = format!(
        "local PGDATA: FAILED ({}: No such file or directory)",
        version.display()
    );
    assert_eq!(of_the_method(&mut server), [failed.as_str(), method]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &version,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let failed = format!("local PGDATA: FAILED ({}: not a regular file)", version.display());
    assert_eq!(of_the_method(&mut server), [failed.as_str(), method]);
    fs::remove_file(&version).unwrap();
    fs::write(&version, kept).unwrap();
}

/// A lease that somebody holds and does not give back: the kernel lets whoever opens the file wait.
const LEASE: &str = "\
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], 'r+')
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";

/// As with an NFS server that is gone, opening a file waits in the kernel; the check does not.
#[test]
fn a_data_directory_that_hangs() {
    let cluster = Cluster::start_new(15).unwrap();
    let host = Host::new();
    host.with_wal();
    let version = cluster.data_dir().join("PG_VERSION");
    let python = testkit::cache::oracle_program().with_file_name("python3");
    let mut holder = std::process::Command::new(python)
        .args(["-c", LEASE])
        .arg(&version)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 4];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"held");
    let mut server = host.server(&format!(
        "conninfo = {}\nbackup_method = local-rsync\narchiver = on\ncheck_timeout = 1\n",
        cluster.conninfo()
    ));
    let shown = lines(&run(&mut server));
    // Still held: nobody has waited for the kernel to take the lease away.
    let lease_is_held = holder.try_wait().unwrap().is_none() && leases().contains("BREAKING");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(lease_is_held, "{shown:#?}");
    let [.., last] = shown.as_slice() else {
        panic!("{shown:#?}")
    };
    assert_eq!(last, "check timeout: FAILED (barman check command timed out)");
    assert!(shown.iter().any(|line| line == "PostgreSQL: OK"), "{shown:#?}");
}

fn leases() -> String {
    fs::read_to_string("/proc/locks").unwrap()
}

/// The limit of all checks and the user's wish end a command that hangs, with everything that it started.
#[test]
fn a_command_that_hangs() {
    let host = Host::new();
    host.with_wal();
    let pid = host.directory.path().join("pid");
    let ssh = script(&host, &format!("sleep 300 &\necho $! > {}\nwait", pid.display()));
    // Long enough for the checks to come as far as the command, and for a shell to start, on a busy machine.
    let mut server = host.server(&format!(
        "conninfo = {NOBODY}\nbackup_method = rsync\narchiver = on\ncheck_timeout = 5\nssh_command = {}\n",
        ssh.display()
    ));
    let gone = || {
        let pid: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        wait_until("what it started has ended", LONG, || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            Ok(!stat.is_ok_and(|stat| !stat.contains(") Z ")))
        })
        .unwrap();
    };
    let start = Instant::now();
    let shown = lines(&run(&mut server));
    assert_eq!(
        shown.last().unwrap(),
        "check timeout: FAILED (barman check command timed out)"
    );
    assert!(shown.len() > 5, "what came before is told: {shown:#?}");
    gone();

    fs::remove_file(&pid).unwrap();
    let cancel = Cancel::new();
    let ctx = Context {
        progress: &Silent,
        cancel: &cancel,
        clock: &SystemClock,
    };
    let options = CheckOptions {
        timeout: Some(Duration::ZERO),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let started = wait_until("it has started", LONG, || {
                Ok(fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')))
            });
            cancel.request(CancelCause::Interrupt);
            started.unwrap();
        });
        let stopped = check::run(&mut server, &options, &ctx).unwrap_err();
        assert_eq!(stopped.cause, CancelCause::Interrupt);
    });
    gone();
    assert!(
        start.elapsed() < Duration::from_secs(200),
        "{:?}",
        start.elapsed()
    );
}
