//! One operation after another: after each, the reference and the database say the same of everything.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;
use tests::TestDatabase;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::database::{Leases, has_own_transaction, perform};
use crate::observe::observe;
use crate::reference::{Model, Op, Places, SLOTS, Seen, Slot, Status, Token};
use crate::statements::{Prepared, Statements};

/// At most so many operations in a sequence.
pub const LONGEST: usize = 40;

#[derive(Debug, Clone)]
pub enum Step {
    Do(Op),
    /// The one who does it is gone before its commit.
    Crash(Op),
}

struct Machine;

impl ReferenceStateMachine for Machine {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        let doomed = operations(model).prop_filter("opens its own transaction", |op| !has_own_transaction(op));
        prop_oneof![24 => operations(model).prop_map(Step::Do), 1 => doomed.prop_map(Step::Crash)].boxed()
    }

    fn preconditions(model: &Model, step: &Step) -> bool {
        let (Step::Do(op) | Step::Crash(op)) = step;
        let known = |token: &Token| model.tokens().any(|known| known == *token);
        match op {
            Op::Insert { slot, .. } => model.places[*slot].is_none(),
            // A host holds one lease of a job at most, and beats for that.
            Op::Heartbeat { tokens } => {
                let mut slots = model.touches(op);
                slots.sort_unstable();
                slots.dedup();
                tokens.iter().all(known) && slots.len() == tokens.len()
            }
            Op::Complete { readings } => readings.iter().all(|(token, _)| known(token)),
            Op::Retry { token, .. } | Op::DeadLetter { token, .. } | Op::TakeBack { token } => known(token),
            _ => true,
        }
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        if let Step::Do(op) = step {
            let seen = model.predict(op);
            model.apply(op, &seen, &[]).unwrap();
        }
        model
    }
}

fn operations(model: &Model) -> BoxedStrategy<Op> {
    let mut choices = vec![
        (4, (1..3_u8, 1..=SLOTS).prop_map(|(worker, limit)| Op::Claim { worker, limit }).boxed()),
        (1, Just(Op::Exhausted).boxed()),
    ];
    let empty: Vec<Slot> = (0..SLOTS).filter(|slot| model.places[*slot].is_none()).collect();
    if !empty.is_empty() {
        let status =
            prop_oneof![6 => Just(Status::Pending), 1 => select(vec![Status::Draft, Status::Done, Status::Failed])];
        // What the app gave stays: a reading would show in few.
        let given = proptest::option::weighted(0.4, 1..4_u8);
        let insert = (select(empty), status, person(), given);
        let insert = insert.prop_map(|(slot, status, image, fields)| Op::Insert { slot, status, image, fields });
        choices.push((6, insert.boxed()));
    }
    let there: Vec<Slot> = (0..SLOTS).filter(|slot| model.places[*slot].is_some()).collect();
    if !there.is_empty() {
        let slot = || select(there.clone());
        let status = select(vec![Status::Draft, Status::Pending, Status::Done, Status::Failed]);
        choices.extend([
            (2, (slot(), person()).prop_map(|(slot, fields)| Op::Edit { slot, fields }).boxed()),
            (2, (slot(), person()).prop_map(|(slot, image)| Op::ReplaceImage { slot, image }).boxed()),
            (2, (slot(), status).prop_map(|(slot, status)| Op::SetStatus { slot, status }).boxed()),
            (1, slot().prop_map(|slot| Op::Delete { slot }).boxed()),
            (3, slot().prop_map(|slot| Op::Expire { slot }).boxed()),
            (2, slot().prop_map(|slot| Op::ManualRetry { slot }).boxed()),
            (1, slot().prop_map(|slot| Op::Discard { slot }).boxed()),
        ]);
    }
    let held: Vec<Token> = model.places.iter().flatten().filter_map(|place| place.row.as_ref()?.lease).collect();
    let issued: Vec<Token> = model.tokens().collect();
    if !issued.is_empty() {
        // A lease that is lost is tried as well: whoever has it does not know.
        let recent = issued[issued.len().saturating_sub(5)..].to_vec();
        let token = move || {
            if held.is_empty() {
                select(recent.clone()).boxed()
            } else {
                prop_oneof![2 => select(held.clone()), 1 => select(recent.clone())].boxed()
            }
        };
        let batch = prop::collection::vec((token(), reading()), 1..4).prop_map(|mut readings| {
            readings.sort_unstable();
            readings.dedup_by_key(|(token, _)| *token);
            readings
        });
        let of = model.clone();
        let heartbeat = batch.clone().prop_map(move |mut batch| {
            batch.sort_by_key(|(token, _)| of.slot(*token));
            batch.dedup_by_key(|(token, _)| of.slot(*token));
            Op::Heartbeat { tokens: batch.into_iter().map(|(token, _)| token).collect() }
        });
        let retry = (token(), any::<bool>(), any::<bool>(), proptest::option::weighted(0.8, reading()));
        choices.extend([
            (5, batch.prop_map(|readings| Op::Complete { readings }).boxed()),
            (5, retry.prop_map(|(token, wait, charge, error)| Op::Retry { token, wait, charge, error }).boxed()),
            (4, (token(), reading()).prop_map(|(token, error)| Op::DeadLetter { token, error }).boxed()),
            (2, heartbeat.boxed()),
            (2, token().prop_map(|token| Op::TakeBack { token }).boxed()),
        ]);
    }
    proptest::strategy::Union::new_weighted(choices).boxed()
}

