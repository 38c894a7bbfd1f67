//! The example programs do what their first lines say, with a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::path::PathBuf;
use std::time::Duration;

use testkit::{Cluster, Mode, Program, Sandbox};

/// Cargo builds the examples of a package with its tests, beside them.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = directory.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not there: cargo build -p barman-core --examples",
        program.display()
    );
    program
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
    let program = Program::new(example("embed")).timeout(Duration::from_secs(120));
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
