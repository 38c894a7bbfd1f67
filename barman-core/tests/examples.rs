//! The example programs do what their first lines say, with a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::time::Duration;

use testkit::{Cluster, Mode, Program, Sandbox};

fn example(name: &str) -> Program {
    Program::example("barman-core", name).unwrap()
}

#[test]
fn a_server_is_checked_backed_up_and_listed() {
    let cluster = Cluster::start_new(15).unwrap();
    let sandbox = Sandbox::builder("main")
        .cluster(&cluster)
        .mode(Mode::Archiver)
        .option("immediate_checkpoint", "true")
        .build()
        .unwrap();
    let config = sandbox.config_path();
    let program = example("embed").timeout(Duration::from_secs(120));
    let done = program.ok([config.to_str().unwrap(), "main"]).unwrap();
    assert!(!done.stdout.contains("not ready"), "{done}");
    let taken = done
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("taken: "))
        .unwrap_or_else(|| panic!("no backup: {done}"));
    assert_eq!(
        done.stdout.lines().last(),
        Some(format!("{taken} DONE").as_str()),
        "{done}"
    );
    assert!(
        sandbox
            .server_dir()
            .join("base")
            .join(taken)
            .join("data/PG_VERSION")
            .exists()
    );
    let refused = program.run([config.to_str().unwrap(), "nosuch"]).unwrap();
    assert!(
        refused.code == Some(1) && refused.stderr.contains("no such server"),
        "{refused}"
    );
}
