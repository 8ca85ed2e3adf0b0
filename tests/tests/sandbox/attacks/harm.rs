//! Each attack, with good work beside it and after it.

use std::sync::Arc;
use std::time::Duration;

use host::queue::{Job, Pump};
use host::sandbox::{Limits, Program, Sandbox, Services};
use tests::cache_dir;
use tests::components::component;
use tokio::sync::Notify;

use super::{Attack, Case, Ends, How};
use crate::support::Bench;

/// Limits that a test does not wait long for, and in which the good component has room.
pub(super) fn limits() -> Limits {
    Limits {
        handles: 50,
        deadline: Duration::from_millis(300),
        // Good work on a busy machine takes seconds.
        run_timeout: Duration::from_secs(30),
        log_bytes: 4096,
        ..Limits::default()
    }
}

/// The programs and the bench that attacks and good work share.
pub(super) struct Field {
    pub(super) bench: Bench,
    pub(super) pump: Arc<Pump>,
    pub(super) services: Arc<Services>,
    pub(super) sandbox: Sandbox,
    good: Program,
    wake: Arc<Notify>,
    taken: tokio::sync::Mutex<Vec<Job>>,
}

impl Field {
    pub(super) async fn new(limits: Limits) -> Self {
        let bench = Bench::new().await;
        let (pump, services, wake) = bench.pump(1).await;
        let sandbox = Sandbox::new(limits, 2, Some(&cache_dir())).unwrap();
        let good = sandbox.load(None).unwrap();
        Self { bench, pump, services, sandbox, good, wake, taken: tokio::sync::Mutex::default() }
    }

    /// The job of this receipt, which is new.
    pub(super) async fn job(&self, receipt: &str) -> Job {
        self.bench.insert(&[receipt]).await;
        self.wake.notify_one();
        let mut ready = self.pump.ready();
        let mut taken = self.taken.lock().await;
        let found = async {
            loop {
                taken.extend(self.pump.take(100));
                if let Some(place) = taken.iter().position(|job| job.receipt_id == receipt) {
                    return taken.remove(place);
                }
                ready.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found)
            .await
            .unwrap_or_else(|_| panic!("{receipt} is not claimed"))
    }

    /// Afresh: what fails again and again is at last charged to nobody.
    fn misbehaves(&self) -> Program {
        self.sandbox.load(Some(&component("misbehaves"))).unwrap()
    }

    /// The good component works this job to its end.
    async fn works(&self, job: Job) {
        let receipt = job.receipt_id.clone();
        let end = self.sandbox.run(&self.good, &self.services, vec![job]).await;
        assert_eq!(end.result.unwrap().processed, 1, "{receipt}");
        assert!(matches!(self.bench.done(&receipt).await, Some((1, _))), "{receipt}");
    }

    /// Runs an attack on a job: whether it failed, and with what.
    pub(super) async fn run(&self, program: &Program, job: Job) -> Option<String> {
        let end = self.sandbox.run(program, &self.services, vec![job]).await;
        end.result.err().map(|error| error.to_string())
    }

    async fn ends_as_it_must(&self, attack: Attack, receipt: &str, failed: Option<String>, ends: Ends) {
        let (Ends::Charged(says) | Ends::BeforeAJob(says) | Ends::AfterSettling(says)) = ends else {
            assert_eq!(failed, None, "{attack:?}");
            assert!(self.bench.done(receipt).await.is_some(), "{attack:?}");
            return;
        };
        let failed = failed.unwrap_or_else(|| panic!("{attack:?} did not fail; it should with {says:?}"));
        assert!(failed.contains(says), "{attack:?}: {failed}");
        let dead = self.bench.dead(receipt).await;
        match ends {
            Ends::Charged(_) => {
                let dead = dead.unwrap_or_else(|| panic!("{attack:?} is charged to nobody: {failed}"));
                assert!(["component.Trap", "component.Limit"].contains(&&*dead.code), "{attack:?}: {}", dead.code);
                assert!(dead.message.contains(says), "{attack:?}: {}", dead.message);
            }
            // What it did before stays: it has buried its job itself, or put it back.
            Ends::AfterSettling(_) => {
                assert!(dead.is_none_or(|dead| !dead.code.starts_with("component.")), "{attack:?} is charged");
            }
            _ => assert!(dead.is_none(), "{attack:?} is charged to a job that it never had"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_ends_in_a_named_error_and_harms_nobody() {
    let field = Field::new(limits()).await;
    // Not the cache: these are nothing to keep.
    let fresh = Sandbox::new(limits(), 2, None).unwrap();
    for &attack in Attack::ALL {
        let Case { how, ends } = attack.case();
        let name = format!("{attack:?}");
        let beside = field.job(&format!("beside {name}")).await;
        let attacked = async {
            match how {
                How::Run(bytes) => {
                    let program = field.sandbox.load_bytes(&name, &bytes).unwrap();
                    let job = field.job(&name).await;
                    let failed = field.run(&program, job).await;
                    field.ends_as_it_must(attack, &name, failed, ends).await;
                }
                How::RunAs(receipt) => {
                    let job = field.job(receipt).await;
                    let failed = field.run(&field.misbehaves(), job).await;
                    field.ends_as_it_must(attack, receipt, failed, ends).await;
                }
                How::Ask(question) => {
                    let answer = field.sandbox.parse(&field.misbehaves(), question).await.unwrap().unwrap();
                    let Ends::Finds(nothing) = ends else { panic!("{attack:?} is asked and finds nothing") };
                    assert_eq!(answer.vendor.unwrap().value, nothing, "{attack:?}");
                }
                How::Load(bytes) => loads_as_it_must(attack, fresh.load_bytes(&name, &bytes), ends),
                How::LoadNamed(file) => loads_as_it_must(attack, fresh.load(Some(&component(file))), ends),
            }
        };
        tokio::join!(attacked, field.works(beside));
        let after = field.job(&format!("after {name}")).await;
        field.works(after).await;
    }
}

fn loads_as_it_must(attack: Attack, loaded: Result<Program, host::sandbox::LoadError>, ends: Ends) {
    match (loaded, ends) {
        (Ok(_), Ends::Works) => {}
        (Err(error), Ends::Refused(says)) => assert!(error.to_string().contains(says), "{attack:?}: {error}"),
        (Ok(_), _) => panic!("{attack:?} is loaded"),
        (Err(error), _) => panic!("{attack:?}: {error}"),
    }
}

/// The same through the real binary: it names what the component does to it, and ends well.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_goes_on_when_a_component_breaks_the_rules_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    for attack in [Attack::ReallocLoops, Attack::ReallocOutside, Attack::PostReturnCallsBack, Attack::WrongDiscriminant]
    {
        let Case { how: How::Run(bytes), ends: Ends::Charged(says) } = attack.case() else { panic!("{attack:?}") };
        let file = folder.path().join(format!("{attack:?}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        let bench = Bench::new().await;
        bench.insert(&["a", "b"]).await;
        let args = ["run", "--once", "--max-attempts", "1", "--batch-size", "1", "--deadline", "300ms", "--component"];
        let args = [&args[..], &[file.to_str().unwrap()]].concat();
        let ran = bench.host().args(args).run().await.unharmed();
        assert_eq!((ran.count("processed"), ran.count("dead")), (0, 2), "{attack:?}: {}", ran.stderr);
        assert!(ran.logged_with("component.failed_on_job", says), "{attack:?}: {}", ran.stderr);
    }
}
