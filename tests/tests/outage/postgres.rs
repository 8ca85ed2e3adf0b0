//! Postgres stopped and started again under a host that works.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use host::dev::postgres::{LocalPostgres, Settings};
use host::ocr::local::Fault;
use host::queue::Database;
use host::queue::migrate::migrate;
use tempfile::TempDir;
use tests::{World, eventually};
use tokio_postgres::{Client, NoTls};

use crate::gate::Gate;
use crate::outage;

/// Receipts in all, half of them before the outage.
const RECEIPTS: i64 = 60;

/// A cluster of this test's own.
struct Cluster {
    settings: Settings,
    running: Option<LocalPostgres>,
    _folder: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let folder = TempDir::new_in(tests::scratch()).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let settings = Settings { fsync: false, ..Settings::new(folder.path().join("postgres")) };
        let running = LocalPostgres::start(settings.clone()).await.unwrap();
        running.ensure_database("app").await.unwrap();
        migrate(&mut Database::parse(&running.url("app")).unwrap().connect().await.unwrap()).await.unwrap();
        let settings = Settings { port: Some(running.port()), ..settings };
        Self { settings, running: Some(running), _folder: folder }
    }

    fn url(&self) -> String {
        self.running.as_ref().unwrap().url("app")
    }

    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    async fn start_again(&mut self) {
        self.running = Some(LocalPostgres::start(self.settings.clone()).await.unwrap());
    }
}

async fn insert(client: &Client, count: i64) {
    let sql =
        "INSERT INTO receipts (image_url) SELECT 'photo-' || n || '.jpg' FROM generate_series(1, $1::bigint) AS n";
    client.execute(sql, &[&count]).await.unwrap();
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {what}"), &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_gone_for_longer_than_a_lease() {
    let world = World::new().await;
    for number in 1..=RECEIPTS {
        world.photo(&format!("photo-{number}.jpg")).await;
    }
    let mut cluster = Cluster::start().await;
    let gate = Gate::before(&format!("127.0.0.1:{}", cluster.settings.port.unwrap())).await;
    let url = cluster.url();
    let (front, back) = url.split_once('@').unwrap();
    let through_gate = format!("{front}@{}/{}", gate.address(), back.split_once('/').unwrap().1);

    let client = cluster.client().await;
    insert(&client, RECEIPTS).await;
    // So that work is in hand when the database goes, and its results are there before it comes back.
    world.textract.faults().always(Fault::Delay(Duration::from_millis(500)));
    let host = world.run(&["--admin", "off", "--every", "500ms", "--lease", "2s", "--max-attempts", "1"]);
    let host = host.env("DATABASE_URL", &through_gate).env("NO_COLOR", "1").spawn();
    eventually("some are done", async || {
        (count(&client, "receipts WHERE status = 'ocr_done'").await >= 4).then_some(())
    })
    .await;
    cluster.stop().await;
    let knocked = gate.knocks();
    tokio::time::sleep(outage()).await;
    let knocked = gate.knocks() - knocked;
    println!("Postgres gone for {:?}: {knocked} connections tried", outage());
    // Claiming, settling, listening and the ledger try with pauses that double, from 0.1 s up to 15 s and more.
    assert!(knocked <= 40 + outage().as_secs(), "{knocked} connections tried");
    cluster.start_again().await;

    let client = cluster.client().await;
    eventually("all are done", async || {
        (count(&client, "receipts WHERE status = 'ocr_done'").await == RECEIPTS).then_some(())
    })
    .await;
    // With one attempt each: whatever had been charged would be dead.
    assert_eq!(count(&client, "receipt_queue WHERE processed AND attempts = 1").await, RECEIPTS);
    assert_eq!(count(&client, "receipt_queue_dlq").await, 0);
    let calls = world.textract.calls_by_image();
    assert_eq!(calls.len(), usize::try_from(RECEIPTS).unwrap());
    assert!(calls.values().all(|calls| *calls == 1), "{calls:?}");
    host.stop().await.ok();
    cluster.stop().await;
}
