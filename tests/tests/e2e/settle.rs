//! Settling next to an app that locks, deletes and refuses, and over connections that break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host::ocr::local::{Fault, Reader, Recordings, sha256};
use host::queue::Database;
use tests::{TestDatabase, World, WorldSettings, answer, eventually, photo_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pump::{self, complete, settings, take};

#[tokio::test]
async fn a_receipt_that_is_locked_holds_up_no_other_and_is_settled_afterwards() {
    let world = World::new().await;
    let receipts = world.receipts(8).await;
    let (locked, _) = &receipts[3];
    let app = world.db.connect().await;
    app.batch_execute(&format!("BEGIN; UPDATE receipts SET user_id = 'busy' WHERE id = '{locked}'")).await.unwrap();
    let host = world.run(&["--every", "1h", "--concurrency", "2"]).spawn();
    eventually("the others", async || (world.count("receipts WHERE status = 'ocr_done'").await == 7).then_some(()))
        .await;
    assert_eq!(world.status_of(locked).await, "pending");
    app.batch_execute("COMMIT").await.unwrap();
    world.becomes(locked, "ocr_done").await;
    host.stop().await.ok();
    world.assert_settled(8).await;
    assert_eq!(world.textract.calls(), 8);
}

/// A world where one photo's answer is unlike the others'.
async fn with_one_odd_answer(schema: &str, odd: Vec<u8>) -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(schema).await.unwrap();
    let photo = photo_bytes();
    let recordings =
        Recordings::new().with_default(answer("Cafe", "4.50", "2024-03-15")).with_image(sha256(&photo), odd);
    let reader = Some(Reader::Recorded(recordings));
    let world = World::with(WorldSettings { db: Some(db), reader }).await;
    world.host().arg("migrate").run().await.ok();
    world.put("odd.jpg", photo).await;
    world.photo("usual.jpg").await;
    world
        .execute(
            "INSERT INTO receipts (image_url)
             SELECT CASE n WHEN 4 THEN 'odd.jpg' ELSE 'usual.jpg' END FROM generate_series(1, 9) n",
        )
        .await;
    world
}

const RECEIPTS: &str = "id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text,
    status text NOT NULL DEFAULT 'pending'";

async fn assert_one_refused(world: &World, reason: &str) {
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&8.into(), &1.into()), "{summary}");
    world.assert_settled(9).await;
    assert_eq!(world.count("receipts WHERE image_url = 'odd.jpg' AND status = 'ocr_failed'").await, 1);
    let dead = "SELECT concat_ws('|', error_code, notes, error_message) FROM receipt_queue_dlq";
    let dead = world.text(dead, &[]).await;
    assert!(dead.starts_with("queue.ResultRefused|the database refused the result|"), "{dead}");
    assert!(dead.contains(reason), "{dead}");
}

#[tokio::test]
async fn a_vendor_too_long_for_the_apps_column_spoils_nothing_else() {
    let schema = format!("CREATE TABLE receipts ({RECEIPTS}, vendor_text varchar(5))");
    let world = with_one_odd_answer(&schema, answer("Longer Than Five", "4.50", "2024-03-15")).await;
    assert_one_refused(&world, "too long").await;
}

#[tokio::test]
async fn a_total_too_large_for_the_apps_column_spoils_nothing_else() {
    let schema = format!("CREATE TABLE receipts ({RECEIPTS}, total_amount numeric(4,2))");
    let world = with_one_odd_answer(&schema, answer("Cafe", "1234.50", "2024-03-15")).await;
    assert_one_refused(&world, "overflow").await;
}

#[tokio::test]
async fn a_check_of_the_apps_that_a_result_fails_spoils_nothing_else() {
    let schema = format!("CREATE TABLE receipts ({RECEIPTS}, total_amount numeric CHECK (total_amount < 100))");
    let world = with_one_odd_answer(&schema, answer("Cafe", "1234.50", "2024-03-15")).await;
    assert_one_refused(&world, "check constraint").await;
}

#[tokio::test]
async fn a_trigger_of_the_apps_that_refuses_a_result_spoils_nothing_else() {
    let schema = format!(
        "CREATE TABLE receipts ({RECEIPTS}, total_amount numeric);
         CREATE FUNCTION review() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.total_amount > 100 THEN RAISE EXCEPTION 'over the budget'; END IF;
                 RETURN NEW;
             END $$;
         CREATE TRIGGER review BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION review()"
    );
    let world = with_one_odd_answer(&schema, answer("Cafe", "1234.50", "2024-03-15")).await;
    assert_one_refused(&world, "over the budget").await;
}

