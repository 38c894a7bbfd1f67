//! Seeded catalogues: everything that can lie in a Barman home, without PostgreSQL and without a backup ever taken.
//!
//! A [`Recipe`] (`varied:42`) gives a [`Blueprint`], a description that depends on nothing but the recipe and the clock it is told; [`write()`]
//! puts that on disk in Barman's encodings, with a configuration by which Barman and our program can be run at once. Nothing here uses the
//! product's crates: a mistake that both made would not be seen.
//!
//! ```no_run
//! use testkit::catalogue::{self, Recipe, WriteOptions};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut blueprint = "varied:42".parse::<Recipe>()?.blueprint();
//! blueprint.servers[0].set_option("retention_policy", "REDUNDANCY 2");
//! let dir = testkit::TestDir::new()?;
//! let home = catalogue::write(&blueprint, dir.path(), &WriteOptions::default())?;
//! let listed = home.oracle()?.ok(["list-backups", "all"])?;
//! assert_eq!(listed.stdout.lines().count(), blueprint.servers[0].backups.len());
//! # Ok(())
//! # }
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `recipe` | seeds and profiles as text |
//! | `blueprint` | what is in a catalogue, as data |
//! | `generate` | from the one to the other; the place for a new state |
//! | `encode` | `backup.info`, `xlog.db` lines and so on, as text |
//! | `write`, `data`, `wal_content` | onto disk |
//! | `home` | the written home: configuration, programs |
//! | `wal_name`, `rng` | names of WAL files; numbers |

pub mod blueprint;
mod data;
pub mod encode;
mod generate;
mod home;
mod recipe;
mod rng;
mod wal_content;
pub mod wal_name;
mod write;

pub use blueprint::Blueprint;
pub use home::WrittenHome;
pub use recipe::{DEFAULT_NOW, Profile, Recipe};
pub use rng::Rng;
pub use write::{WalBodies, WriteOptions, write};
