//! Reading what servers show as text.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::client::QueryRow;
use crate::error::Error;
use crate::replication::wire::Doing;
use crate::sql::SqlClient;

/// A column that must be there and be of a type.
pub(super) fn required<T: std::str::FromStr>(
    client: &SqlClient,
    row: &QueryRow,
    at: usize,
    doing: &'static str,
) -> Result<T, Error> {
    optional(client, row, at, doing)?
        .ok_or_else(|| client.odd(&Doing::Borrowed(doing), format!("column {at} is null")))
}

/// A column that may be NULL.
pub(super) fn optional<T: std::str::FromStr>(
    client: &SqlClient,
    row: &QueryRow,
    at: usize,
    doing: &'static str,
) -> Result<Option<T>, Error> {
    row.text(at)
        .map(|text| {
            text.parse()
                .map_err(|_| client.odd(&Doing::Borrowed(doing), format!("\"{text}\"")))
        })
        .transpose()
}

/// PostgreSQL's boolean.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "t" | "true" | "on" => Some(true),
        "f" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// The select list items that [`time`] reads: microseconds since the Unix epoch and the session zone's offset in
/// seconds, for a `timestamptz` expression. A double holds today's microseconds; made a `numeric` it is rounded to 15
/// digits, which are one less.
pub(super) fn time_columns(expression: &str) -> String {
    format!(
        "(pg_catalog.date_part('epoch', {expression}) * 1000000)::pg_catalog.int8, \
         pg_catalog.date_part('timezone', {expression})::pg_catalog.int4"
    )
}

/// A point in time in the session's time zone, from two columns as [`time_columns`] selects them.
pub(super) fn time(row: &QueryRow, at: usize) -> Option<Zoned> {
    let micros: i64 = row.text(at)?.parse().ok()?;
    let offset: i32 = row.text(at + 1)?.parse().ok()?;
    let offset = Offset::from_seconds(offset).ok()?;
    Some(
        Timestamp::from_microsecond(micros)
            .ok()?
            .to_zoned(TimeZone::fixed(offset)),
    )
}

/// The version in what `version()` shows: its second word; EnterpriseDB's additional last component is dropped.
#[must_use]
pub fn version_text(shown: &str) -> Option<String> {
    let mut words = shown.split_whitespace();
    let product = words.next()?;
    let version = words.next()?;
    if product == "EnterpriseDB" {
        return Some(
            version
                .rsplit_once('.')
                .map_or(version, |(front, _)| front)
                .to_owned(),
        );
    }
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_texts() {
        for (shown, text) in [
            (
                "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64",
                Some("15.18"),
            ),
            ("PostgreSQL 18beta1 on x86_64", Some("18beta1")),
            ("EnterpriseDB 9.6.2.7 on x86_64", Some("9.6.2")),
            ("PostgreSQL", None),
        ] {
            assert_eq!(version_text(shown).as_deref(), text);
        }
    }
}