/// Where the app refuses the dead letter as well, the receipt waits with the reason, and the host goes on.
#[tokio::test]
async fn a_receipt_that_the_app_lets_nobody_change_waits_and_says_why() {
    let schema = format!(
        "CREATE TABLE receipts ({RECEIPTS});
         CREATE FUNCTION close_books() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'the books are closed'; END $$;
         CREATE TRIGGER close_books BEFORE UPDATE ON receipts FOR EACH ROW WHEN (OLD.image_url = 'odd.jpg')
             EXECUTE FUNCTION close_books()"
    );
    let world = with_one_odd_answer(&schema, answer("Cafe", "4.50", "2024-03-15")).await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&8.into(), &0.into()), "{summary}");
    let waits = "SELECT concat_ws('|', attempts, last_error_code, last_error) FROM receipt_queue WHERE NOT processed";
    let waits = world.text(waits, &[]).await;
    assert!(waits.starts_with("0|queue.ResultRefused|") && waits.contains("the books are closed"), "{waits}");
    world.execute("DROP TRIGGER close_books ON receipts; UPDATE receipt_queue SET available_at = now()").await;
    world.once().await;
    world.assert_settled(9).await;
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
}

/// An app that updates, replaces and deletes receipts in whatever order, beside two hosts: nobody is a deadlock's victim.
#[tokio::test]
async fn no_deadlock_with_an_app_that_works_on_the_same_receipts() {
    let world = World::new().await;
    world.photo("one.jpg").await;
    world.photo("two.jpg").await;
    // Some go back to the queue and come again: that path locks too.
    world.textract.faults().next(30, Fault::throttled());
    world.execute("INSERT INTO receipts (image_url) SELECT 'one.jpg' FROM generate_series(1, 120)").await;
    let hosts: Vec<_> =
        (0..2).map(|_| world.run(&["--lease", "1s", "--every", "200ms", "--concurrency", "8"]).spawn()).collect();
    let apps = [
        "UPDATE receipts SET user_id = 'u' || random() WHERE random() < 0.5",
        "UPDATE receipts SET image_url = CASE image_url WHEN 'one.jpg' THEN 'two.jpg' ELSE 'one.jpg' END
         WHERE id IN (SELECT id FROM receipts ORDER BY random() LIMIT 40)",
        "DELETE FROM receipts WHERE id IN (SELECT id FROM receipts ORDER BY random() LIMIT 3)",
        "INSERT INTO receipts (image_url) SELECT 'two.jpg' FROM generate_series(1, 5)",
        "UPDATE receipts SET status = 'pending' WHERE id IN (SELECT id FROM receipts ORDER BY id DESC LIMIT 30)",
    ];
    let app = world.db.connect().await;
    for round in 0..25 {
        for statement in apps {
            app.batch_execute(statement).await.unwrap_or_else(|error| panic!("round {round}: {statement}: {error:?}"));
        }
    }
    // What was put off is due now: the end must not wait for backoff.
    eventually("an empty queue", async || {
        world
            .execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed AND lease_token IS NULL")
            .await;
        (world.count("receipt_queue WHERE NOT processed").await == 0).then_some(())
    })
    .await;
    for host in hosts {
        let finished = host.stop().await;
        assert!(!finished.stderr.contains("deadlock"), "{}", finished.stderr);
        finished.ok();
    }
    let left = world.count("receipts").await;
    world.assert_settled(left).await;
}

#[tokio::test]
async fn connections_that_are_cut_while_settling_settle_everything_once() {
    let world = World::new().await;
    world
        .execute(
            "CREATE TABLE settles (receipt uuid);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO settles VALUES (NEW.id); RETURN NEW; END $$;
             CREATE TRIGGER note BEFORE UPDATE ON receipts FOR EACH ROW WHEN (NEW.status = 'ocr_done')
                 EXECUTE FUNCTION note()",
        )
        .await;
    world.receipts(60).await;
    let mut host = world.run(&["--every", "100ms", "--lease", "5s", "--concurrency", "4"]).spawn();
    // Before that a lost connection is an error of configuration.
    host.logged("working").await;
    let mut cut = 0_i64;
    let started = std::time::Instant::now();
    eventually("an end", async || {
        assert!(started.elapsed() < tests::PATIENCE / 2, "it hangs:\n{}", host.log());
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
        if cut < 40 {
            cut += world.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        }
        (world.count("receipt_queue WHERE NOT processed").await == 0).then_some(())
    })
    .await;
    assert!(cut >= 2, "{cut} connections were cut");
    let finished = host.stop().await;
    world.assert_settled(60).await;
    assert_eq!(world.count("settles").await, 60);
    finished.ok();
}

