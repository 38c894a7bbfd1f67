//! Which configuration files of a server lie outside its data directory, and so are not part of the backup.

/// The files of `candidates` that are not below `pgdata`, without repetition, in their order.
///
/// Unlike Barman, which compares bare string prefixes, `/srv/pg-conf/x.conf` is outside `/srv/pg`.
#[must_use]
pub fn outside<'a>(pgdata: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let root = std::path::Path::new(pgdata);
    let mut found: Vec<&str> = Vec::new();
    for file in candidates {
        if !std::path::Path::new(file).starts_with(root) && !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

/// The one warning that lists them.
#[must_use]
pub fn warning(files: &[&str]) -> String {
    let mut text = String::from(
        "The following configuration files have not been saved during backup, because they are outside PGDATA.\n\
         Please make sure to copy them by other means:",
    );
    for file in files {
        text.push_str("\n\t");
        text.push_str(file);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sibling_directory_with_the_same_prefix_is_outside() {
        let files = [
            "/srv/pg/postgresql.conf",
            "/srv/pg-conf/x.conf",
            "/etc/pg/pg_hba.conf",
            "/etc/pg/pg_hba.conf",
        ];
        assert_eq!(
            outside("/srv/pg", files),
            ["/srv/pg-conf/x.conf", "/etc/pg/pg_hba.conf"]
        );
        assert!(outside("/srv/pg/", ["/srv/pg/postgresql.auto.conf"]).is_empty());
    }
}
