//! The design's invariants 1 to 6. Each test fails when the code that keeps its invariant is taken out.

mod artifacts;
mod charges;
mod fencing;
mod none_lost;
mod people;
mod together;

use tests::World;

/// All rows of the three tables, to see that nothing changed.
pub(crate) async fn everything(world: &World) -> String {
    world
        .text(
            "SELECT concat_ws(E'\\n',
                (SELECT string_agg(to_jsonb(r)::text, ',' ORDER BY id) FROM receipts r),
                (SELECT string_agg(to_jsonb(q)::text, ',' ORDER BY id) FROM receipt_queue q),
                (SELECT string_agg(to_jsonb(d)::text, ',' ORDER BY id) FROM receipt_queue_dlq d))",
            &[],
        )
        .await
}
