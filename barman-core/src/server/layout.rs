//! The paths of a server.

use barman_catalog::Layout;

use crate::config::ServerConfig;

/// The paths that a server's settings name.
#[must_use]
pub fn layout(config: &ServerConfig) -> Layout {
    let mut layout = Layout::new(&config.name, &config.barman_home);
    layout.backup_directory.clone_from(&config.backup_directory);
    layout
        .basebackups_directory
        .clone_from(&config.basebackups_directory);
    layout.wals_directory.clone_from(&config.wals_directory);
    layout
        .incoming_wals_directory
        .clone_from(&config.incoming_wals_directory);
    layout
        .streaming_wals_directory
        .clone_from(&config.streaming_wals_directory);
    layout.errors_directory.clone_from(&config.errors_directory);
    layout.xlogdb_directory.clone_from(&config.xlogdb_directory);
    layout.lock_directory.clone_from(&config.lock_directory);
    layout
}
