//! The recipes of `docs/patroni.md` in a real Patroni cluster on etcd: the command lines that Patroni makes reach
//! `patroni_barman`, and the cluster comes up from what the service puts into the data directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use testkit::ports::PortLease;
use testkit::{Background, Cluster, PgTree, Program, Stop, TestDir, cache, is_long, user, wait_until};

use crate::service::{Act, Script, Service, ok};

const PATIENCE: Duration = Duration::from_secs(90);

/// One node: Patroni and its PostgreSQL.
struct Node {
    name: &'static str,
    data: PathBuf,
    log: PathBuf,
    config: PathBuf,
    sql: PortLease,
    rest: PortLease,
    patroni: Option<Background>,
}

/// What all nodes share.
struct World<'a> {
    dir: &'a TestDir,
    etcd: u16,
    api: u16,
    program: &'a Path,
    bin: &'a Path,
}

impl Node {
    fn new(name: &'static str, world: &World<'_>) -> Self {
        let home = world.dir.server_dir(name).unwrap();
        let node = Self {
            name,
            data: home.join("data"),
            log: home.join("barman.log"),
            config: home.join("patroni.yml"),
            sql: PortLease::take().unwrap(),
            rest: PortLease::take().unwrap(),
            patroni: None,
        };
        let command = format!(
            "{} --api-url http://127.0.0.1:{}",
            world.program.display(),
            world.api
        );
        let text = include_str!("patroni.yml")
            .replace("{name}", name)
            .replace("{home}", &home.display().to_string())
            .replace("{data}", &node.data.display().to_string())
            .replace("{bin}", &world.bin.display().to_string())
            .replace("{log}", &node.log.display().to_string())
            .replace("{command}", &command)
            .replace("{etcd}", &world.etcd.to_string())
            .replace("{sql}", &node.sql.port().to_string())
            .replace("{rest}", &node.rest.port().to_string());
        fs::write(&node.config, text).unwrap();
        node
    }

    fn start(&mut self, dir: &TestDir) {
        let mut command = Command::new(cache::patroni_program("patroni"));
        command
            .arg(&self.config)
            .current_dir(dir.path())
            .env(testkit::dirs::MARK, dir.path());
        user::as_server_user(&mut command).unwrap();
        self.patroni = Some(Background::spawn(command, None).unwrap());
    }

    /// The barman log, and Patroni's own.
    fn logs(&self) -> String {
        let own = self
            .patroni
            .as_ref()
            .and_then(|patroni| patroni.stderr_so_far().ok());
        format!(
            "--- {}\n{}\n{}",
            self.name,
            fs::read_to_string(&self.log).unwrap_or_default(),
            own.unwrap_or_default()
        )
    }

    fn sql(&self, bin: &Path, query: &str) -> anyhow::Result<String> {
        let port = self.sql.port().to_string();
        let words = [
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-XAtc",
            query,
            "-p",
            &port,
            "postgres",
        ];
        Ok(Program::new(bin.join("psql"))
            .run(words)?
            .stdout
            .trim()
            .to_owned())
    }
}

/// A data directory as a restore leaves it, by copying a stopped cluster.
fn template(dir: &TestDir) -> PathBuf {
    let cluster = Cluster::builder(15)
        .tree(PgTree::debian(15).unwrap())
        .start()
        .unwrap();
    cluster.sql("CREATE TABLE t AS SELECT 42 AS answer").unwrap();
    cluster.stop(Stop::Fast).unwrap();
    let copy = dir.join("template");
    copy_tree(cluster.data_dir(), &copy);
    // The node's own settings come from Patroni.
    fs::write(copy.join("postgresql.conf"), "").unwrap();
    // What Barman's restore leaves for the recovery.
    fs::write(
        copy.join("postgresql.auto.conf"),
        "restore_command = 'false'\nrecovery_end_command = 'touch recovered'\n",
    )
    .unwrap();
    fs::write(copy.join("recovery.signal"), "").unwrap();
    user::give_data_directory(&copy).unwrap();
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    let from = format!("{}/.", from.display());
    fs::create_dir_all(to).unwrap();
    Program::new("/bin/cp")
        .ok(["-a", &from, to.to_str().unwrap()])
        .unwrap();
    user::give_data_directory(to).unwrap();
}

/// The value of a key in a body, which has no escapes here.
fn value<'a>(body: &'a str, key: &str) -> &'a str {
    let (_, rest) = body.split_once(&format!("\"{key}\": \"")).unwrap();
    rest.split_once('"').unwrap().0
}

