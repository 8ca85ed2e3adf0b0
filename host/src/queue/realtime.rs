//! Supabase's Realtime tells apps of changes in the tables of one publication. Whether receipts are among them is the app's to say.

use super::{Connection, QueueError};

const STATE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = 'supabase_realtime'),
    EXISTS (
        SELECT FROM pg_catalog.pg_publication p
        JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
        WHERE p.pubname = 'supabase_realtime' AND r.prrelid = 'public.receipts'::pg_catalog.regclass
    ) OR EXISTS (
        SELECT FROM pg_catalog.pg_publication WHERE pubname = 'supabase_realtime' AND puballtables
    )";
const PUBLISH: &str = "ALTER PUBLICATION supabase_realtime ADD TABLE public.receipts";

/// Publishes the receipts; returns whether they were not before.
pub async fn publish(client: &impl Connection) -> Result<bool, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to publish receipts by supabase_realtime", &error);
    let row = client.query_typed_one(STATE, &[]).await.map_err(problem)?;
    let (exists, published): (bool, bool) =
        row.try_get(0).and_then(|exists| Ok((exists, row.try_get(1)?))).map_err(problem)?;
    if !exists {
        return Err(QueueError::NoRealtime);
    }
    if published {
        return Ok(false);
    }
    client.batch_execute(PUBLISH).await.map_err(problem)?;
    Ok(true)
}