/// Between a client and the server; on demand it swallows the server's answers, and cuts the connections.
struct Proxy {
    port: u16,
    deaf: Arc<AtomicBool>,
    cut: tokio::sync::watch::Sender<u32>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let deaf = Arc::new(AtomicBool::new(false));
        let (cut, cuts) = tokio::sync::watch::channel(0);
        let swallow = Arc::clone(&deaf);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, swallow, mut cuts) = (server.clone(), Arc::clone(&swallow), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        () = relay(client, server, swallow) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { port, deaf, cut }
    }

    fn swallow_answers(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    fn cut_and_recover(&self) {
        self.deaf.store(false, Ordering::SeqCst);
        self.cut.send_modify(|count| *count += 1);
    }
}

async fn relay(client: TcpStream, server: TcpStream, swallow: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = async { while tokio::io::copy(&mut from_client, &mut to_server).await.is_ok_and(|bytes| bytes > 0) {} };
    let down = async {
        let mut buffer = vec![0; 65536];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if !swallow.load(Ordering::SeqCst) && to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}

/// The commit happened, its reply never came: the settle is looked up, not done again and not given up as lost.
#[tokio::test]
async fn a_settle_whose_reply_was_lost_is_neither_lost_nor_done_twice() {
    for (outcome, status) in [(complete("V", "1.00"), "ocr_done"), (pump::dead_letter(), "ocr_failed")] {
        let world = World::new().await;
        let (_, server) = world.db.url().split_once('@').unwrap();
        let proxy = Proxy::start(server.split('/').next().unwrap().to_owned()).await;
        let through = world.db.url().replace(server.split('/').next().unwrap(), &format!("127.0.0.1:{}", proxy.port));
        // The first settle makes the connection; then only this connection has anything to say.
        world.insert("a.jpg").await;
        let second = world.insert("b.jpg").await;
        let pump = pump::start_with(Database::parse(&through).unwrap(), settings()).await;
        let (one, two) = (take(&pump).await, take(&pump).await);
        assert_eq!(two.receipt_id, second);
        pump.settle(&one, complete("V", "1.00"), None).await.unwrap();
        proxy.swallow_answers();
        let settle = pump.settle(&two, outcome, None);
        let cut = async {
            world.becomes(&second, status).await;
            proxy.cut_and_recover();
        };
        let (settled, ()) = tokio::join!(settle, cut);
        settled.unwrap();
        world.assert_settled(2).await;
        let counts = pump.counts();
        assert_eq!((counts.processed + counts.dead, counts.lost), (2, 0));
    }
}

/// The same for a job that was put back: its row waits like any other, and only the settled token tells.
#[tokio::test]
async fn a_retry_whose_reply_was_lost_is_put_back_once() {
    let world = World::new().await;
    let (_, server) = world.db.url().split_once('@').unwrap();
    let address = server.split('/').next().unwrap();
    let proxy = Proxy::start(address.to_owned()).await;
    let through = world.db.url().replace(address, &format!("127.0.0.1:{}", proxy.port));
    world.insert("a.jpg").await;
    world.insert("b.jpg").await;
    let pump = pump::start_with(Database::parse(&through).unwrap(), settings()).await;
    let (one, two) = (take(&pump).await, take(&pump).await);
    pump.settle(&one, complete("V", "1.00"), None).await.unwrap();
    proxy.swallow_answers();
    let settle = pump.settle(&two, pump::retry(pump::HOUR, false), None);
    let cut = async {
        eventually("the row is back", async || {
            (world.count("receipt_queue WHERE NOT processed AND lease_token IS NULL").await == 1).then_some(())
        })
        .await;
        proxy.cut_and_recover();
    };
    let (settled, ()) = tokio::join!(settle, cut);
    settled.unwrap();
    assert_eq!(
        world.text("SELECT concat_ws('|', attempts, claims) FROM receipt_queue WHERE NOT processed", &[]).await,
        "0|1"
    );
    assert_eq!(pump.counts().retried, 1);
}
