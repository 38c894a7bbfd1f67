//! The standard or streaming connection as another program takes it (`--dbname=` of PostgreSQL's client programs).

use std::fmt;

use crate::conninfo::ConnInfo;
use crate::secret::Secret;

/// A connection for another program: the string has no secret, because everybody can read command lines. There is a
/// variable for the password; for the password of an encrypted key libpq has none, so that such a key is of no use here.
pub struct ProgramConnection {
    /// For `--dbname=`, by [`ConnInfo::expose`].
    pub info: ConnInfo,
    password: Option<Secret>,
}

impl ProgramConnection {
    /// The value for the variable `PGPASSWORD` of the program's environment, if the connection string has a password.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose)
    }
}

impl fmt::Debug for ProgramConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramConnection")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// See [`PostgresConnection::get_connection_string`](super::PostgresConnection::get_connection_string).
pub(super) fn connection(info: &ConnInfo, application_name: Option<&str>) -> ProgramConnection {
    let mut without = ConnInfo::default();
    for (keyword, value) in info.iter().filter(|(keyword, _)| !ConnInfo::is_secret(keyword)) {
        // A keyword of a connection string is a keyword.
        without = without.clone().with(keyword, value).unwrap_or(without);
    }
    if let Some(name) = application_name {
        without = without.or_application_name(name);
    }
    if without.get("options").is_none() {
        without = without
            .clone()
            .with("options", "-csearch_path=")
            .unwrap_or(without);
    }
    ProgramConnection {
        info: without,
        password: info.get("password").map(|value| Secret::from(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_for_programs_are_barmans_without_the_password() {
        for (conninfo, name, wanted) in [
            ("user=u host=h", None, "host=h options=-csearch_path= user=u"),
            (
                "user=u password='top secret'",
                Some("barman_streaming_backup"),
                "application_name=barman_streaming_backup options=-csearch_path= user=u",
            ),
            (
                "user=u sslpassword='top secret'",
                None,
                "options=-csearch_path= user=u",
            ),
            (
                "user=u application_name=mine options=-ca=b",
                Some("barman"),
                "application_name=mine options=-ca=b user=u",
            ),
            (
                "postgresql://u:top%20secret@h:5/db",
                Some("x"),
                "application_name=x dbname=db host=h options=-csearch_path= port=5 user=u",
            ),
        ] {
            let program = connection(&ConnInfo::parse(conninfo).unwrap(), name);
            assert_eq!(program.info.expose(), wanted);
            let secret = conninfo.contains("secret") && !conninfo.contains("sslpassword");
            let secret = secret.then_some("top secret");
            assert_eq!(program.password(), secret, "{conninfo}");
            assert!(!format!("{program:?}").contains("secret"));
        }
    }

    #[test]
    fn streaming_strings_keep_their_options() {
        let info = ConnInfo::parse("host=127.0.0.1 port=5432 user=streaming_barman").unwrap();
        let program = connection(&info.streaming(), Some("barman_receive_wal"));
        assert_eq!(
            program.info.expose(),
            "application_name=barman_receive_wal dbname=replication host=127.0.0.1 options=-cdatestyle=iso port=5432 \
             replication=true user=streaming_barman"
        );
    }
}
