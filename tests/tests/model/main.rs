//! The queue's state machine against a small reference (`reference/`), on real Postgres, with the statements and triggers as
//! they are shipped.
//!
//! **One after another.** Random sequences of up to 39 operations on three receipts: insert (also again, under the id of one
//! that was deleted), edit, replace the image, set any status, delete; claim by two workers, heartbeat, complete (batches
//! that mix leases that are held and leases that are lost), retry (charged or not, now or later, with or without an error),
//! dead-letter, look for exhausted jobs, take back; manual retry and discard; a lease or a wait that ends; and each of them by
//! somebody whose connection ends before the commit. After each operation all of receipts, queue, dead letters and views is
//! compared, and for every lease ever given what `settled_before.sql` says of it. What differs is shrunk to the shortest
//! sequence.
//!
//! **Two at once.** A receipt in eight scenes (see [`concurrent::Scene`]); each two of up to 21 operations meet there. A
//! session stops before each statement and before its commit, with `snapshots` also between a statement's snapshot and its
//! first row, and with `kills` it may be ended by the server wherever it stops. All orders of these steps are run, depth
//! first; what waits for a lock cannot go on until it has it. After each step a third session looks: what it sees must be
//! what the reference reaches by what is committed, one after another (see [`arena`]). So nobody sees a receipt without its
//! queue row, a crash leaves nothing behind, and a deadlock is a failure.
//!
//! **Three at once.** Random schedules of three operations, with snapshots and crashes.
//!
//! **Mutations** ([`mutations`]) prove that it can fail.
//!
//! `MODEL_CASES` is the number of sequences and of schedules of three. From 1,000 on, the pairs meet in all scenes, also with
//! snapshots and with kills; below that, in two scenes, and of one of them a few pairs with these. `--nocapture` shows what
//! was counted.
//!
//! Not covered: the claim's low watermark, `attempts` beyond a history of 20, the pump around the statements (its
//! tests are in `e2e`), what the host does about a `Blocked`, and time as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod arena;
mod concurrent;
mod database;
mod mutations;
mod observe;
mod reference;
mod sequential;
mod session;
mod statements;
mod values;
mod wire;

use arena::{Arena, Grain};
use concurrent::{SCENES, Scene, Tried};
use reference::Op;
use statements::Statements;

const THOROUGH: u32 = 1000;

fn cases() -> u32 {
    std::env::var("MODEL_CASES").map_or(60, |cases| cases.parse().expect("MODEL_CASES: a number of cases"))
}

#[test]
fn one_after_another_the_database_does_what_the_reference_does() {
    match sequential::search(cases(), true, Statements::shipped(), "") {
        Ok(tried) => println!("{} sequences, {} operations", tried.sequences, tried.steps),
        Err(why) => panic!("{why:#?}"),
    }
}

async fn assert_pairs(scenes: &[Scene], grain: Grain, one_in: usize) {
    let mut arena = Arena::new(Statements::shipped(), "").await;
    let mut all = Tried::default();
    for &scene in scenes {
        let tried = concurrent::pairs(&mut arena, scene, grain, one_in).await.unwrap_or_else(|why| panic!("{why}"));
        println!("{scene:?}: {} pairs, {} schedules", tried.pairs, tried.schedules);
        all += tried;
    }
    println!("{} pairs, all of their {} schedules, {grain:?}", all.pairs, all.schedules);
}

/// All scenes, or those few for which there is always time.
fn scenes(few: &'static [Scene]) -> &'static [Scene] {
    if cases() < THOROUGH { few } else { &SCENES }
}

/// Of how many pairs one is tried where there are many schedules.
fn one_in() -> usize {
    if cases() < THOROUGH { 12 } else { 1 }
}

#[tokio::test]
async fn two_at_once_are_as_one_after_another() {
    assert_pairs(scenes(&[Scene::Leased, Scene::Dead]), Grain { snapshots: false, kills: 0 }, 1).await;
}

#[tokio::test]
async fn two_at_once_with_old_snapshots_are_as_one_after_another() {
    assert_pairs(scenes(&[Scene::Dead]), Grain { snapshots: true, kills: 0 }, one_in()).await;
}

#[tokio::test]
async fn of_two_at_once_one_that_crashes_leaves_nothing_behind() {
    assert_pairs(scenes(&[Scene::Leased]), Grain { snapshots: false, kills: 1 }, one_in()).await;
}

#[test]
fn three_at_once_are_as_one_after_another() {
    match concurrent::threes(cases()) {
        Ok(schedules) => println!("{schedules} different schedules of three"),
        Err(why) => panic!("{why}"),
    }
}

/// A retry said "back in the queue" of a dead letter that somebody else had revived or deleted while it waited, and it
/// revived one that was discarded meanwhile.
#[tokio::test]
async fn a_manual_retry_beside_others_does_what_it_says() {
    let mut arena = Arena::new(Statements::shipped(), "").await;
    arena.arrange(&Scene::Dead.before()).await;
    for other in [Op::ReplaceImage { slot: 0, image: Some(3) }, Op::Delete { slot: 0 }, Op::Discard { slot: 0 }] {
        let ops = [other, Op::ManualRetry { slot: 0 }];
        let grain = Grain { snapshots: true, kills: 0 };
        concurrent::every_schedule(&mut arena, &ops, grain).await.unwrap_or_else(|why| panic!("{why}"));
    }
}