/// What a person or an app writes.
fn person() -> impl Strategy<Value = Option<u8>> {
    proptest::option::weighted(0.8, 1..4_u8)
}

/// What a component reads; also its digest, and its error.
fn reading() -> std::ops::Range<u8> {
    10..14
}

/// The database beside its reference.
pub struct Pair {
    pub model: Model,
    pub client: Client,
    pub prepared: Prepared,
    pub leases: Leases,
    pub db: TestDatabase,
    statements: Statements,
}

impl Pair {
    pub async fn new(statements: Statements) -> Self {
        let db = TestDatabase::migrated().await;
        let client = db.connect().await;
        let prepared = statements.prepare(&client).await;
        Self { model: Model::default(), client, prepared, leases: Leases::default(), db, statements }
    }

    /// Begins anew.
    async fn clear(&mut self) {
        self.client.batch_execute("DELETE FROM receipts").await.unwrap();
        self.model = Model::default();
        self.leases = Leases::default();
    }

    pub async fn step(&mut self, step: &Step) -> Result<(), Difference> {
        match step {
            Step::Do(op) => {
                let expected = self.model.predict(op);
                let seen = perform(&mut self.client, &self.prepared, &self.leases, op).await;
                if seen.as_ref() != Ok(&expected) {
                    return Err(Difference::Told { op: op.clone(), expected, seen });
                }
                self.model.apply(op, &expected, &[]).map_err(Difference::Invalid)?;
            }
            Step::Crash(op) => self.crash(op).await?,
        }
        let there = observe(&self.client, &self.leases.tokens()).await;
        if there != self.model.places {
            return Err(Difference::State { expected: Box::new(self.model.places.clone()), there: Box::new(there) });
        }
        self.ask_what_was_settled().await
    }

    /// Done, and its connection ended by the server before the commit.
    async fn crash(&self, op: &Op) -> Result<(), Difference> {
        let mut doomed = self.db.connect().await;
        let prepared = self.statements.prepare(&doomed).await;
        let pid: i32 = doomed.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        doomed.batch_execute("BEGIN").await.unwrap();
        let given = self.leases.len();
        let seen = perform(&mut doomed, &prepared, &self.leases, op).await;
        let expected = self.model.predict(op);
        if seen.as_ref() != Ok(&expected) {
            return Err(Difference::Told { op: op.clone(), expected, seen });
        }
        self.client.execute("SELECT pg_terminate_backend($1, 60000)", &[&pid]).await.unwrap();
        self.leases.truncate(given);
        Ok(())
    }

    /// The host that lost a reply asks, and is told the truth about every lease that ever was.
    async fn ask_what_was_settled(&self) -> Result<(), Difference> {
        let (names, leases): (Vec<Token>, Vec<_>) =
            self.model.tokens().map(|token| (token, self.leases.of(token))).unzip();
        let (ids, tokens): (Vec<i64>, Vec<i64>) = leases.iter().map(|lease| (lease.job, lease.token)).unzip();
        let rows = self.client.query(&self.prepared.settled_before, &[&ids, &tokens]).await.unwrap();
        let settled: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        for (name, lease) in names.into_iter().zip(leases) {
            if settled.contains(&lease.token) != self.model.settled(name) {
                return Err(Difference::Settled { token: name, expected: self.model.settled(name) });
            }
        }
        Ok(())
    }
}

/// Where the database does not do what it should.
#[derive(Debug)]
#[allow(dead_code, reason = "read by people")]
pub enum Difference {
    Told { op: Op, expected: Seen, seen: Result<Seen, String> },
    State { expected: Box<Places>, there: Box<Places> },
    Settled { token: Token, expected: bool },
    Invalid(String),
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Tried {
    pub sequences: usize,
    pub steps: usize,
}

/// Random sequences; the first that shows a difference is made as small as it gets.
pub fn search(cases: u32, shrink: bool, statements: Statements, alter: &str) -> Result<Tried, Box<dyn fmt::Debug>> {
    let runtime = Runtime::new().unwrap();
    let pair = runtime.block_on(async {
        let pair = Pair::new(statements).await;
        pair.client.batch_execute(alter).await.unwrap();
        pair
    });
    let pair = RefCell::new(pair);
    let tried = RefCell::new(Tried::default());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if shrink { 2000 } else { 1 },
        ..Config::default()
    };
    // What is to be found (in SQL that was broken on purpose) is looked for in the same sequences each time, so that it is no matter of
    // luck; what is not to be there is looked for in others each time.
    let mut runner = match shrink {
        true => TestRunner::new(config),
        false => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let result = runner.run(&Machine::sequential_strategy(1..LONGEST), |(_, steps, seen)| {
        let mut pair = pair.borrow_mut();
        let mut tried = tried.borrow_mut();
        tried.sequences += 1;
        runtime.block_on(async {
            pair.clear().await;
            for step in &steps {
                // So that shrinking begins by leaving out what was not reached.
                if let Some(seen) = &seen {
                    AtomicUsize::fetch_add(seen, 1, Ordering::SeqCst);
                }
                tried.steps += 1;
                if let Err(difference) = pair.step(step).await {
                    return Err(TestCaseError::fail(format!("{difference:#?}")));
                }
            }
            Ok(())
        })
    });
    let _context = runtime.enter();
    drop(pair);
    match result {
        Ok(()) => Ok(tried.into_inner()),
        Err(TestError::Fail(why, (_, steps, _))) => Err(Box::new((why, steps))),
        Err(other) => Err(Box::new(other)),
    }
}
