//! What the hot swap must survive: real hosts that work while their component is changed under them.

mod bad;
mod crash;
mod files;
mod gate;
mod load;
mod remembered;
mod shadow;
mod together;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use host::storage::digest_of;
use serde_json::Value;
use tests::{Finished, HostCommand, Running, World, candidates, events, eventually};

/// A world with a component's file, and hosts that watch it.
struct Bench {
    world: World,
    file: PathBuf,
}

impl Bench {
    /// The file holds [`candidates::honest`] number 0.
    async fn new() -> Self {
        let world = World::new().await;
        let file = world.dir().join("worker.wasm");
        let bench = Self { world, file };
        link_compiled(&tests::cache_dir(), &bench.cache());
        bench.replace(&candidates::honest(0));
        bench
    }

    /// As careful people do it: atomically.
    fn replace(&self, component: &[u8]) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, component).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// What is confirmed is a test's own; what is compiled is not, see [`link_compiled`].
    fn cache(&self) -> PathBuf {
        self.world.dir().join("cache/compiled")
    }

    /// `host run` on the file; compiled and confirmed components are kept in the test's own folder.
    fn command(&self, args: &[&str]) -> HostCommand {
        self.at(self.world.run(args)).arg("--component").arg(&self.file)
    }

    fn at(&self, command: HostCommand) -> HostCommand {
        command
            .env("WORKER_ADMIN", "127.0.0.1:0")
            .env("WORKER_CACHE_DIR", self.cache())
            .env("WORKER_EVERY", "300ms")
            .env("WORKER_LEASE", "2s")
            .env("NO_COLOR", "1")
    }

    /// One that works already.
    async fn start(&self, args: &[&str]) -> Running {
        let mut host = self.command(args).spawn();
        host.logged("worker.started").await;
        host
    }

    /// `host swap FILE` to this host.
    fn swap(&self, host: &Running, name: &str, component: &[u8]) -> HostCommand {
        let file = self.world.dir().join(name);
        std::fs::write(&file, component).unwrap();
        self.at(self.world.host()).env("WORKER_ADMIN", host.admin()).arg("swap").arg("--json").arg(file)
    }

    /// Replaces the file and waits until the host has logged this of it.
    async fn offer(&self, host: &mut Running, component: &[u8], event: &str, part: &str) {
        self.replace(component);
        said(host, component, event, part).await;
    }

    /// Replaces the file and waits until the host works with it.
    async fn take_over(&self, host: &mut Running, component: &[u8]) {
        self.replace(component);
        switched(host, component).await;
    }

    /// Receipts with photos of their own, also between two calls.
    async fn receipts(&self, count: usize) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        for _ in 0..count {
            self.world.receipt(&format!("swap-{}.jpg", NUMBER.fetch_add(1, Ordering::Relaxed))).await;
        }
    }

    /// Waits until every receipt is done or dead.
    async fn settled(&self) {
        eventually("no receipt is pending", async || {
            (self.world.count("receipts WHERE status::text = 'pending'").await == 0).then_some(())
        })
        .await;
    }

    /// Every receipt is done, none was charged more than this many attempts, and none was paid for twice.
    async fn assert_all_done(&self, receipts: i64, attempts: i64) {
        self.settled().await;
        self.world.assert_settled(receipts).await;
        assert_eq!(self.world.count("receipts WHERE status::text = 'ocr_done'").await, receipts);
        let most = self.world.text("SELECT coalesce(max(attempts), 0)::text FROM receipt_queue", &[]).await;
        assert!(most.parse::<i64>().unwrap() <= attempts, "{most} attempts");
        assert!(self.world.textract.calls_by_image().values().all(|calls| i64::try_from(*calls).unwrap() <= attempts));
    }

    async fn done_by(&self, component: &[u8]) -> i64 {
        self.world.count(&format!("receipts WHERE ocr_component = '{}'", digest_of(component))).await
    }

    /// Whether the ledger has this change of this component, and why.
    async fn recorded(&self, change: &str, component: &[u8]) -> Option<String> {
        let sql = "SELECT coalesce(reason, '') FROM receipt_component_changes
                   WHERE change = $1 AND digest = $2 ORDER BY id DESC LIMIT 1";
        let row = self.world.client.query_opt(sql, &[&change, &digest_of(component)]).await.unwrap();
        row.map(|row| row.get(0))
    }

    /// Waits for it.
    async fn becomes(&self, change: &str, component: &[u8]) -> String {
        eventually(&format!("{change} in the ledger"), async || self.recorded(change, component).await).await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        link_compiled(&self.cache(), &tests::cache_dir());
    }
}

/// Gives another folder what one has of compiled components: these tests compile the same few over and over, which without
/// optimisation takes most of their time.
fn link_compiled(from: &Path, to: &Path) {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    let Ok(files) = std::fs::read_dir(from) else { return };
    for file in files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_some_and(|end| end == "cwasm"))
    {
        // It is there already, or a host has just replaced or removed it.
        let _ = std::fs::hard_link(&file, to.join(file.file_name().unwrap()));
    }
}

/// Waits until the log has this event, with this in its fields or words, of this component.
async fn said(host: &mut Running, component: &[u8], event: &str, part: &str) {
    let digest = short(component);
    eventually(&format!("{event} {part:?} of {digest}"), async || {
        let ended = host.has_ended();
        let log = host.log();
        let found = events(&log, event).iter().any(|line| line.contains(&digest) && line.contains(part));
        assert!(found || !ended, "the host ended without {event} {part:?} of {digest}:\n{log}");
        found.then_some(())
    })
    .await;
}

/// Waits until the host works with this component.
async fn switched(host: &mut Running, component: &[u8]) {
    said(host, component, "swap.switched", "").await;
}

/// Whether the log has this component at this stage, whatever became of it there.
fn was_at(log: &str, component: &[u8], stage: &str) -> bool {
    let (digest, stage) = (short(component), format!("stage={stage}"));
    let at_stage = ["swap.stage_passed", "swap.refused"].into_iter().flat_map(|event| events(log, event));
    at_stage.into_iter().any(|line| line.contains(&digest) && line.contains(&stage))
}

/// Whether every change of its component is in the ledger, as far as the host knows.
fn has_whole_ledger(finished: &Finished) -> bool {
    !["ledger.incomplete", "ledger.entry_lost"].into_iter().any(|event| finished.logged(event))
}

/// As the log names it.
fn short(component: &[u8]) -> String {
    digest_of(component)[..12].to_owned()
}

/// What `host swap --json` printed, whatever its exit code.
fn verdict(finished: &tests::Finished) -> Value {
    serde_json::from_str(finished.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}
