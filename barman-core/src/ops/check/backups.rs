//! The checks about what is in the catalogue: backups, their age and number, the WAL after them, how they are stored.

use std::time::Duration;

use barman_catalog::{BackupStatus, retention};

use super::facts::Facts;
use super::report::CheckResult;
use crate::format;
use crate::ops::wal_codec::WalCodec;

type Found = Result<Vec<CheckResult>, String>;

pub fn retention_policy(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "retention policy settings";
    Ok(vec![if facts.config().retention_policy_invalid {
        CheckResult::failed(NAME, "see log")
    } else {
        CheckResult::ok(NAME, "")
    }])
}

pub fn maximum_age(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "backup maximum age";
    let Some(limit) = facts.config().last_backup_maximum_age else {
        return Ok(vec![CheckResult::ok(NAME, "no last_backup_maximum_age provided")]);
    };
    let now = facts.ctx().clock.now().timestamp().as_second();
    let end = facts.last_backup()?.and_then(|backup| backup.end_time);
    let age = end.map(|end| now.saturating_sub(end.epoch_seconds()));
    let ok = age.is_some_and(|age| is_within(age, limit));
    let latest = age.map_or_else(|| "No available backups".to_owned(), format::signed_interval);
    let hint = format!(
        "interval provided: {}, latest backup age: {latest}",
        format::interval(limit)
    );
    Ok(vec![CheckResult {
        ok,
        ..CheckResult::ok(NAME, hint)
    }])
}

fn is_within(age: i64, limit: Duration) -> bool {
    i64::try_from(limit.as_secs()).is_ok_and(|limit| age <= limit)
}

pub fn minimum_size(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "backup minimum size";
    let minimum = facts.config().last_backup_minimum_size;
    let size = facts.last_backup()?.map(|backup| backup.size.unwrap_or(0));
    let shown = format::size_of(size.unwrap_or(0));
    let (ok, hint) = match minimum {
        None => (true, shown),
        Some(minimum) => {
            let ok = size.is_some_and(|size| size >= minimum);
            let sign = if ok { '>' } else { '<' };
            (
                ok,
                format!(
                    "last backup size {shown} {sign} {} minimum",
                    format::size_of(minimum)
                ),
            )
        }
    };
    Ok(vec![
        CheckResult {
            ok,
            ..CheckResult::ok(NAME, hint)
        }
        .with_perfdata(size.unwrap_or(0)),
    ])
}

pub fn wal_age(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "wal maximum age";
    let Some(limit) = facts.config().last_wal_maximum_age else {
        return Ok(vec![CheckResult::ok(NAME, "no last_wal_maximum_age provided")]);
    };
    let Some(newest) = facts
        .last_wal_figures()?
        .and_then(|figures| figures.wal_last_timestamp)
    else {
        return Ok(vec![CheckResult::failed(
            NAME,
            "No WAL files archived for last backup",
        )]);
    };
    let now = facts.ctx().clock.now().timestamp().as_second();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float cast saturates; ages are whole seconds"
    )]
    let age = now.saturating_sub(newest as i64);
    let hint = format!(
        "interval provided: {}, latest wal age: {}",
        format::interval(limit),
        format::signed_interval(age)
    );
    Ok(vec![CheckResult {
        ok: is_within(age, limit),
        ..CheckResult::ok(NAME, hint)
    }])
}

pub fn wal_size(facts: &mut Facts<'_, '_>) -> Found {
    let bytes = facts
        .last_wal_figures()?
        .map_or(0, |figures| figures.wal_until_next_size);
    Ok(vec![
        CheckResult::ok("wal size", format::size_of(bytes)).with_perfdata(bytes),
    ])
}

pub fn compression(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "compression settings";
    Ok(vec![match WalCodec::new(facts.config()).check() {
        Ok(()) => CheckResult::ok(NAME, ""),
        Err(error) => CheckResult::failed(NAME, error.to_string()),
    }])
}

pub fn encryption(_: &mut Facts<'_, '_>) -> Found {
    Ok(vec![CheckResult::failed(
        "encryption",
        "encryption is not available yet",
    )])
}

pub fn cloud(_: &mut Facts<'_, '_>) -> Found {
    Ok(vec![CheckResult::failed(
        "cloud storage configuration",
        "object storage is not available yet",
    )])
}

pub fn failed_backups(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "failed backups";
    let catalog = facts.catalog()?;
    let failed = catalog
        .usable()
        .filter(|backup| backup.status == BackupStatus::Failed)
        .count();
    let broken = catalog.broken().len();
    let mut hint = format!("there are {failed} failed backups");
    if broken > 0 {
        hint.push_str(&format!(", and {broken} whose backup.info cannot be read"));
    }
    Ok(vec![CheckResult {
        ok: failed == 0 && broken == 0,
        ..CheckResult::ok(NAME, hint)
    }])
}

pub fn redundancy(facts: &mut Facts<'_, '_>) -> Found {
    let expected = facts.config().minimum_redundancy;
    let have = retention::redundancy(facts.catalog()?);
    let hint = format!("have {have} non-incremental backups, expected at least {expected}");
    Ok(vec![CheckResult {
        ok: have >= expected,
        ..CheckResult::ok("minimum redundancy requirements", hint)
    }])
}
