//! Migrations: the files of `migrations/`, embedded. Each is one transaction, idempotent, and records its own version, so
//! that it does not matter whether `host migrate` or `supabase db push` applies it.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::client::Transaction;
use super::{Connection, QueueError, describe, place};

/// A migration: version, name, text.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 6] = [
    Migration {
        version: 20_261_101_000_000,
        name: "20261101000000_receipt_queue",
        sql: include_str!("../../../migrations/20261101000000_receipt_queue.sql"),
    },
    Migration {
        version: 20_261_101_000_001,
        name: "20261101000001_receipt_queue_backfill",
        sql: include_str!("../../../migrations/20261101000001_receipt_queue_backfill.sql"),
    },
    Migration {
        version: 20_261_124_000_000,
        name: "20261124000000_receipt_components",
        sql: include_str!("../../../migrations/20261124000000_receipt_components.sql"),
    },
    Migration {
        version: 20_261_124_000_200,
        name: "20261124000200_receipt_worker_pauses",
        sql: include_str!("../../../migrations/20261124000200_receipt_worker_pauses.sql"),
    },
    Migration {
        version: 20_261_125_000_000,
        name: "20261125000000_receipt_queue_growth",
        sql: include_str!("../../../migrations/20261125000000_receipt_queue_growth.sql"),
    },
    Migration {
        version: 20_261_127_000_000,
        name: "20261127000000_receipt_queue_world",
        sql: include_str!("../../../migrations/20261127000000_receipt_queue_world.sql"),
    },
];

/// The newest one is also what mends a database that has drifted.
const NEWEST: &Migration = {
    let [.., newest] = &MIGRATIONS;
    newest
};
/// Before the migration that queues what waits.
const BEFORE_BACKFILL: i64 = 20_261_101_000_000;

/// Any number that no other application is likely to lock on.
const LOCK: i64 = 0x7265_6365_6970_7473;

/// Applies what is missing, one migrator at a time. Returns the names of what was applied.
pub async fn migrate(client: &mut impl Connection) -> Result<Vec<&'static str>, QueueError> {
    refuse_where_receipts_are_hidden(client).await?;
    let mut applied = Vec::new();
    for migration in &MIGRATIONS {
        let failed =
            |error: tokio_postgres::Error| QueueError::Migration { name: migration.name, reason: describe(&error) };
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await.map_err(failed)?;
        if has(&transaction, migration.version).await? {
            continue;
        }
        transaction.batch_execute(migration.sql).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        applied.push(migration.name);
    }
    Ok(applied)
}

/// What waits is queued by a migration: one that row-level security shows an empty table would queue nothing, and say nothing.
async fn refuse_where_receipts_are_hidden(client: &impl Connection) -> Result<(), QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at the policies on receipts", &error);
    let hidden = client.query_typed_opt(include_str!("sql/hidden_receipts.sql"), &[]).await.map_err(problem)?;
    // Asked for the version afterwards: a session remembers for a while that a table was not there.
    match hidden {
        Some(row) if version(client).await? <= BEFORE_BACKFILL => {
            Err(QueueError::HiddenReceipts { role: row.try_get(0).map_err(problem)? })
        }
        _ => Ok(()),
    }
}

/// What the app has changed since, and our objects do not agree with; nothing where nothing has.
pub async fn drift(client: &impl Connection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a comparison of its types and columns", &error);
    let rows = client.query_typed(include_str!("sql/drift.sql"), &[]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
}

/// Makes our objects follow what the app has changed. Returns what was mended.
pub async fn mend(client: &mut impl Connection) -> Result<Vec<String>, QueueError> {
    let drifted = drift(client).await?;
    if drifted.is_empty() {
        return Ok(drifted);
    }
    let failed = |error: tokio_postgres::Error| QueueError::Migration { name: NEWEST.name, reason: describe(&error) };
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await.map_err(failed)?;
    transaction.batch_execute(NEWEST.sql).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let left = drift(client).await?;
    if left.is_empty() { Ok(drifted) } else { Err(QueueError::Drifted(left.join("; "))) }
}

/// Fails when the database lacks a migration that this host needs.
pub async fn check(client: &impl Connection) -> Result<(), QueueError> {
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = version(client).await?;
    if found >= needed {
        return Ok(());
    }
    let elsewhere = place::elsewhere(client).await?;
    Err(QueueError::NotMigrated { schema: client.schema().clone(), found, needed, elsewhere })
}

/// The newest migration in the database; 0 when there is none.
pub async fn version(client: &impl Connection) -> Result<i64, QueueError> {
    match client.query_typed_one("SELECT coalesce(max(version), 0) FROM public.receipt_queue_schema", &[]).await {
        Ok(row) => Ok(row.try_get(0).unwrap_or(0)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(QueueError::query("a look at its schema version", &error)),
    }
}

async fn has(transaction: &Transaction<'_>, version: i64) -> Result<bool, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at its schema version", &error);
    let table = transaction
        .query_typed_one("SELECT to_regclass('public.receipt_queue_schema') IS NOT NULL", &[])
        .await
        .map_err(problem)?;
    if !table.try_get::<_, bool>(0).unwrap_or(false) {
        return Ok(false);
    }
    let row = transaction
        .query_typed_opt("SELECT FROM public.receipt_queue_schema WHERE version = $1", &[(&version, Type::INT8)])
        .await
        .map_err(problem)?;
    Ok(row.is_some())
}
