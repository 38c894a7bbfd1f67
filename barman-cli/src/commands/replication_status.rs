//! `barman replication-status`: the clients of a server, at length or a line each, and in JSON.

use crate::app::{App, CLI};
use crate::args::commands::{ReplicationSource, ReplicationStatusArgs, ReplicationTarget};
use crate::format;
use barman_core::ops::replication_status::{
    self, ClientType, ReplicationClient, ReplicationStatusOptions, ReplicationStatusReport, Source,
};
use barman_wal::Lsn;
use serde_json::{Map, Value, json};

pub(super) fn run(app: &App<'_>, args: &ReplicationStatusArgs) {
    let (target, title) = match args.target {
        ReplicationTarget::All => (ClientType::Any, "streaming clients"),
        ReplicationTarget::HotStandby => (ClientType::Standby, "hot standby servers"),
        ReplicationTarget::WalStreamer => (ClientType::WalStreamer, "WAL streamers"),
    };
    let source = match args.source {
        ReplicationSource::BackupHost => Source::BackupHost,
        ReplicationSource::WalHost => Source::WalHost,
    };
    let options = ReplicationStatusOptions { target, source };
    app.for_all(
        "replication-status",
        &args.servers,
        |servers, found| {
            if source == Source::WalHost {
                for overrides in servers.iter().filter_map(|server| server.wal_overrides()) {
                    app.output.info(CLI, &overrides);
                }
            }
            replication_status::run_each(servers, &options, &app.context(), found);
        },
        |answer| {
            match answer {
                Ok(report) if args.minimal => minimal(app, &report, title),
                Ok(report) => full(app, &report, title),
                Err(error) => {
                    app.output.member(error.server(), json!({}));
                    return app.failure(&error);
                }
            }
            std::ops::ControlFlow::Continue(())
        },
    );
}

/// What both forms begin with; whether there is anybody to show.
fn begin(app: &App<'_>, report: &ReplicationStatusReport, title: &str) -> bool {
    let server = &report.server;
    let nobody = format!("No {title} attached");
    app.output.nested_member(
        server,
        "server_lsn",
        json!(report.server_lsn.map(|lsn| lsn.to_string())),
    );
    if report.clients.is_empty() {
        app.output.nested_member(server, "standby_info", json!(nobody));
        app.output.nested_member(server, &list_key(title), json!([]));
        app.output.line(&format!("  {nobody}"));
    }
    !report.clients.is_empty()
}

fn list_key(title: &str) -> String {
    title.to_lowercase().replace(' ', "_")
}

fn kind(client: &ReplicationClient) -> &'static str {
    if client.is_standby() {
        "standby"
    } else {
        "WAL streamer"
    }
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("None")
}

fn lsn(value: Option<Lsn>) -> String {
    value.map_or_else(|| "None".to_owned(), |lsn| lsn.to_string())
}

