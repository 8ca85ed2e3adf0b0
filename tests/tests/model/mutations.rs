//! Proof that a broken queue is found: each of these changes to a statement or a trigger is, by the search that is named.

use crate::arena::{Arena, Grain};
use crate::concurrent::{self, Scene};
use crate::sequential;
use crate::statements::Statements;

/// How many sequences may pass before one finds it.
const SEQUENCES: u32 = 4000;

enum Change {
    /// In the host's statements.
    Statement(fn(&mut Statements) -> &mut String, &'static str, &'static str),
    /// In a function of the migrations.
    Function(&'static str, &'static str, &'static str),
}

impl Change {
    /// The statements, and what is to be done to the database.
    fn make(&self) -> (Statements, String) {
        let mut statements = Statements::shipped();
        match self {
            Self::Statement(of, from, to) => {
                let sql = of(&mut statements);
                assert!(sql.contains(from), "the statement has changed: {from}");
                *sql = sql.replacen(from, to, 1);
                (statements, String::new())
            }
            Self::Function(name, from, to) => {
                let alter = format!(
                    "DO $do$
                     DECLARE source text := pg_get_functiondef('{name}'::regproc);
                     BEGIN
                         ASSERT position($from${from}$from$ IN source) > 0, 'the function has changed';
                         EXECUTE replace(source, $from${from}$from$, $to${to}$to$);
                     END $do$"
                );
                (statements, alter)
            }
        }
    }
}

#[test]
fn one_after_another_finds() {
    use Change::{Function, Statement};
    let changes = [
        (
            "a settle without the token",
            Statement(|s| &mut s.complete, "AND q.lease_token = l.token\n    RETURNING", "RETURNING"),
        ),
        (
            "a retry without the token",
            Statement(|s| &mut s.retry, "AND q.lease_token = l.token\n    RETURNING", "RETURNING"),
        ),
        (
            "a dead letter without the token",
            Statement(|s| &mut s.dead_letter, "AND q.lease_token = l.token\n    RETURNING", "RETURNING"),
        ),
        (
            "a heartbeat without the token",
            Statement(|s| &mut s.heartbeat, "AND q.lease_token = h.token\n    RETURNING", "RETURNING"),
        ),
        (
            "a claim that keeps the token",
            Statement(
                |s| &mut s.claim,
                "= nextval('public.receipt_queue_token')",
                "= coalesce(q.lease_token, nextval('public.receipt_queue_token'))",
            ),
        ),
        (
            "a claim that charges nothing",
            Statement(|s| &mut s.claim, "attempts = q.attempts + 1", "attempts = q.attempts"),
        ),
        ("a claim of what is not due", Statement(|s| &mut s.claim, "AND available_at <= now()", "")),
        (
            "a claim of the newest first",
            Statement(|s| &mut s.claim, "ORDER BY available_at, id", "ORDER BY available_at DESC, id"),
        ),
        (
            "a claim beyond the limit of attempts",
            Statement(|s| &mut s.claim, "AND attempts < $4", "AND attempts <= $4"),
        ),
        (
            "a retry that charges nothing",
            Statement(|s| &mut s.retry, "WHEN o.charge THEN q.attempts", "WHEN false THEN q.attempts"),
        ),
        (
            "a retry that keeps the lease",
            Statement(|s| &mut s.retry, "lease_token = NULL", "lease_token = q.lease_token"),
        ),
        ("a retry that does not say whose it was", Statement(|s| &mut s.retry, "settled_token = o.token,", "")),
        (
            "a settle that overwrites an edit",
            Statement(|s| &mut s.complete, "AND s.waits AND s.untouched", "AND s.waits"),
        ),
        (
            "a settle that overwrites what the app gave",
            Statement(|s| &mut s.complete, "WHEN 'given' THEN true", "WHEN 'given' THEN false"),
        ),
        (
            "a requeue that forgets what the app gave",
            Function("receipt_queue_whose", "WHEN whose ? n.name AND", "WHEN false AND"),
        ),
        (
            "a settle that overwrites the app's status",
            Statement(|s| &mut s.complete, "l.status IN ('pending', 'ocr_failed') AS waits", "true AS waits"),
        ),
        (
            "a dead letter whose receipt still waits",
            Statement(|s| &mut s.dead_letter, "AND s.status = 'pending'", "AND false"),
        ),
        (
            "a dead letter of what a person finished",
            Statement(|s| &mut s.dead_letter, "WHERE s.status IS DISTINCT FROM 'ocr_done'", ""),
        ),
        ("a dead letter that forgets its deaths", Statement(|s| &mut s.dead_letter, "s.deaths + 1,", "1,")),
        (
            "a replaced image that is not read",
            Function(
                "receipts_requeue",
                "OR coalesce(nullif(n.s3_key::text, ''), n.image_url::text)",
                "OR false AND coalesce(nullif(n.s3_key::text, ''), n.image_url::text)",
            ),
        ),
        ("a requeue that leaves the lease", Function("receipt_queue_put", "lease_token = NULL,", "")),
        ("a requeue that leaves the attempts", Function("receipt_queue_put", "attempts = 0,", "")),
        (
            "a requeue that leaves the dead letter",
            Function("receipt_queue_put", "WHERE d.receipt_id = ANY (ids);", "WHERE false;"),
        ),
        (
            "a finished receipt that stays dead",
            Function("receipts_requeue", "coalesce(n.status::text, '') = 'ocr_done'", "false"),
        ),
    ];
    for (what, change) in changes {
        let (statements, alter) = change.make();
        let found = sequential::search(SEQUENCES, false, statements, &alter);
        assert!(found.is_err(), "not found: {what}");
        println!("found: {what}");
    }
}

#[tokio::test]
async fn two_at_once_find() {
    use Change::Statement;
    let changes = [
        ("a claim that locks nothing", Scene::Waiting, Statement(|s| &mut s.claim, "FOR UPDATE SKIP LOCKED", "")),
        (
            "a settle that does not lock the receipt",
            Scene::Leased,
            Statement(
                |s| &mut s.complete,
                "FOR NO KEY UPDATE OF r, q SKIP LOCKED",
                "FOR NO KEY UPDATE OF q SKIP LOCKED",
            ),
        ),
        (
            "a settle that locks the row before the receipt, and waits",
            Scene::Leased,
            Statement(|s| &mut s.complete, "FOR NO KEY UPDATE OF r, q SKIP LOCKED", "FOR NO KEY UPDATE OF q"),
        ),
        (
            "a dead letter that does not lock the receipt",
            Scene::Leased,
            Statement(
                |s| &mut s.dead_letter,
                "FOR NO KEY UPDATE OF r, q SKIP LOCKED",
                "FOR NO KEY UPDATE OF q SKIP LOCKED",
            ),
        ),
        (
            "a settle that waits for nobody and calls it lost",
            Scene::Leased,
            Statement(
                |s| &mut s.complete,
                "AND NOT EXISTS (SELECT FROM locked l WHERE l.job_id = o.job_id) AS blocked",
                "AND false AS blocked",
            ),
        ),
    ];
    for (what, scene, change) in changes {
        let (statements, alter) = change.make();
        let mut arena = Arena::new(statements, &alter).await;
        let found = concurrent::pairs(&mut arena, scene, Grain { snapshots: false, kills: 0 }, 1).await;
        match found {
            Ok(tried) => panic!("not found: {what}, {tried:?}"),
            Err(why) => println!("found: {what}: {}", why.lines().next().unwrap()),
        }
    }
}
