//! Programs that only `cargo xtask bench` needs, as peers. What cannot be had is said there in its row, and stops nothing.

use testkit::trees;

use super::{debian, say};

/// pgBackRest of the machine's own Debian, where a newer one could not be fetched.
const PGBACKREST: [(&str, &str); 1] = [("pgbackrest", "pgbackrest")];

/// Installs the peers that are not there.
pub fn install() {
    if trees::pgbackrest().is_some() {
        return;
    }
    if let Err(error) = debian::install_packages(&PGBACKREST) {
        say(&format!("a peer is missing: {error:#}"));
    }
}
