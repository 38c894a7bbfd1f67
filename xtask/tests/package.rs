//! Every crate that is meant for others can be packaged: versions, descriptions, licences and files are complete.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use std::path::Path;
use std::process::Command;

const PUBLISHED: [&str; 6] = [
    "barman-wal",
    "barman-pg",
    "barman-catalog",
    "barman-core",
    "patroni-barman",
    "barman-cli",
];

/// They are packaged together: none of them need be in a registry for that. Nothing is compiled.
#[test]
fn every_published_crate_can_be_packaged() {
    let target = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args([
            "package",
            "--allow-dirty",
            "--no-verify",
            "--offline",
            "--target-dir",
        ])
        .arg(target.path());
    for name in PUBLISHED {
        command.args(["-p", name]);
    }
    let output = command.output().expect("run cargo");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    // Cargo only warns of a missing description or licence. Tests stay here.
    let warning = stderr
        .lines()
        .find(|line| line.starts_with("warning") && !line.contains("ignoring test"));
    assert_eq!(warning, None, "{stderr}");
    for name in PUBLISHED {
        let file = format!("package/{name}-{}.crate", env!("CARGO_PKG_VERSION"));
        assert!(target.path().join(&file).exists(), "{file}: {stderr}");
        let packed = std::fs::File::open(target.path().join(&file)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let prefix = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
        for wanted in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "Cargo.toml"] {
            assert!(
                names.contains(&format!("{prefix}/{wanted}")),
                "{name} has no {wanted}: {names:?}"
            );
        }
    }
}
