use super::*;
use crate::config::Config;

fn server(settings: &str) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let text = format!("[barman]\nbarman_home = /h\nbarman_lock_directory = /l\n[s]\n{settings}");
    std::fs::write(&path, text).unwrap();
    Server::new(Config::load(&path, None).unwrap().server("s").unwrap().clone())
}

#[test]
fn paths_follow_the_configuration() {
    let server = server("backup_directory = /b\nwals_directory = /w\n");
    let layout = server.layout();
    assert_eq!(layout.xlogdb(), std::path::Path::new("/w/s-xlog.db"));
    assert_eq!(layout.meta_directory(), std::path::Path::new("/b/meta"));
    assert_eq!(layout.cron_lock(), std::path::Path::new("/l/.s-cron.lock"));
    assert_eq!(
        layout.incoming_wals_directory,
        std::path::Path::new("/b/incoming")
    );
}

#[test]
fn who_has_no_connections_says_why() {
    let mut inactive = server("active = off\nconninfo = host=a\n");
    assert!(matches!(inactive.sql(), Err(ServerError::NoConnections { .. })));
    let mut passive = server("primary_ssh_command = x\nconninfo = host=a\n");
    assert!(matches!(
        passive.streaming(),
        Err(ServerError::NoConnections { .. })
    ));
    let mut missing = server("archiver = on\n");
    let error = missing.sql().unwrap_err();
    assert_eq!(error.to_string(), "Missing 'conninfo' parameter for server 's'");
    let mut wrong = server("conninfo = host=a password\n");
    let text = wrong.sql().unwrap_err().to_string();
    assert!(!text.is_empty());
}

#[test]
fn wal_connections_replace_what_is_set() {
    for (settings, replaced, streaming, normal) in [
        ("", vec![], "host=s", "host=a"),
        ("wal_conninfo = host=v\n", vec!["conninfo"], "host=s", "host=v"),
        (
            "wal_streaming_conninfo = host=w\n",
            vec!["streaming_conninfo", "conninfo"],
            "host=w",
            "host=w",
        ),
    ] {
        let mut server = server(&format!(
            "conninfo = host=a\nstreaming_conninfo = host=s\n{settings}"
        ));
        assert_eq!(server.use_wal_connections(), replaced);
        assert_eq!(server.config().streaming_conninfo.as_deref(), Some(streaming));
        assert_eq!(server.config().conninfo.as_deref(), Some(normal));
    }
}
