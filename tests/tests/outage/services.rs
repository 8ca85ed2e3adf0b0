//! S3 or Textract gone, silent, or refusing everybody: receipts wait at nobody's cost, the services are left in peace, and
//! the work goes on by itself.

use host::ocr::local::Fault;
use tests::{HostCommand, Running, World, eventually, has_event};

use crate::gate::{Door, Gate};
use crate::{charged, claims, outage};

/// Receipts that come in the outage: many more than may be claimed in it.
const WAITING: usize = 60;

struct Bench {
    world: World,
    s3: Gate,
    textract: Gate,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new().await;
        let (s3, textract) = (Gate::before(&world.s3.endpoint()).await, Gate::before(&world.textract.endpoint()).await);
        Self { world, s3, textract }
    }

    fn host(&self) -> HostCommand {
        self.world
            .run(&["--admin", "off", "--every", "500ms", "--aws-timeout", "1s"])
            .env("AWS_ENDPOINT_URL_S3", self.s3.endpoint())
            .env("AWS_ENDPOINT_URL_TEXTRACT", self.textract.endpoint())
            .env("NO_COLOR", "1")
    }

    async fn all_done(&self, receipts: i64) {
        eventually("all are done", async || {
            (self.world.count("receipts WHERE status::text = 'ocr_done'").await == receipts).then_some(())
        })
        .await;
    }

    /// What is the same in every outage. `most_charged`: attempts that it may cost, over all receipts.
    async fn survives(self, name: &str, begin: impl FnOnce(&Self), end: impl FnOnce(&Self), most_charged: i64) {
        self.world.receipts(5).await;
        let mut host = self.host().spawn();
        self.all_done(5).await;
        begin(&self);
        let knocks = |bench: &Self| bench.s3.knocks() + bench.textract.knocks();
        let (claimed, knocked) = (claims(&self.world).await, knocks(&self));
        self.world.receipts_from(5, WAITING).await;
        host.logged_with("breaker.opened", "breaker=\"services\"").await;
        tokio::time::sleep(outage()).await;
        let (claimed, knocked) = (claims(&self.world).await - claimed, knocks(&self) - knocked);
        println!("{name}: in {:?}: {claimed} claims, {knocked} calls at S3 and Textract", outage());
        // Three failures open it, whatever was on its way beside them; then there are probes: one after half a second or
        // more, and each waits for longer. A probe is a claim and at most three calls, each twice.
        let probes = 2 + outage().as_secs().div_ceil(15) + 5;
        assert!(claimed <= 40 + i64::try_from(probes).unwrap(), "{name}: {claimed} claims");
        assert!(knocked <= 60 + 6 * probes, "{name}: {knocked} calls");
        assert_eq!(self.world.count("receipts WHERE status::text = 'ocr_done'").await, 5, "{name}: no outage at all");

        end(&self);
        host.logged("breaker.closed").await;
        self.recovered(&mut host, name, most_charged).await;
        host.stop().await.ok();
    }

    /// Nobody has to do anything for it; the few that were tried have some seconds to wait.
    async fn recovered(&self, host: &mut Running, name: &str, most_charged: i64) {
        self.all_done(i64::try_from(WAITING).unwrap() + 5).await;
        self.world.assert_settled(i64::try_from(WAITING).unwrap() + 5).await;
        let cost = charged(&self.world).await;
        assert!(cost <= most_charged, "{name}: {cost} attempts charged");
        let spent = self.world.text("SELECT sum(attempts - 1)::text FROM receipt_queue", &[]).await;
        assert_eq!(spent, cost.to_string(), "{name}");
        assert!(!host.has_ended());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_refuses_connections() {
    let bench = Bench::new().await;
    bench.survives("S3 refuses", |b| b.s3.turn(Door::Shut), |b| b.s3.turn(Door::Open), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_accepts_and_never_answers() {
    let bench = Bench::new().await;
    bench.survives("S3 is silent", |b| b.s3.turn(Door::Silent), |b| b.s3.turn(Door::Open), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn textract_refuses_connections() {
    let bench = Bench::new().await;
    bench.survives("Textract refuses", |b| b.textract.turn(Door::Shut), |b| b.textract.turn(Door::Open), 0).await;
}

/// A call that was not answered may have been paid for: those before the outage is known for one are charged.
#[tokio::test(flavor = "multi_thread")]
async fn textract_accepts_and_never_answers() {
    let bench = Bench::new().await;
    bench.survives("Textract is silent", |b| b.textract.turn(Door::Silent), |b| b.textract.turn(Door::Open), 2).await;
}

async fn textract_answers_all_with(name: &str, fault: Fault, most_charged: i64) {
    let bench = Bench::new().await;
    let begin = |bench: &Bench| bench.world.textract.faults().always(fault);
    bench.survives(name, begin, |bench| bench.world.textract.faults().clear(), most_charged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn textract_throttles_everything() {
    textract_answers_all_with("Textract throttles", Fault::throttled(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn textract_fails_for_everything() {
    textract_answers_all_with("Textract fails", Fault::broken(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_have_expired() {
    textract_answers_all_with("credentials expired", Fault::error("ExpiredTokenException", 400), 0).await;
}

/// One receipt alone cannot stop the work, whatever becomes of it; and what is nobody's fault does not kill it either.
#[tokio::test(flavor = "multi_thread")]
async fn one_receipt_in_an_outage_does_not_die_of_it() {
    let bench = Bench::new().await;
    bench.world.textract.faults().always(Fault::error("AccessDeniedException", 400));
    let (receipt, _) = bench.world.receipt("alone.jpg").await;
    let host = bench.host().arg("--max-attempts").arg("1").spawn();
    eventually("six attempts", async || {
        bench.world.execute("UPDATE receipt_queue SET available_at = now() WHERE lease_token IS NULL").await;
        let tried = "SELECT coalesce(jsonb_array_length(history), 0)::text FROM receipt_queue";
        (bench.world.text(tried, &[]).await.parse::<u32>().unwrap() >= 6).then_some(())
    })
    .await;
    // That a right is missing is no receipt's fault, not even of the first one.
    assert_eq!(charged(&bench.world).await, 0);
    bench.world.textract.faults().clear();
    bench.world.execute("UPDATE receipt_queue SET available_at = now() WHERE lease_token IS NULL").await;
    bench.world.becomes(&receipt, "ocr_done").await;
    let log = host.stop().await.stderr;
    assert!(!has_event(&log, "breaker.opened"), "{log}");
}
