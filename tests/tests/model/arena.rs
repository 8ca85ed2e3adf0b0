//! One schedule: operations of several sessions, their steps in a chosen order, on a queue in a known state.
//!
//! After every step a further session looks. What it sees must be what the reference reaches by the operations that are
//! committed by then, one after another in some order: an order in which what ended before another began comes first, and
//! in which everybody was told what it was told.

use std::fmt::Write;
use std::sync::Arc;

use tests::TestDatabase;
use tokio_postgres::Client;

use crate::database::{Leases, perform};
use crate::observe::observe;
use crate::reference::{Model, Op, Places, Seen, Slot};
use crate::session::{self, At, Session, settled};
use crate::statements::{Prepared, Statements};

/// Keeps the state that each schedule begins with, and puts it back. Ids and tokens stay what they are.
const KEEP: &str = "
    DROP SCHEMA IF EXISTS kept CASCADE;
    CREATE SCHEMA kept;
    CREATE TABLE kept.receipts AS TABLE receipts;
    CREATE TABLE kept.receipt_queue AS TABLE receipt_queue;
    CREATE TABLE kept.receipt_queue_dlq AS TABLE receipt_queue_dlq";
const PUT_BACK: &str = "
    BEGIN;
    SET LOCAL session_replication_role = replica;
    DELETE FROM receipt_queue_dlq;
    DELETE FROM receipt_queue;
    DELETE FROM receipts;
    INSERT INTO receipts SELECT * FROM kept.receipts;
    INSERT INTO receipt_queue OVERRIDING SYSTEM VALUE SELECT * FROM kept.receipt_queue;
    INSERT INTO receipt_queue_dlq OVERRIDING SYSTEM VALUE SELECT * FROM kept.receipt_queue_dlq;
    COMMIT";
/// Dead rows of so many schedules slow nothing down yet.
const VACUUM_EVERY: usize = 300;

/// What a schedule may do.
#[derive(Debug, Clone, Copy)]
pub struct Grain {
    /// Whether statements stop between their snapshot and their first row.
    pub snapshots: bool,
    /// How many sessions may be ended by a crash.
    pub kills: usize,
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    Go(usize),
    Kill(usize),
}

/// What one operation came to.
#[derive(Debug, Clone)]
struct Course {
    op: Op,
    began: Option<usize>,
    ended: Option<usize>,
    /// None: it did not commit.
    told: Option<Seen>,
}

/// A schedule that was run to its end: at each choice, which one and of how many.
#[derive(Debug, Default)]
pub struct Run {
    pub choices: Vec<(usize, usize)>,
}

pub struct Arena {
    db: TestDatabase,
    statements: Statements,
    watcher: Client,
    watcher_pid: i32,
    prepared: Prepared,
    sessions: Vec<Session>,
    start: Model,
    leases: Arc<Leases>,
    given: usize,
    runs: usize,
}

impl Arena {
    pub async fn new(statements: Statements, alter: &str) -> Self {
        let db = TestDatabase::migrated().await;
        let watcher = db.connect().await;
        watcher.batch_execute(alter).await.unwrap();
        session::prepare_database(&watcher, &db).await;
        let watcher_pid = watcher.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let prepared = statements.prepare(&watcher).await;
        Self {
            db,
            statements,
            watcher,
            watcher_pid,
            prepared,
            sessions: Vec::new(),
            start: Model::default(),
            leases: Arc::default(),
            given: 0,
            runs: 0,
        }
    }

    /// The state that the following schedules begin with.
    pub async fn arrange(&mut self, before: &[Op]) {
        self.watcher.batch_execute("DELETE FROM receipts").await.unwrap();
        self.start = Model::default();
        self.leases = Arc::default();
        for op in before {
            let expected = self.start.predict(op);
            let seen = perform(&mut self.watcher, &self.prepared, &self.leases, op).await.unwrap();
            assert_eq!(seen, expected, "{op:?}");
            self.start.apply(op, &seen, &[]).unwrap();
        }
        self.given = self.leases.len();
        self.watcher.batch_execute(KEEP).await.unwrap();
    }

    /// Runs one schedule; `choose` says which of so many choices is taken at each point.
    pub async fn run(
        &mut self,
        ops: &[Op],
        grain: Grain,
        mut choose: impl FnMut(usize, usize) -> usize,
    ) -> Result<Run, String> {
        self.runs += 1;
        if self.runs.is_multiple_of(VACUUM_EVERY) {
            self.watcher.batch_execute("VACUUM receipts, receipt_queue, receipt_queue_dlq").await.unwrap();
        }
        self.watcher.batch_execute(PUT_BACK).await.unwrap();
        self.leases.truncate(self.given);
        while self.sessions.len() < ops.len() {
            self.sessions.push(Session::connect(&self.db, &self.statements).await);
        }
        self.sessions.truncate(ops.len());
        for (session, op) in self.sessions.iter_mut().zip(ops) {
            session.begin(op.clone(), Arc::clone(&self.leases));
        }
        let mut story = String::new();
        let mut run = Run::default();
        let result = self.play(ops, grain, &mut choose, &mut run, &mut story).await;
        if result.is_err() {
            // Whatever they wait for: nobody goes on with it.
            for session in &mut self.sessions {
                session.kill(&self.watcher).await;
            }
            self.sessions.clear();
        }
        result.map(|()| run).map_err(|why| format!("{why}\nfrom {:?}\nschedule:\n{story}", self.start.places))
    }

