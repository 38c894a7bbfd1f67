//! The trees with everything in them: what they claim to have is there, and works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_macros, reason = "says which trees this machine has")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Background, Cluster, Needs, PgTree, TestDir, user};

/// Runs a tree's program as the user that runs PostgreSQL and returns what it wrote.
fn run(tree: &PgTree, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(tree.program(program));
    command.args(args);
    user::as_server_user(&mut command).unwrap();
    let done = Background::spawn(command, None)
        .unwrap()
        .wait(Duration::from_secs(60))
        .unwrap();
    assert_eq!(done.code, Some(0), "{done}");
    done.stdout + &done.stderr
}

/// Makes a key and a certificate that a server accepts.
fn certificate(dir: &Path) {
    let made = testkit::Program::new("openssl").ok([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        dir.join("server.key").to_str().unwrap(),
        "-out",
        dir.join("server.crt").to_str().unwrap(),
    ]);
    made.unwrap();
    for name in ["server.key", "server.crt"] {
        user::give(&dir.join(name)).unwrap();
    }
}

#[test]
fn a_complete_tree_speaks_tls_compresses_and_has_its_tools() {
    let trees = PgTree::complete();
    let majors: Vec<u16> = trees.iter().map(PgTree::major).collect();
    assert!(majors.contains(&15), "{majors:?}");
    println!(
        "complete trees: {:?}",
        trees.iter().map(PgTree::id).collect::<Vec<_>>()
    );
    for tree in trees {
        let dir = TestDir::new().unwrap();
        let files = dir.server_dir("files").unwrap();
        certificate(&files);
        let cluster = Cluster::builder(tree.major())
            .tree(tree.clone())
            .conf("ssl", "on")
            .conf("ssl_key_file", files.join("server.key").to_str().unwrap())
            .conf("ssl_cert_file", files.join("server.crt").to_str().unwrap())
            .conf(
                if tree.major() >= 17 {
                    "summarize_wal"
                } else {
                    "wal_log_hints"
                },
                "on",
            )
            .start()
            .unwrap();
        for codec in ["lz4", "zstd"] {
            cluster.alter_system("wal_compression", codec).unwrap();
        }
        cluster
            .sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i; CHECKPOINT; UPDATE t SET i = i + 1")
            .unwrap();
        let over_tls = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=require",
            cluster.port()
        );
        let tls = run(
            &tree,
            "psql",
            &[
                "-XAtd",
                &over_tls,
                "-c",
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            ],
        );
        assert_eq!(tls.trim(), "t", "{}", tree.id());

        let backup = files.join("backup");
        for codec in ["server-lz4", "server-zstd"] {
            let to = files.join(codec);
            let mut args = vec!["-d", &over_tls, "-c", "fast", "-N", "-X", "none", "-Ft"];
            args.extend(["--compress", codec, "-D", to.to_str().unwrap()]);
            run(&tree, "pg_basebackup", &args);
        }
        run(
            &tree,
            "pg_basebackup",
            &[
                "-d",
                &over_tls,
                "-c",
                "fast",
                "-N",
                "-D",
                backup.to_str().unwrap(),
            ],
        );
        run(&tree, "pg_verifybackup", &[backup.to_str().unwrap()]);
        let closed = cluster.switch_wal().unwrap();
        let dump = run(
            &tree,
            "pg_waldump",
            &[
                "--stats",
                cluster.data_dir().join("pg_wal").join(closed).to_str().unwrap(),
            ],
        );
        assert!(dump.contains("Transaction"), "{dump}");
        let opened_dir = if tree.major() >= 17 {
            let (increment, whole) = (files.join("increment"), files.join("whole"));
            let manifest = backup.join("backup_manifest");
            let mut args = vec!["-d", &over_tls, "-c", "fast", "-N"];
            args.extend(["-D", increment.to_str().unwrap()]);
            args.extend(["-i", manifest.to_str().unwrap()]);
            run(&tree, "pg_basebackup", &args);
            let mut args = vec!["-N", backup.to_str().unwrap(), increment.to_str().unwrap()];
            args.extend(["-o", whole.to_str().unwrap()]);
            run(&tree, "pg_combinebackup", &args);
            whole
        } else {
            backup
        };
        let opened = Cluster::builder(tree.major())
            .tree(tree.clone())
            .open(&opened_dir)
            .unwrap();
        assert_eq!(opened.sql_value("SELECT count(*) FROM t").unwrap(), "1000");
    }
}

#[test]
fn pgbackrest_of_the_unstable_tree_runs() {
    let Some(program) = testkit::trees::pgbackrest() else {
        assert!(
            PgTree::suite(18).is_err(),
            "the tree is there, and pgBackRest is not"
        );
        println!("there is no pgBackRest: Debian's unstable could not be fetched");
        return;
    };
    let done = testkit::Program::new(program).ok(["version"]).unwrap();
    assert!(done.stdout.starts_with("pgBackRest 2."), "{done}");
}

#[test]
fn a_tree_is_found_by_what_is_needed() {
    let plain = Needs::default();
    let tls = Needs { tls: true, ..plain };
    let tools = Needs {
        client_tools: true,
        ..plain
    };
    let zstd = Needs { zstd: true, ..plain };
    for major in [10, 17, 18] {
        assert!(PgTree::with(major, tls).unwrap().id().starts_with("npm-"));
        assert_eq!(
            PgTree::with(major, plain).unwrap(),
            PgTree::of_major(major).unwrap()
        );
    }
    assert!(PgTree::with(16, tools).unwrap().id().starts_with("wheel-"));
    assert_eq!(PgTree::lowest_with(tls).unwrap().major(), 10);
    assert_eq!(PgTree::lowest_with(zstd).unwrap().major(), 15);
    assert_eq!(
        PgTree::lowest_with(Needs::ALL).unwrap(),
        PgTree::debian(15).unwrap()
    );
    let error = PgTree::with(10, Needs { lz4: true, ..tools })
        .unwrap_err()
        .to_string();
    assert!(error.contains("lz4, client tools"), "{error}");
    // A tree with everything has what it says: the programs are there.
    for tree in PgTree::complete() {
        assert!(
            fs::metadata(tree.program("pg_verifybackup")).is_ok(),
            "{}",
            tree.id()
        );
    }
}
