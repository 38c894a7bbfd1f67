//! Connection strings put together at random, from the same seed each time: keywords, values good and bad, both ways to write
//! them, the environment. Whether there is a session, and whose, is as with `psql`.

use barman_pg::{ConnInfo, SqlClient};

use crate::server::Server;
use crate::{ENVIRONMENT, options, trees};

/// Numbers that only need to be spread.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Another one that goes its own way: for what hangs on texts that are longer on one machine than on another, such
    /// as ports and paths.
    fn fork(&mut self) -> Self {
        let mut other = Self(self.0 ^ 0x9E37_79B9_7F4A_7C15);
        other.below(1);
        self.below(1);
        other
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// A keyword, the release whose libpq has it, its environment variable, what is written for it. `{...}`
/// is filled in.
type Row = (&'static str, u16, &'static str, &'static str);

/// With these there is a session more often than not.
const PLACES: &[Row] = &[
    (
        "host",
        10,
        "PGHOST",
        "127.0.0.1|127.0.0.1|localhost|{socket}|{socket}/|127.1|127.0.0.1,{socket}|nowhere.invalid,127.0.0.1|{socket},127.0.0.1|/nowhere,127.0.0.1",
    ),
    (
        "port",
        10,
        "PGPORT",
        "{port}|{port}|{port}| {port} |{port},{port}|1,{port}|x|0|65536|{port},x|x,{port}|0,{port}|{port},70000|",
    ),
    (
        "user",
        10,
        "PGUSER",
        "trust|scram|md5|password|trust_tls|trust_clear|rejected_tls|nobody|postgres",
    ),
    (
        "dbname",
        10,
        "PGDATABASE",
        "postgres|postgres|template1|a b|nowhere",
    ),
    ("password", 10, "PGPASSWORD", "pw|pw|pw|wrong|"),
];

const REST: &[Row] = &[
    (
        "hostaddr",
        10,
        "PGHOSTADDR",
        "127.0.0.1|127.1|127.0.0.1,127.0.0.1|nonsense|",
    ),
    (
        "sslmode",
        10,
        "PGSSLMODE",
        "disable|allow|prefer|require|verify-ca|verify-full|Require|",
    ),
    (
        "connect_timeout",
        10,
        "PGCONNECT_TIMEOUT",
        "9| 9 |+9|0|-1|9s||99999999999",
    ),
    ("application_name", 10, "", "mine|with blank|it's|back\\slash|"),
    (
        "options",
        10,
        "PGOPTIONS",
        "-c geqo=off|-cgeqo=off|--geqo=off -c work_mem=1MB|-c nonsense=1||-c search_path=x\\ y",
    ),
    ("keepalives", 12, "", "0|1|2"),
    // Not 0, with which libpq fails although it is documented. Nothing that is no number: of TCP and socket in one list
    // libpq takes the socket then, we complain.
    ("keepalives_idle", 12, "", "7|30"),
    ("tcp_user_timeout", 12, "", "0|60000|-1"),
    (
        "target_session_attrs",
        14,
        "PGTARGETSESSIONATTRS",
        "any|read-write|primary|standby|prefer-standby|read-only|Any",
    ),
    (
        "channel_binding",
        13,
        "PGCHANNELBINDING",
        "disable|prefer|require|x",
    ),
    (
        "require_auth",
        16,
        "PGREQUIREAUTH",
        "none|scram-sha-256|!none|md5,password|!md5,scram-sha-256|scram-sha-256,none",
    ),
    ("load_balance_hosts", 16, "PGLOADBALANCEHOSTS", "disable|random|x"),
    ("sslcertmode", 16, "PGSSLCERTMODE", "disable|allow|require"),
    ("sslnegotiation", 17, "PGSSLNEGOTIATION", "postgres|direct|x"),
    ("gssencmode", 12, "PGGSSENCMODE", "disable|prefer|x"),
    (
        "ssl_min_protocol_version",
        13,
        "PGSSLMINPROTOCOLVERSION",
        "TLSv1.2|tlsv1.3|SSLv3",
    ),
    (
        "ssl_max_protocol_version",
        13,
        "PGSSLMAXPROTOCOLVERSION",
        "TLSv1.2|TLSv1.3|TLSv1.1",
    ),
    (
        "max_protocol_version",
        18,
        "PGMAXPROTOCOLVERSION",
        "3.0|latest|3.9",
    ),
    ("sslsni", 14, "PGSSLSNI", "0|1|"),
    ("sslcompression", 10, "PGSSLCOMPRESSION", "0|1"),
    ("sslrootcert", 10, "PGSSLROOTCERT", "{root}|/nowhere|"),
    ("client_encoding", 10, "PGCLIENTENCODING", "UTF8|latin1|SQL_ASCII"),
    ("passfile", 10, "PGPASSFILE", "{passwords}|/nowhere|"),
    ("requirepeer", 10, "PGREQUIREPEER", "postgres|nobody"),
    ("krbsrvname", 10, "PGKRBSRVNAME", "x"),
    ("service", 10, "PGSERVICE", "good|port|bad|absent"),
    ("nonsense", 10, "", "1"),
];

/// The choices of one case: keyword, value, environment variable.
fn choose(dice: &mut Dice, major: u16) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut chosen = Vec::new();
    for (keyword, _, variable, values) in PLACES {
        if !dice.one_in(8) {
            let values: Vec<&str> = values.split('|').collect();
            // The first ones are the good ones.
            let values = if dice.one_in(4) {
                values.as_slice()
            } else {
                &values[..3.min(values.len())]
            };
            chosen.push((*keyword, dice.pick(values), *variable));
        }
    }
    for _ in 0..dice.below(5) {
        let (keyword, since, variable, values) = REST[dice.below(REST.len())];
        let often = !matches!(keyword, "nonsense" | "service" | "hostaddr") || dice.one_in(3);
        if major >= since && often {
            let values: Vec<&str> = values.split('|').collect();
            chosen.push((keyword, dice.pick(&values), variable));
        }
    }
    chosen
}

fn quoted(dice: &mut Dice, value: &str) -> String {
    let escaped: String = value
        .chars()
        .flat_map(|c| matches!(c, '\'' | '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    if !value.is_empty() && dice.one_in(2) {
        // Without quotes blanks are escaped, too.
        return escaped.replace(' ', "\\ ");
    }
    format!("'{escaped}'")
}

fn encoded(dice: &mut Dice, value: &str) -> String {
    let mut dice = dice.fork();
    value
        .bytes()
        .map(|byte| {
            let plain = byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if plain && !dice.one_in(9) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The front of a URI, made of the pairs that have a place there.
fn authority(dice: &mut Dice, pairs: &mut Vec<(&'static str, &str)>) -> String {
    let mut take = |keyword: &str| {
        let at = pairs.iter().position(|(known, _)| *known == keyword)?;
        Some(pairs.remove(at).1.to_owned())
    };
    let (user, password) = (take("user"), take("password"));
    let (hosts, ports, dbname) = (take("host"), take("port"), take("dbname"));
    let mut uri = dice.pick(&["postgresql://", "postgres://"]).to_owned();
    if user.is_some() || password.is_some() {
        uri += &encoded(dice, &user.unwrap_or_default());
        if let Some(password) = password {
            uri = format!("{uri}:{}", encoded(dice, &password));
        }
        uri.push('@');
    }
    let hosts = hosts.unwrap_or_default();
    let ports = ports.unwrap_or_default();
    let (hosts, ports): (Vec<&str>, Vec<&str>) = (hosts.split(',').collect(), ports.split(',').collect());
    let places: Vec<String> = (0..hosts.len().max(ports.len()))
        .map(|at| {
            let host = encoded(dice, hosts.get(at).unwrap_or(&""));
            // One port is that of all.
            match ports.get(at).or(ports.first()).filter(|port| !port.is_empty()) {
                Some(port) => format!("{host}:{}", encoded(dice, port)),
                None => host,
            }
        })
        .collect();
    uri += &places.join(",");
    if let Some(dbname) = dbname {
        uri = format!("{uri}/{}", encoded(dice, &dbname));
    }
    uri
}

/// Writes pairs as they are, or as a URI; what has a variable may go to the environment.
fn write(
    dice: &mut Dice,
    chosen: &[(&'static str, String, &'static str)],
) -> (String, Vec<(&'static str, String)>) {
    let mut variables: Vec<(&'static str, String)> = Vec::new();
    let mut pairs = Vec::new();
    for (keyword, value, variable) in chosen {
        if !variable.is_empty() && dice.one_in(5) && !variables.iter().any(|(name, _)| name == variable) {
            variables.push((variable, value.clone()));
        } else {
            pairs.push((*keyword, value.as_str()));
        }
    }
    if dice.one_in(3) {
        let start = match dice.one_in(2) {
            true => authority(dice, &mut pairs),
            false => dice
                .pick(&["postgresql:///", "postgres://", "postgresql:///postgres"])
                .to_owned(),
        };
        let query: Vec<String> = pairs
            .iter()
            .map(|(keyword, value)| format!("{keyword}={}", encoded(dice, value)))
            .collect();
        return (format!("{start}?{}", query.join("&")), variables);
    }
    let words: Vec<String> = pairs
        .iter()
        .map(|(keyword, value)| {
            let sign = dice.pick(&["=", "=", "=", " = ", "= ", "\t=\n"]);
            format!("{keyword}{sign}{}", quoted(dice, value))
        })
        .collect();
    (words.join(dice.pick(&[" ", "  ", "\n"])), variables)
}

const QUESTION: &str = "SELECT pg_catalog.concat_ws('|', session_user, pg_catalog.current_database(), \
     (SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()), \
     pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.current_setting('geqo'), \
     pg_catalog.current_setting('work_mem'), pg_catalog.current_setting('application_name'))";

#[test]
fn strings_made_at_random_end_as_with_psql() {
    for tree in trees(<[_]>::last) {
        let server = Server::start(&tree);
        server.cluster.sql("CREATE DATABASE \"a b\"").unwrap();
        let port = server.cluster.port().to_string();
        let socket = server.cluster.socket_dir().display().to_string();
        let root = server.certificates.certificate("root").display().to_string();
        let passwords = server.home.join("passwords");
        let lines = format!("{socket}:*:*:*:wrong\n127.0.0.1:{port}:postgres:scram:pw\n*:*:*:md5:p\\w\n");
        std::fs::write(&passwords, lines).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&passwords, private).unwrap();
        let services = format!(
            "[good]\nhost=127.0.0.1\nport={port}\nuser=trust\n[port]\nport={port}\n[bad]\nnonsense\n"
        );
        std::fs::write(server.home.join(".pg_service.conf"), services).unwrap();

        let mut dice = Dice(20_261_121);
        let (mut complaints, mut sessions) = (Vec::new(), 0);
        let count = if testkit::is_long() { 1500 } else { 120 };
        for _ in 0..count {
            let chosen: Vec<_> = choose(&mut dice, tree.major())
                .into_iter()
                .map(|(keyword, value, variable)| {
                    let value = value
                        .replace("{port}", &port)
                        .replace("{socket}", &socket)
                        .replace("{root}", &root)
                        .replace("{passwords}", &passwords.display().to_string());
                    (keyword, value, variable)
                })
                .collect();
            let (text, variables) = write(&mut dice, &chosen);
            ENVIRONMENT.set(
                [("HOME", server.home.display().to_string())]
                    .into_iter()
                    .chain(variables.iter().cloned())
                    .collect(),
            );
            let theirs = server
                .psql(&variables)
                .run(["-X", "-w", "-At", "-d", &text, "-c", QUESTION])
                .unwrap();
            let theirs = match theirs.code {
                Some(0) => Ok(theirs.stdout.trim_end_matches('\n').to_owned()),
                _ => Err(theirs.stderr),
            };
            let ask = || {
                text.parse()
                    .map_err(barman_pg::Error::from)
                    .and_then(|info: ConnInfo| {
                        SqlClient::connect(&info, &options())?.rows(QUESTION, "asking")
                    })
                    .map(|rows| rows[0].text(0).unwrap().to_owned())
                    .map_err(|error| error.to_string())
            };
            // Who chose no name is `psql` there and `barman` here.
            let named = |text: &str| match text.rsplit_once('|') {
                Some((rest, "psql" | "barman")) => format!("{rest}|default"),
                _ => text.to_owned(),
            };
            let like = |ours: &Result<String, String>| {
                ours.as_deref().map(named).ok() == theirs.as_deref().map(named).ok()
            };
            // Where chance chooses between hosts, it comes to what `psql` had soon enough.
            let by_chance = chosen.iter().any(|(_, value, _)| value == "random");
            let attempts = if by_chance { 16 } else { 1 };
            let mut ours = ask();
            for _ in 1..attempts {
                if like(&ours) {
                    break;
                }
                ours = ask();
            }
            sessions += usize::from(ours.is_ok());
            if !like(&ours) {
                complaints.push(format!(
                    "{text:?} {variables:?}\n  psql: {theirs:?}\n  ours: {ours:?}"
                ));
            }
        }
        assert!(
            complaints.is_empty(),
            "PostgreSQL {}: {} of {count} differ\n{}",
            tree.major(),
            complaints.len(),
            complaints.join("\n")
        );
        assert!(
            (count / 5..count * 4 / 5).contains(&sessions),
            "one-sided: {sessions} of {count}"
        );
    }
}
