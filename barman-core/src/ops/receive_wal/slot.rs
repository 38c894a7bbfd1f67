//! `--create-slot` and `--drop-slot`.

use barman_pg::{ReplicationClient, ReserveWal, sqlstate};

use super::{ReceiveError, SERVER_TARGET};
use crate::context::{Context, Level};
use crate::server::{Server, ServerError};

/// Creates the configured slot. With [`ReserveWal::Now`] it keeps WAL from this moment on, not only from the first
/// report of a receiver.
pub(super) fn create(
    server: &mut Server,
    if_not_exists: bool,
    reserve: ReserveWal,
    ctx: &Context<'_>,
) -> Result<(), ReceiveError> {
    let (slot, name) = (slot_name(server, "create")?, server.name().to_owned());
    let client = connect(server)?;
    ctx.say(
        Level::Info,
        SERVER_TARGET,
        &format!("Creating physical replication slot '{slot}' on server '{name}'"),
    );
    match client.create_physical_slot(&slot, reserve) {
        Ok(()) => {
            ctx.say(
                Level::Info,
                SERVER_TARGET,
                &format!("Replication slot '{slot}' created"),
            );
            Ok(())
        }
        Err(error) => match error.sqlstate() {
            Some(sqlstate::DUPLICATE_OBJECT) if if_not_exists => {
                let text = format!(
                    "Replication slot '{slot}' already exists and --if-not-exists was specified. Skipping creation"
                );
                ctx.say(Level::Info, SERVER_TARGET, &text);
                Ok(())
            }
            Some(sqlstate::DUPLICATE_OBJECT) => Err(ReceiveError::Slot(format!(
                "Replication slot '{slot}' already exists"
            ))),
            Some(sqlstate::SLOTS_FULL) => Err(ReceiveError::Slot(format!(
                "All replication slots for server '{name}' are in use\n\
                 Free one or increase the max_replication_slots value on your PostgreSQL server."
            ))),
            _ => Err(ReceiveError::Slot(format!(
                "Cannot create replication slot '{slot}' on server '{name}': {error}"
            ))),
        },
    }
}

/// Drops the configured slot.
pub(super) fn drop(server: &mut Server, ctx: &Context<'_>) -> Result<(), ReceiveError> {
    let (slot, name) = (slot_name(server, "drop")?, server.name().to_owned());
    let client = connect(server)?;
    ctx.say(
        Level::Info,
        SERVER_TARGET,
        &format!("Dropping physical replication slot '{slot}' on server '{name}'"),
    );
    match client.drop_slot(&slot) {
        Ok(()) => {
            ctx.say(
                Level::Info,
                SERVER_TARGET,
                &format!("Replication slot '{slot}' dropped"),
            );
            Ok(())
        }
        Err(error) => Err(ReceiveError::Slot(match error.sqlstate() {
            Some(sqlstate::UNDEFINED_OBJECT) => format!("Replication slot '{slot}' does not exist"),
            Some(sqlstate::OBJECT_IN_USE) => {
                format!("Cannot drop replication slot '{slot}' on server '{name}' because it is in use.")
            }
            _ => format!("Cannot drop replication slot '{slot}' on server '{name}': {error}"),
        })),
    }
}

/// In Barman's order: is there a streaming connection, can it be opened, and only then whether there is a slot name.
fn slot_name(server: &mut Server, verb: &str) -> Result<String, ReceiveError> {
    connect_or(server, |_| {
        format!("Unable to {verb} a physical replication slot: streaming connection not configured")
    })?;
    server.config().slot_name.clone().ok_or_else(|| {
        ReceiveError::Slot(format!(
            "Unable to {verb} a physical replication slot: slot_name configuration option required"
        ))
    })
}

fn connect(server: &mut Server) -> Result<&mut ReplicationClient, ReceiveError> {
    server.streaming().map_err(ReceiveError::server)
}

fn connect_or(server: &mut Server, not_configured: impl FnOnce(&str) -> String) -> Result<(), ReceiveError> {
    let name = server.name().to_owned();
    match server.streaming() {
        Ok(_) => Ok(()),
        Err(ServerError::NotConfigured { .. } | ServerError::NoConnections { .. }) => {
            Err(ReceiveError::Slot(not_configured(&name)))
        }
        Err(ServerError::Connection { source, .. }) if source.is_interrupted() => {
            Err(ReceiveError::Postgres(source))
        }
        Err(ServerError::Connection { source, .. }) => {
            log::error!(target: SERVER_TARGET, "Cannot connect to server '{name}': {source}");
            Err(ReceiveError::Unreachable { server: name, source })
        }
    }
}
