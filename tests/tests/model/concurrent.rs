//! Which schedules are run: of each two operations all of them, of three as many as there is time for.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};
use tokio::runtime::Runtime;

use crate::arena::{Arena, Grain};
use crate::reference::{Op, Status, Token};
use crate::statements::Statements;

/// The state that the first receipt is in when two operations meet at it. Beside it a second one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    Waiting,
    Leased,
    /// The lease has run out, and nobody has claimed it since.
    Expired,
    /// The lease has run out, and another worker has the job.
    Lost,
    /// The lease of the last attempt has run out.
    Exhausted,
    /// Put back, to be tried later.
    Retried,
    Dead,
    Done,
}

pub const SCENES: [Scene; 8] = [
    Scene::Waiting,
    Scene::Leased,
    Scene::Expired,
    Scene::Lost,
    Scene::Exhausted,
    Scene::Retried,
    Scene::Dead,
    Scene::Done,
];

impl Scene {
    pub fn before(self) -> Vec<Op> {
        let insert = |slot, fields| Op::Insert { slot, status: Status::Pending, image: Some(1), fields };
        let claim = |worker| Op::Claim { worker, limit: 1 };
        let expire = Op::Expire { slot: 0 };
        let mut before = vec![insert(0, None)];
        before.extend(match self {
            Self::Waiting => vec![],
            Self::Leased => vec![claim(1)],
            Self::Expired => vec![claim(1), expire],
            Self::Lost => vec![claim(1), expire, claim(2)],
            Self::Exhausted => vec![claim(1), expire.clone(), claim(2), expire],
            Self::Retried => vec![claim(1), Op::Retry { token: 1, wait: true, charge: true, error: Some(10) }],
            Self::Dead => vec![claim(1), Op::DeadLetter { token: 1, error: 10 }],
            Self::Done => vec![claim(1), Op::Complete { readings: vec![(1, 10)] }],
        });
        // What the app gave stays.
        before.push(insert(1, Some(1)));
        before
    }

    /// What may meet here.
    pub fn operations(self) -> Vec<Op> {
        let mut operations = vec![
            Op::Edit { slot: 0, fields: Some(3) },
            Op::ReplaceImage { slot: 0, image: Some(3) },
            Op::SetStatus { slot: 0, status: Status::Pending },
            Op::SetStatus { slot: 0, status: Status::Done },
            Op::Delete { slot: 0 },
            Op::Insert { slot: 2, status: Status::Pending, image: Some(2), fields: None },
            Op::Claim { worker: 3, limit: 1 },
            Op::Claim { worker: 4, limit: 2 },
            Op::Exhausted,
        ];
        let tokens: &[Token] = match self {
            Self::Waiting => &[],
            Self::Lost | Self::Exhausted => &[1, 2],
            _ => &[1],
        };
        for &token in tokens {
            operations.extend([
                Op::Heartbeat { tokens: vec![token] },
                Op::Complete { readings: vec![(token, 10 + token as u8)] },
                Op::Retry { token, wait: true, charge: true, error: Some(12) },
                Op::Retry { token, wait: false, charge: false, error: None },
                Op::DeadLetter { token, error: 13 },
                Op::TakeBack { token },
            ]);
        }
        if self == Self::Dead {
            operations.extend([Op::ManualRetry { slot: 0 }, Op::Discard { slot: 0 }]);
        }
        operations
    }
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Tried {
    pub pairs: usize,
    pub schedules: usize,
}

impl std::ops::AddAssign for Tried {
    fn add_assign(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.schedules += other.schedules;
    }
}

/// Every schedule of every two operations that may meet in this scene, or of one in so many pairs of them.
pub async fn pairs(arena: &mut Arena, scene: Scene, grain: Grain, one_in: usize) -> Result<Tried, String> {
    arena.arrange(&scene.before()).await;
    let operations = scene.operations();
    let (mut tried, mut met) = (Tried::default(), 0);
    for (index, one) in operations.iter().enumerate() {
        for other in &operations[index..] {
            // An id of an app's own that is used twice is the app's error.
            if one == other && matches!(one, Op::Insert { .. }) {
                continue;
            }
            met += 1;
            if met % one_in != 0 {
                continue;
            }
            tried.pairs += 1;
            tried.schedules += every_schedule(arena, &[one.clone(), other.clone()], grain)
                .await
                .map_err(|why| format!("{scene:?}, {one:?} and {other:?}: {why}"))?;
        }
    }
    Ok(tried)
}

/// Random schedules of three operations, with snapshots and at most one crash. One that shows a difference is made as small
/// as it gets. Returns how many different ones were run.
pub fn threes(cases: u32) -> Result<usize, String> {
    let runtime = Runtime::new().unwrap();
    let arena = RefCell::new(runtime.block_on(Arena::new(Statements::shipped(), "")));
    let seen = RefCell::new(BTreeSet::new());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let crashes = prop_oneof![3 => Just(0), 1 => Just(1)];
    let schedules = (select(SCENES.to_vec()), any::<[Index; 3]>(), crashes, prop::collection::vec(any::<u8>(), 24));
    let result = TestRunner::new(config).run(&schedules, |(scene, places, kills, choices)| {
        let operations = scene.operations();
        let ops = places.map(|place| place.get(&operations).clone());
        prop_assume!(ops.iter().filter(|op| matches!(op, Op::Insert { .. })).count() < 2);
        let mut arena = arena.borrow_mut();
        let run = runtime.block_on(async {
            arena.arrange(&scene.before()).await;
            let choose = |depth: usize, _| usize::from(choices.get(depth).copied().unwrap_or(0));
            arena.run(&ops, Grain { snapshots: true, kills }, choose).await
        });
        let run = run.map_err(TestCaseError::fail)?;
        seen.borrow_mut().insert(format!("{scene:?} {ops:?} {kills} {:?}", run.choices));
        Ok(())
    });
    let _context = runtime.enter();
    drop(arena);
    match result {
        Ok(()) => Ok(seen.into_inner().len()),
        Err(TestError::Fail(why, (scene, ..))) => Err(format!("{scene:?}: {why}")),
        Err(other) => Err(other.to_string()),
    }
}

/// Depth first: each run repeats the last one's choices but for the last that has another left.
pub async fn every_schedule(arena: &mut Arena, ops: &[Op], grain: Grain) -> Result<usize, String> {
    let mut prefix: Vec<usize> = Vec::new();
    for count in 1.. {
        let run = arena.run(ops, grain, |depth, _| prefix.get(depth).copied().unwrap_or(0)).await?;
        let Some(last) = run.choices.iter().rposition(|(chosen, of)| chosen + 1 < *of) else { return Ok(count) };
        prefix = run.choices[..last].iter().map(|(chosen, _)| *chosen).collect();
        prefix.push(run.choices[last].0 + 1);
    }
    unreachable!("the schedules have an end");
}