    async fn play(
        &mut self,
        ops: &[Op],
        grain: Grain,
        choose: &mut impl FnMut(usize, usize) -> usize,
        run: &mut Run,
        story: &mut String,
    ) -> Result<(), String> {
        let mut courses: Vec<Course> =
            ops.iter().map(|op| Course { op: op.clone(), began: None, ended: None, told: None }).collect();
        let mut kills = grain.kills;
        for step in 0.. {
            let at = settled(&self.sessions, &self.watcher, self.watcher_pid).await;
            for (index, course) in courses.iter_mut().enumerate() {
                if at[index] == At::Done && course.ended.is_none() {
                    course.ended = Some(step);
                    course.told = Some(self.sessions[index].finish(&self.watcher).await?);
                    let _ = writeln!(story, "  {index} is done: {:?}", course.told);
                }
            }
            let there = observe(&self.watcher, &self.leases.tokens()).await;
            explain(&self.start, &courses, &there)?;
            let choices = options(&at, &courses, kills);
            if choices.is_empty() {
                let over = at.iter().all(|at| *at == At::Done);
                return if over { Ok(()) } else { Err(format!("deadlock: {at:?}")) };
            }
            let chosen = choose(run.choices.len(), choices.len()) % choices.len();
            run.choices.push((chosen, choices.len()));
            match choices[chosen] {
                Choice::Go(index) => {
                    let _ = writeln!(story, "  {index} goes on from {:?}: {:?}", at[index], ops[index]);
                    courses[index].began.get_or_insert(step);
                    self.sessions[index].step(&self.watcher, at[index], grain.snapshots).await;
                }
                Choice::Kill(index) => {
                    let _ = writeln!(story, "  {index} is killed at {:?}: {:?}", at[index], ops[index]);
                    kills -= 1;
                    courses[index].ended = Some(step);
                    self.sessions[index].kill(&self.watcher).await;
                    let _ = self.sessions[index].finish(&self.watcher).await;
                    self.sessions[index] = Session::connect(&self.db, &self.statements).await;
                }
            }
        }
        unreachable!("the steps have no end");
    }
}

/// Whoever can go on may; whoever has begun may crash instead.
fn options(at: &[At], courses: &[Course], kills: usize) -> Vec<Choice> {
    let mut choices = Vec::new();
    for (index, at) in at.iter().enumerate() {
        if matches!(at, At::Statement | At::Snapshot) {
            choices.push(Choice::Go(index));
            if kills > 0 && courses[index].began.is_some() {
                choices.push(Choice::Kill(index));
            }
        }
    }
    choices
}

/// Whether what is there is what some order of the committed operations leads to.
fn explain(start: &Model, courses: &[Course], there: &Places) -> Result<(), String> {
    let committed: Vec<usize> = (0..courses.len()).filter(|index| courses[*index].told.is_some()).collect();
    let mut why = String::new();
    for order in orders(&committed, courses) {
        let mut model = start.clone();
        let applied = order.iter().try_for_each(|index| {
            let course = &courses[*index];
            model.apply(&course.op, course.told.as_ref().unwrap(), &busy(start, courses, *index))
        });
        match applied {
            Ok(()) if model.places == *there => return Ok(()),
            Ok(()) => {
                let _ = writeln!(why, "order {order:?} leads to {:?}", model.places);
            }
            Err(problem) => {
                let _ = writeln!(why, "order {order:?}: {problem}");
            }
        }
    }
    Err(format!("no order of what was committed explains\n{there:?}\n{why}"))
}

/// What others worked on while this one ran.
fn busy(start: &Model, courses: &[Course], index: usize) -> Vec<Slot> {
    let one = &courses[index];
    let (began, ended) = (one.began.unwrap_or(0), one.ended.unwrap_or(usize::MAX));
    let meanwhile = courses.iter().enumerate().filter(|(other, course)| {
        *other != index && course.began.is_some_and(|at| at < ended) && course.ended.is_none_or(|at| at > began)
    });
    meanwhile.flat_map(|(_, course)| start.touches(&course.op)).collect()
}

/// All orders in which what ended before another began comes first.
fn orders(left: &[usize], courses: &[Course]) -> Vec<Vec<usize>> {
    if left.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for &first in left {
        let rest: Vec<usize> = left.iter().copied().filter(|index| *index != first).collect();
        if rest.iter().any(|other| courses[*other].ended <= courses[first].began) {
            continue;
        }
        all.extend(orders(&rest, courses).into_iter().map(|rest| [vec![first], rest].concat()));
    }
    all
}
