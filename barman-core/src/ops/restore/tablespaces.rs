//! Where the tablespaces of a backup go: the `--tablespace NAME:LOCATION` rules.

use std::path::{Path, PathBuf};

use super::error::RestoreError;

/// A tablespace of the backup and its place in the restored server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablespacePlan {
    /// Its object id, the name of its link in `pg_tblspc`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub location: PathBuf,
    /// Whether a rule put it there.
    pub relocated: bool,
}

/// A tablespace as the backup knows it.
#[derive(Debug, Clone, Copy)]
pub struct BackedUpTablespace<'a> {
    /// Its object id.
    pub oid: u32,
    /// Its name.
    pub name: &'a str,
    /// Where it was on the source host.
    pub location: &'a Path,
}

/// The rules, split: name and location. The last rule for a name wins.
///
/// # Errors
///
/// A rule without a colon, or with nothing behind it.
pub fn parse_rules(rules: &[String]) -> Result<Vec<(String, PathBuf)>, RestoreError> {
    let mut parsed: Vec<(String, PathBuf)> = Vec::new();
    for rule in rules {
        let Some((name, location)) = rule.split_once(':').filter(|(_, location)| !location.is_empty()) else {
            return Err(RestoreError::BadTablespaceRule { rule: rule.clone() });
        };
        parsed.retain(|(known, _)| known != name);
        parsed.push((name.to_owned(), PathBuf::from(location)));
    }
    Ok(parsed)
}

/// Applies the rules to the tablespaces of a backup.
///
/// # Errors
///
/// A rule for a tablespace that the backup does not have, a relative location, or two tablespaces in one place.
pub fn place(
    tablespaces: &[BackedUpTablespace<'_>],
    rules: &[(String, PathBuf)],
) -> Result<Vec<TablespacePlan>, RestoreError> {
    for (name, _) in rules {
        if !tablespaces.iter().any(|tablespace| tablespace.name == name) {
            return Err(RestoreError::UnknownTablespace {
                name: name.clone(),
                known: tablespaces
                    .iter()
                    .map(|tablespace| tablespace.name.to_owned())
                    .collect(),
            });
        }
    }
    let mut plans: Vec<TablespacePlan> = Vec::with_capacity(tablespaces.len());
    for tablespace in tablespaces {
        let rule = rules.iter().find(|(name, _)| name == tablespace.name);
        let location = rule.map_or(tablespace.location, |(_, location)| location.as_path());
        if !location.is_absolute() {
            return Err(RestoreError::NotAbsolute {
                option: "--tablespace",
                path: location.to_owned(),
            });
        }
        if let Some(other) = plans
            .iter()
            .find(|other| location.starts_with(&other.location) || other.location.starts_with(location))
        {
            return Err(RestoreError::TablespacesOverlap {
                first: other.name.clone(),
                second: tablespace.name.to_owned(),
                path: location.to_owned(),
            });
        }
        plans.push(TablespacePlan {
            oid: tablespace.oid,
            name: tablespace.name.to_owned(),
            location: location.to_owned(),
            relocated: rule.is_some(),
        });
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure as _;

    fn placed(rules: &[&str]) -> Result<Vec<String>, String> {
        let backup = [
            BackedUpTablespace {
                oid: 16388,
                name: "t1",
                location: Path::new("/pg/t1"),
            },
            BackedUpTablespace {
                oid: 16389,
                name: "my ts",
                location: Path::new("/pg/t2"),
            },
        ];
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        parse_rules(&rules)
            .and_then(|rules| place(&backup, &rules))
            .map(|plans| {
                plans
                    .iter()
                    .map(|plan| format!("{} {}", plan.oid, plan.location.display()))
                    .collect()
            })
            .map_err(|error| format!("{error}\n{}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn rules_move_tablespaces() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &["16388 /pg/t1", "16389 /pg/t2"]),
            (&["t1:/new/a"], &["16388 /new/a", "16389 /pg/t2"]),
            (
                &["t1:/new/a", "my ts:/b:c", "t1:/new/d"],
                &["16388 /new/d", "16389 /b:c"],
            ),
        ];
        for (rules, expected) in table {
            assert_eq!(placed(rules).unwrap(), *expected, "{rules:?}");
        }
    }

    #[test]
    fn wrong_rules_are_refused() {
        for rules in [
            &["t1"][..],
            &["t1:"],
            &["x:/a"],
            &["t1:a/b"],
            &["t1:/pg/t2"],
            &["t1:/pg/t2/sub"],
        ] {
            assert!(placed(rules).is_err(), "{rules:?}");
        }
        let error = placed(&["x:/a"]).unwrap_err();
        assert!(error.contains("'x'"), "{error}");
        // What the backup has is in the hint.
        assert!(error.contains("t1") && error.contains("my ts"), "{error}");
    }
}