#[test]
fn bootstrap_replica_and_callback() {
    if !is_long() {
        return;
    }
    let dir = TestDir::new().unwrap();
    let program = dir.join("patroni_barman");
    fs::copy(env!("CARGO_BIN_EXE_patroni_barman"), &program).unwrap();
    let template = template(&dir);
    let restore = move |body: &str| {
        if body.contains("\"recovery\"") {
            copy_tree(&template, Path::new(value(body, "destination_directory")));
        }
    };
    let script = Script {
        health: vec![ok("\"OK\"")],
        create: vec![Act::Do(
            Arc::new(restore),
            r#"{"operation_id":"20261121T050225"}"#,
        )],
        poll: vec![ok(r#"{"status":"DONE"}"#)],
        cancel: Vec::new(),
    };
    let service = Service::start(&script, None).unwrap();
    let (client, peer) = (PortLease::take().unwrap(), PortLease::take().unwrap());
    let url = |lease: &PortLease| format!("http://127.0.0.1:{}", lease.port());
    let _etcd = Program::new("/usr/bin/etcd")
        .belonging_to(dir.path())
        .spawn([
            "--data-dir",
            dir.join("etcd").to_str().unwrap(),
            "--listen-client-urls",
            &url(&client),
            "--advertise-client-urls",
            &url(&client),
            "--listen-peer-urls",
            &url(&peer),
            "--initial-advertise-peer-urls",
            &url(&peer),
            "--initial-cluster",
            &format!("default={}", url(&peer)),
            "--unsafe-no-fsync",
        ])
        .unwrap();
    let tree = PgTree::debian(15).unwrap();
    let world = World {
        dir: &dir,
        etcd: client.port(),
        api: service.port(),
        program: &program,
        bin: tree.bin(),
    };
    let mut nodes = [Node::new("node1", &world), Node::new("node2", &world)];
    let is_primary = |node: &Node| Ok(node.sql(world.bin, "SELECT pg_is_in_recovery()")? == "f");

    nodes[0].start(&dir);
    wait_until("the primary", PATIENCE, || is_primary(&nodes[0]))
        .unwrap_or_else(|error| panic!("{error}\n{}", nodes[0].logs()));
    assert_eq!(nodes[0].sql(world.bin, "SELECT answer FROM t").unwrap(), "42");
    // `keep_existing_recovery_conf`: with the settings of the restore.
    assert!(nodes[0].data.join("recovered").exists(), "{}", nodes[0].logs());
    nodes[1].start(&dir);
    wait_until("the replica", PATIENCE, || {
        Ok(nodes[0].sql(world.bin, "SELECT count(*) FROM pg_stat_replication")? == "1")
    })
    .unwrap_or_else(|error| panic!("{error}\n{}\n{}", nodes[0].logs(), nodes[1].logs()));

    let bodies = |kind: &str| -> Vec<String> {
        let seen = service.seen();
        let bodies = seen.into_iter().map(|seen| seen.body);
        bodies.filter(|body| body.contains(kind)).collect()
    };
    let recoveries = bodies("\"recovery\"");
    for (node, body) in nodes.iter().zip(&recoveries) {
        let expected = format!(
            "{{\"type\": \"recovery\", \"backup_id\": \"latest\", \"remote_ssh_command\": \"ssh postgres@{}\", \"destination_directory\": \"{}\"}}",
            node.name,
            node.data.display()
        );
        assert_eq!(*body, expected);
    }
    assert_eq!(recoveries.len(), 2, "{recoveries:?}");

    // The roles change: the callbacks of both nodes run, and the new primary's acts.
    let before = bodies("config_switch").len();
    let ask = format!("http://127.0.0.1:{}/switchover", nodes[0].rest.port());
    wait_until("the switchover", PATIENCE, || {
        let body = r#"{"leader":"node1","candidate":"node2"}"#;
        // Refused until Patroni knows that the replica has caught up.
        let finished = Program::new("/usr/bin/curl").run(["-fsS", "-d", body, &ask])?;
        Ok(finished.code == Some(0))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", nodes[0].logs()));
    wait_until("the other primary", PATIENCE, || is_primary(&nodes[1]))
        .unwrap_or_else(|error| panic!("{error}\n{}", nodes[1].logs()));
    wait_until("the switch", PATIENCE, || {
        Ok(bodies("config_switch").len() > before)
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", nodes[1].logs()));
    assert_eq!(
        bodies("config_switch").last().unwrap(),
        r#"{"type": "config_switch", "model_name": "main:node2"}"#
    );
    wait_until("the other callback", PATIENCE, || {
        Ok(fs::read_to_string(&nodes[0].log)?.contains("switch_when=promoted"))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", nodes[0].logs()));
    drop(nodes);
}
