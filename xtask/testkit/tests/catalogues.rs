//! Generated catalogues are Barman's: it reads each of them without an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use testkit::TestDir;
use testkit::catalogue::{self, Blueprint, Recipe, WriteOptions};

#[test]
fn the_oracle_reads_every_catalogue() {
    let seeds = if testkit::is_long() { 0..300 } else { 0..40 };
    let recipes = seeds.map(Recipe::varied).chain([Recipe::small(1)]);
    let blueprint =
        Blueprint::joined(recipes.map(|recipe| (recipe.to_string().replace(':', "-"), recipe.blueprint())));
    let dir = TestDir::new().unwrap();
    let home = catalogue::write(&blueprint, dir.path(), &WriteOptions::default()).unwrap();
    // Barman needs about a second for five servers, more where other tests run beside it.
    let oracle = home.oracle().unwrap().timeout(Duration::from_secs(600));
    let listed = oracle.ok(["list-backups", "all"]).unwrap();
    assert_eq!(listed.stderr, "");
    let all: usize = blueprint.servers.iter().map(|s| s.backups.len()).sum();
    assert_eq!(listed.stdout.lines().count(), all, "{listed}");
    // One backup of each kind is shown as well.
    let mut kinds = std::collections::BTreeSet::new();
    for server in &blueprint.servers {
        for backup in &server.backups {
            if kinds.insert((backup.status.name(), backup.mode.name(), backup.parent.is_some())) {
                let shown = oracle.ok(["show-backup", &server.name, &backup.id]).unwrap();
                assert_eq!(shown.stderr, "");
            }
        }
    }
    assert!(kinds.len() > 12, "{kinds:?}");
}

#[test]
fn a_blueprint_survives_as_json() {
    let blueprint = Recipe::varied(5).blueprint();
    let text = serde_json::to_string(&blueprint).unwrap();
    assert_eq!(serde_json::from_str::<Blueprint>(&text).unwrap(), blueprint);
}
