//! Generated catalogues, which no code of this crate has written: read and written again byte for byte, and damage borne.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use barman_catalog::accounting::WalIndex;
use barman_catalog::backup_info::BackupInfo;
use barman_catalog::retention::{self, RetentionPolicy, WindowUnit};
use barman_catalog::xlogdb::{self, CustomMagic};
use barman_catalog::{Catalog, Layout};
use std::fs;
use testkit::TestDir;
use testkit::catalogue::{self, Recipe, WriteOptions, blueprint::XlogDbForm, encode};

#[test]
fn each_backup_info_is_written_as_it_was_read() {
    for recipe in (0..300).map(Recipe::varied) {
        for server in recipe.blueprint().servers {
            for backup in &server.backups {
                let before = encode::backup_info(backup);
                let info = BackupInfo::parse(backup.id.parse().unwrap(), &server.name, before.as_bytes());
                let after = info.unwrap().to_text().unwrap();
                // What the Barman of its time did not know is written out.
                assert_eq!(after, encode::current_backup_info(backup), "{recipe}");
            }
        }
    }
}

#[test]
fn the_catalogue_of_wal_is_written_as_it_was_read() {
    for recipe in (0..40).map(Recipe::varied) {
        let blueprint = recipe.blueprint();
        let server = &blueprint.servers[0];
        if server.xlogdb != XlogDbForm::Current {
            continue;
        }
        let expected: String = server
            .wals
            .iter()
            .filter_map(|wal| {
                let mut wal = *wal;
                wal.columns = 5;
                encode::xlogdb_line(server.geometry, &wal, wal.size)
            })
            .collect();
        let dir = TestDir::new().unwrap();
        let home = catalogue::write(&blueprint, dir.path(), &WriteOptions::default()).unwrap();
        let layout = Layout::new(&server.name, home.path());
        let db = xlogdb::read(&layout, &CustomMagic::None, None).unwrap();
        xlogdb::LockedXlogDb::open(&layout, &CustomMagic::None, None)
            .unwrap()
            .replace(&db)
            .unwrap();
        assert_eq!(fs::read_to_string(layout.xlogdb()).unwrap(), expected, "{recipe}");
    }
}

#[test]
fn damaged_catalogues_are_read_as_far_as_they_can_be() {
    let policy = RetentionPolicy::RecoveryWindow {
        count: 1,
        unit: WindowUnit::Weeks,
    };
    for recipe in (0..if testkit::is_long() { 300 } else { 50 }).map(Recipe::damaged) {
        let blueprint = recipe.blueprint();
        let server = &blueprint.servers[0];
        let dir = TestDir::new().unwrap();
        let home = catalogue::write(&blueprint, dir.path(), &WriteOptions::default()).unwrap();
        let layout = Layout::new(&server.name, home.path());
        let catalog = Catalog::load(&layout).unwrap();
        let found = catalog.backups().count() + catalog.broken().len();
        assert_eq!(found, server.backups.len(), "{recipe}");
        let index = WalIndex::new(&xlogdb::read(&layout, &CustomMagic::None, None).unwrap());
        for backup in catalog.backups() {
            let _ = index.figures(backup, catalog.next(backup.id));
            let _ = catalog.chain(backup.id);
            let _ = catalog.tree_leaves_first(backup.id);
        }
        let now = jiff::Timestamp::from_second(blueprint.now).unwrap();
        let _ = retention::report(policy, 1, &catalog, now);
    }
}
