//! A server with roles that are let in in different ways, and a certificate that can be changed.

use std::path::PathBuf;
use std::time::Duration;

use testkit::{Cluster, PgTree, Program, TestDir};

use crate::certificates::Certificates;

/// Each role's name tells how `pg_hba.conf` treats it over TCP. All have the password `pw` and may stream.
pub(crate) const ROLES: [(&str, &[&str]); 13] = [
    ("trust", &["host {} trust"]),
    ("trust_tls", &["hostssl {} trust"]),
    ("trust_clear", &["hostnossl {} trust"]),
    ("rejected_tls", &["hostssl {} reject", "hostnossl {} trust"]),
    ("nowhere", &[]),
    ("scram", &["host {} scram-sha-256"]),
    ("scram_tls", &["hostssl {} scram-sha-256", "hostnossl {} reject"]),
    ("scram_clear", &["hostnossl {} scram-sha-256"]),
    ("md5", &["host {} md5"]),
    ("password", &["host {} password"]),
    ("cert", &["hostssl {} cert"]),
    ("scram_cert", &["hostssl {} scram-sha-256 clientcert=verify-ca"]),
    ("peer", &[]),
];

pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) certificates: Certificates,
    psql: PathBuf,
    /// Home directories of users: one empty, one with a root certificate.
    pub(crate) home: PathBuf,
    dir: TestDir,
    generation: std::cell::Cell<u32>,
}

impl Server {
    pub(crate) fn start(tree: &PgTree) -> Self {
        let dir = TestDir::new().unwrap();
        let made = dir.join("certificates");
        std::fs::create_dir(&made).unwrap();
        let certificates = Certificates::make(&made);
        let cluster = Cluster::builder(tree.major()).tree(tree.clone()).start().unwrap();
        let home = dir.join("home");
        std::fs::create_dir(&home).unwrap();
        let mut rules = "local all all trust\nlocal replication all trust\n".to_owned();
        for (role, lines) in ROLES {
            let encryption = if role == "md5" { "md5" } else { "scram-sha-256" };
            cluster
                .sql(&format!(
                    "SET password_encryption = '{encryption}'; CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'pw'"
                ))
                .unwrap();
            for line in lines {
                rules += &line.replace("{}", &format!("all,replication {role} 127.0.0.1/32"));
                rules += "\n";
            }
        }
        std::fs::write(cluster.data_dir().join("pg_hba.conf"), rules).unwrap();
        let server = Self {
            psql: tree.program("psql"),
            cluster,
            certificates,
            home,
            dir,
            generation: std::cell::Cell::new(0),
        };
        server.install("root", "ca");
        server.cluster.alter_system("ssl_ca_file", "ca.crt").unwrap();
        server.present("manual");
        server
    }

    /// Copies a certificate and its key to where the server finds them.
    fn install(&self, name: &str, to: &str) {
        for (from, extension) in [
            (self.certificates.certificate(name), "crt"),
            (self.certificates.key(name), "key"),
        ] {
            let path = self.cluster.data_dir().join(format!("{to}.{extension}"));
            let _ = std::fs::remove_file(&path);
            std::fs::copy(from, &path).unwrap();
            testkit::user::give(&path).unwrap();
        }
    }

    /// Makes the server present this certificate, and waits until new sessions see it.
    pub(crate) fn present(&self, name: &str) {
        self.install(name, "server");
        self.cluster.alter_system("ssl", "on").unwrap();
        // A setting that does not matter tells when the postmaster has read its files again.
        self.generation.set(self.generation.get() + 1);
        let generation = (100 + self.generation.get()).to_string();
        self.cluster.alter_system("bgwriter_delay", &generation).unwrap();
        self.cluster.sql("SELECT pg_reload_conf()").unwrap();
        testkit::wait_until("the server reloads", Duration::from_secs(60), || {
            Ok(self
                .cluster
                .sql_value("SELECT setting FROM pg_settings WHERE name = 'bgwriter_delay'")?
                == generation)
        })
        .unwrap();
    }

    /// `psql` of the server's version for a user with this home directory.
    pub(crate) fn psql(&self, variables: &[(&str, String)]) -> Program {
        let program = Program::new(&self.psql)
            .belonging_to(self.dir.path())
            .env("HOME", &self.home)
            .timeout(Duration::from_secs(60));
        variables
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value))
    }
}