/// `text` with its first letter in upper case and the others in lower case.
fn capitalised(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut letters = lower.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn minimal(app: &App<'_>, report: &ReplicationStatusReport, title: &str) {
    let (server, heading) = (&report.server, capitalised(title));
    app.output.line(&match report.server_lsn {
        Some(lsn) => format!("{heading} for master '{server}' (LSN @ {lsn}):"),
        None => format!("{heading} for slave '{server}':"),
    });
    if !begin(app, report, title) {
        return;
    }
    let mut list = Vec::new();
    for (number, client) in (1..).zip(&report.clients) {
        let address = client.address.as_deref().unwrap_or("socket");
        let who = format!("{}@{address}", text(&client.user));
        let mut document = json!({
            "application_name": client.application_name,
            "client_addr": address,
            "sent_lsn": client.sent.map(|lsn| lsn.to_string()),
            "sync_priority": client.sync_priority,
            "user_name": client.user,
        });
        let name = format!("P:{} AN:{}", client.sync_priority, text(&client.application_name));
        if client.is_standby() {
            let letter = capitalised(text(&client.sync_state))
                .chars()
                .take(1)
                .collect::<String>();
            app.output.line(&format!(
                "  {number}. {letter}) {who} S:{} F:{} R:{} {name}",
                lsn(client.sent),
                lsn(client.flushed),
                lsn(client.replayed)
            ));
            document["sync_state"] = json!(letter);
            document["flush_lsn"] = json!(client.flushed.map(|lsn| lsn.to_string()));
            document["replay_lsn"] = json!(client.replayed.map(|lsn| lsn.to_string()));
        } else {
            app.output.line(&format!(
                "  {number}. W) {who} S:{} W:{} {name}",
                lsn(client.sent),
                lsn(client.written)
            ));
            document["write_lsn"] = json!(client.written.map(|lsn| lsn.to_string()));
        }
        list.push(document);
    }
    app.output.nested_member(server, &list_key(title), json!(list));
}

fn full(app: &App<'_>, report: &ReplicationStatusReport, title: &str) {
    let server = &report.server;
    app.output
        .line(&format!("Status of {title} for server '{server}':"));
    if let Some(lsn) = report.server_lsn {
        app.output.line(&format!("  Current LSN on master: {lsn}"));
    }
    if !begin(app, report, title) {
        return;
    }
    app.output
        .line(&format!("  Number of {title}: {}", report.clients.len()));
    let mut list = Vec::new();
    for (number, client) in (1..).zip(&report.clients) {
        let (lines, document) = at_length(client);
        app.output.line("");
        let mut lead = format!("  {number}. ");
        for line in lines {
            app.output.line(&format!("{lead}{line}"));
            lead = "     ".to_owned();
        }
        list.push(document);
    }
    app.output.nested_member(server, &list_key(title), json!(list));
}

/// All about a client: lines, and its object in JSON.
fn at_length(client: &ReplicationClient) -> (Vec<String>, Value) {
    let mut lines = Vec::new();
    let mut document = Map::new();
    let mut set = |key: &str, value: Value| document.insert(key.to_owned(), value);
    let state = capitalised(text(&client.sync_state));
    let name = match client.sync_priority {
        rank @ 1.. => format!("#{rank} {state} {}", kind(client)),
        _ => format!("{state} {}", kind(client)),
    };
    set("name", json!(name));
    lines.push(name);
    set("application_name", json!(client.application_name));
    lines.push(format!("Application name: {}", text(&client.application_name)));
    let stage = client.sync_stage();
    set("sync_stage", json!(stage));
    lines.push(format!("Sync stage      : {stage}"));
    let communication = match &client.address {
        Some(_) => "TCP/IP",
        None => "Unix domain socket",
    };
    set("communication", json!(communication));
    lines.push(format!("Communication   : {communication}"));
    if let Some(address) = &client.address {
        set("ip_address", json!(address));
        set("port", json!(client.port));
        set("host", json!(client.hostname));
        let port = client
            .port
            .map_or_else(|| "None".to_owned(), |port| port.to_string());
        let host = client.hostname.as_deref().unwrap_or("-");
        lines.push(format!(
            "IP Address      : {address} / Port: {port} / Host: {host}"
        ));
    }
    set("user_name", json!(client.user));
    lines.push(format!("User name       : {}", text(&client.user)));
    set("current_state", json!(client.state));
    set("current_sync_state", json!(client.sync_state));
    lines.push(format!(
        "Current state   : {} ({})",
        text(&client.state),
        text(&client.sync_state)
    ));
    if let Some(slot) = &client.slot {
        set("replication_slot", json!(slot));
        lines.push(format!("Replication slot: {slot}"));
    }
    set("wal_sender_pid", json!(client.pid));
    let pid = client
        .pid
        .map_or_else(|| "None".to_owned(), |pid| pid.to_string());
    lines.push(format!("WAL sender PID  : {pid}"));
    let started = client.started_at.as_ref().map(format::timestamp);
    lines.push(format!("Started at      : {}", text(&started)));
    set("started_at", json!(started));
    if let Some(xmin) = &client.xmin {
        set("standbys_xmin", json!(xmin));
        lines.push(format!("Standby's xmin  : {xmin}"));
    }
    for (key, label, position) in [
        ("sent", "Sent LSN  ", client.sent),
        ("write", "Write LSN ", client.written),
        ("flush", "Flush LSN ", client.flushed),
        ("replay", "Replay LSN", client.replayed),
    ] {
        let Some(position) = position else { continue };
        let bytes = client.difference(position);
        let shown = bytes.map_or_else(|| "unknown".to_owned(), |bytes| format::size(bytes as f64));
        lines.push(format!("{label} : {position} (diff: {shown})"));
        set(&format!("{key}_lsn"), json!(position.to_string()));
        set(&format!("{key}_lsn_diff"), json!(shown));
        // Wider than JSON's integers only between nonsensical positions.
        let bytes = bytes.and_then(|bytes| i64::try_from(bytes).ok());
        set(&format!("{key}_lsn_diff_bytes"), json!(bytes));
    }
    (lines, Value::Object(document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cascading_standby_without_a_position() {
        let client = ReplicationClient {
            pid: Some(7),
            user: Some("u".to_owned()),
            application_name: Some("walreceiver".to_owned()),
            address: None,
            hostname: None,
            port: Some(-1),
            started_at: "2026-11-21T05:20:52.604183+00:00[UTC]".parse().ok(),
            xmin: Some("731".to_owned()),
            state: Some("streaming".to_owned()),
            sync_state: Some("quorum".to_owned()),
            sync_priority: 2,
            slot: None,
            sent: Some(Lsn(0x60_0000)),
            written: None,
            flushed: None,
            replayed: Some(Lsn(0x50_0000)),
            current: None,
        };
        let (lines, document) = at_length(&client);
        assert_eq!(
            lines,
            [
                "#2 Quorum standby",
                "Application name: walreceiver",
                "Sync stage      : 1/5 1-safe",
                "Communication   : Unix domain socket",
                "User name       : u",
                "Current state   : streaming (quorum)",
                "WAL sender PID  : 7",
                "Started at      : 2026-11-21 05:20:52.604183+00:00",
                "Standby's xmin  : 731",
                "Sent LSN   : 0/600000 (diff: unknown)",
                "Replay LSN : 0/500000 (diff: unknown)",
            ]
        );
        assert_eq!(document["sent_lsn_diff"], "unknown");
        assert_eq!(document.get("sent_lsn_diff_bytes"), Some(&Value::Null));
        assert_eq!(document["standbys_xmin"], "731");
        assert!(document.get("ip_address").is_none() && document.get("write_lsn").is_none());
    }

    #[test]
    fn only_the_first_letter_is_upper_case() {
        assert_eq!(capitalised("WAL streamers"), "Wal streamers");
        assert_eq!(capitalised("async"), "Async");
        assert_eq!(capitalised(""), "");
        assert_eq!(list_key("WAL streamers"), "wal_streamers");
    }
}
