//! The proxy in front of a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::thread;
use std::time::Duration;

use postgres::{Client, NoTls};
use testkit::proxy::{Action, Direction, Fault, Kind, Proxy, What};
use testkit::{Cluster, wait_until};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_servers_answers_are_counted_stalled_and_cut() {
    let cluster = Cluster::start_new(18).unwrap();
    let over_tcp = (Proxy::to(&cluster).unwrap(), cluster.tcp_conninfo());
    let over_socket = (Proxy::to_socket(&cluster).unwrap(), cluster.conninfo());
    for (proxy, direct) in [over_tcp, over_socket] {
        let conninfo = proxy.conninfo(&direct);
        let mut client = Client::connect(&conninfo, NoTls).unwrap();
        let rows = client.simple_query("SELECT generate_series(1, 100)").unwrap();
        assert!(rows.len() > 100);
        proxy
            .wait_passed(Direction::ToClient, What::Type(b'D'), 100, SOON)
            .unwrap();
        assert_eq!(proxy.passed(Direction::ToServer, What::Kind(Kind::Startup)), 1);
        let connections = proxy.connections();
        assert_eq!(
            connections[0].parameters.get("user").map(String::as_str),
            Some("barman")
        );

        proxy.set([Fault::to_client(What::Type(b'D'), 50, Action::Stall)]);
        let query = thread::spawn(move || {
            let rows = client.simple_query("SELECT generate_series(1, 100)");
            (client, rows)
        });
        proxy.wait_fired(1, SOON).unwrap();
        assert!(!query.is_finished());
        proxy.clear();
        let (mut client, rows) = query.join().unwrap();
        assert!(rows.unwrap().len() > 100);

        proxy.set([Fault::to_client(What::Type(b'D'), 50, Action::Reset)]);
        let error = client.simple_query("SELECT generate_series(1, 100)").unwrap_err();
        assert!(
            error.is_closed() || error.to_string().contains("error"),
            "{error}"
        );
        wait_until("the server has noticed", SOON, || {
            Ok(cluster.sql_value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'barman'")? == "0")
        })
        .unwrap();
    }
}
