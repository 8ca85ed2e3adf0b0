//! The reference: what the queue promises, as a pure state machine over a few receipts.
//!
//! Written from the design, `docs/decisions` and the comments of the migrations, not from the statements: where the two
//! differ, one of them is wrong. Values are small numbers: a receipt's four fields are one number (who wrote it, so to
//! speak), so are an image, a reading with its artifact and component, and an error with its kind, code and message.
//! Time is only "due" or "not yet", with the order in which jobs became due.

mod rules;

use std::collections::BTreeMap;

pub const SLOTS: usize = 3;
pub const MAX_ATTEMPTS: u32 = 2;

/// Which receipt: its id never changes, also when it is deleted and inserted again.
pub type Slot = usize;
/// A lease, numbered in the order of claims.
pub type Token = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Any status of the app's own.
    Draft,
    Pending,
    Done,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub status: Status,
    pub image: Option<u8>,
    pub fields: Option<u8>,
    pub artifact: Option<u8>,
    pub component: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub image: Option<u8>,
    /// The receipt's fields when it was queued.
    pub before: Option<u8>,
    /// They were the app's, and no component's.
    pub given: bool,
    pub attempts: u32,
    pub claims: u32,
    pub processed: bool,
    pub due: bool,
    pub lease: Option<Token>,
    pub holder: Option<u8>,
    pub settled: Option<Token>,
    pub error: Option<u8>,
    pub component: Option<u8>,
    pub deaths: u32,
    pub history: Vec<Past>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    pub image: Option<u8>,
    /// As its row had it.
    pub before: Option<u8>,
    pub given: bool,
    pub error: u8,
    pub attempts: u32,
    pub claims: u32,
    pub settled: Token,
    pub deaths: u32,
    pub history: Vec<Past>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub attempt: u32,
    pub outcome: Fate,
    pub error: u8,
    pub token: Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Charged,
    Uncharged,
    Dead,
    TakenBack,
}

/// All that the database says about one receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub receipt: Receipt,
    pub row: Option<Row>,
    pub dead: Option<Dead>,
}

pub type Places = [Option<Place>; SLOTS];

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    // What an app does.
    Insert {
        slot: Slot,
        status: Status,
        image: Option<u8>,
        fields: Option<u8>,
    },
    Edit {
        slot: Slot,
        fields: Option<u8>,
    },
    ReplaceImage {
        slot: Slot,
        image: Option<u8>,
    },
    SetStatus {
        slot: Slot,
        status: Status,
    },
    Delete {
        slot: Slot,
    },
    // What a host does.
    Claim {
        worker: u8,
        limit: usize,
    },
    Heartbeat {
        tokens: Vec<Token>,
    },
    Complete {
        readings: Vec<(Token, u8)>,
    },
    /// With an error it was worked; without, it is given back.
    Retry {
        token: Token,
        wait: bool,
        charge: bool,
        error: Option<u8>,
    },
    DeadLetter {
        token: Token,
        error: u8,
    },
    Exhausted,
    TakeBack {
        token: Token,
    },
    // What an operator does.
    ManualRetry {
        slot: Slot,
    },
    Discard {
        slot: Slot,
    },
    /// Time passes: a lease or a wait ends.
    Expire {
        slot: Slot,
    },
}

/// What the one who did it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    Leased(Vec<(Slot, Token)>),
    Verdicts(Vec<Verdict>),
    Slots(Vec<Slot>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Committed,
    Lost,
    /// Somebody has it locked; nothing was changed, to be tried again.
    Blocked,
}

/// Under which row a lease was given: a receipt that died and came back has another.
#[derive(Debug, Clone, Copy)]
struct Issued {
    slot: Slot,
    row: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub places: Places,
    /// How many queue rows each receipt has had.
    rows: [u32; SLOTS],
    /// When each became due.
    since: [u64; SLOTS],
    clock: u64,
    issued: BTreeMap<Token, Issued>,
}

impl Model {
    /// Every lease that was ever given.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        self.issued.keys().copied()
    }

    /// The receipt that a lease is of.
    pub fn slot(&self, token: Token) -> Option<Slot> {
        self.issued.get(&token).map(|issued| issued.slot)
    }

    /// Whose settle was committed, as far as rows and dead letters still tell.
    pub fn settled(&self, token: Token) -> bool {
        let Some(issued) = self.issued.get(&token) else { return false };
        let Some(place) = &self.places[issued.slot] else { return false };
        let told_by = |row: &Row| row.settled == Some(token) || row.history.iter().any(|past| past.token == token);
        place.row.as_ref().is_some_and(|row| told_by(row) && self.rows[issued.slot] == issued.row)
            || place.dead.as_ref().is_some_and(|dead| dead.settled == token)
    }

    /// The receipts that an operation reads or writes.
    pub fn touches(&self, op: &Op) -> Vec<Slot> {
        let of = |tokens: &mut dyn Iterator<Item = Token>| tokens.filter_map(|token| self.slot(token)).collect();
        match op {
            Op::Insert { slot, .. }
            | Op::Edit { slot, .. }
            | Op::ReplaceImage { slot, .. }
            | Op::SetStatus { slot, .. }
            | Op::Delete { slot }
            | Op::ManualRetry { slot }
            | Op::Discard { slot }
            | Op::Expire { slot } => vec![*slot],
            Op::Claim { .. } | Op::Exhausted => (0..SLOTS).collect(),
            Op::Heartbeat { tokens } => of(&mut tokens.iter().copied()),
            Op::Complete { readings } => of(&mut readings.iter().map(|(token, _)| *token)),
            Op::Retry { token, .. } | Op::DeadLetter { token, .. } | Op::TakeBack { token } => {
                of(&mut std::iter::once(*token))
            }
        }
    }

    /// What somebody who is alone is told.
    pub fn predict(&self, op: &Op) -> Seen {
        let next = self.issued.keys().next_back().map_or(1, |last| last + 1);
        let verdict = |token: Token| if self.holds(token) { Verdict::Committed } else { Verdict::Lost };
        let dead = |slot: Slot| self.places[slot].as_ref().is_some_and(|place| place.dead.is_some());
        match op {
            Op::Claim { limit, .. } => Seen::Leased(self.claimable().into_iter().take(*limit).zip(next..).collect()),
            Op::Exhausted => {
                let mut fresh = next..;
                let lease = |slot: Slot| self.row(slot).and_then(|row| row.lease);
                Seen::Leased(
                    self.exhausted()
                        .into_iter()
                        .map(|slot| (slot, lease(slot).or_else(|| fresh.next()).unwrap()))
                        .collect(),
                )
            }
            Op::Heartbeat { tokens } => Seen::Verdicts(tokens.iter().map(|token| verdict(*token)).collect()),
            Op::Complete { readings } => Seen::Verdicts(readings.iter().map(|(token, _)| verdict(*token)).collect()),
            Op::Retry { token, .. } | Op::DeadLetter { token, .. } => Seen::Verdicts(vec![verdict(*token)]),
            Op::ManualRetry { slot } | Op::Discard { slot } => {
                Seen::Slots(if dead(*slot) { vec![*slot] } else { Vec::new() })
            }
            _ => Seen::Nothing,
        }
    }

    /// Does it, if somebody could rightly have been told this. What was `busy` (others worked on it at the same time) may
    /// have been left out.
    pub fn apply(&mut self, op: &Op, seen: &Seen, busy: &[Slot]) -> Result<(), String> {
        self.clock += 1;
        match (op, seen) {
            (Op::Claim { worker, limit }, Seen::Leased(leased)) => {
                may_leave_out(self.claimable(), *limit, leased, busy)?;
                leased.iter().try_for_each(|&(slot, token)| self.claim(slot, token, *worker))
            }
            (Op::Exhausted, Seen::Leased(leased)) => {
                may_leave_out(self.exhausted(), usize::MAX, leased, busy)?;
                leased.iter().try_for_each(|&(slot, token)| self.lease_spent(slot, token))
            }
            (Op::Heartbeat { tokens }, Seen::Verdicts(verdicts)) => {
                self.settle(tokens.iter().copied().zip(verdicts), busy, |model, slot| model.put_off(slot))
            }
            (Op::Complete { readings }, Seen::Verdicts(verdicts)) => {
                readings.iter().zip(verdicts).try_for_each(|((token, reading), verdict)| {
                    self.settle([(*token, verdict)].into_iter(), busy, |model, slot| {
                        model.complete(slot, *token, *reading);
                    })
                })
            }
            (Op::Retry { token, wait, charge, error }, Seen::Verdicts(verdicts)) => {
                self.settle([*token].into_iter().zip(verdicts), busy, |model, slot| {
                    model.retry(slot, *token, *wait, *charge, *error);
                })
            }
            (Op::DeadLetter { token, error }, Seen::Verdicts(verdicts)) => {
                self.settle([*token].into_iter().zip(verdicts), busy, |model, slot| {
                    model.bury(slot, *token, *error);
                })
            }
            (Op::ManualRetry { .. } | Op::Discard { .. }, Seen::Slots(_)) => {
                self.same(op, seen)?;
                self.operate(op);
                Ok(())
            }
            (_, Seen::Nothing) => {
                self.operate(op);
                Ok(())
            }
            _ => Err(format!("{seen:?} is no answer to {op:?}")),
        }
    }

    fn same(&self, op: &Op, seen: &Seen) -> Result<(), String> {
        let expected = self.predict(op);
        if expected == *seen { Ok(()) } else { Err(format!("{op:?}: told {seen:?}, expected {expected:?}")) }
    }

    fn row(&self, slot: Slot) -> Option<&Row> {
        self.places[slot].as_ref()?.row.as_ref()
    }

    fn row_mut(&mut self, slot: Slot) -> &mut Row {
        self.places[slot].as_mut().unwrap().row.as_mut().unwrap()
    }

    /// Whether this lease is still the one of its row. The whole of fencing.
    fn holds(&self, token: Token) -> bool {
        self.issued.get(&token).is_some_and(|issued| {
            self.rows[issued.slot] == issued.row && self.row(issued.slot).is_some_and(|row| row.lease == Some(token))
        })
    }

    fn due(&self, wanted: impl Fn(&Row) -> bool) -> Vec<Slot> {
        let is_wanted = |slot: &Slot| self.row(*slot).is_some_and(|row| !row.processed && row.due && wanted(row));
        let mut due: Vec<Slot> = (0..SLOTS).filter(is_wanted).collect();
        due.sort_by_key(|slot| self.since[*slot]);
        due
    }

    fn claimable(&self) -> Vec<Slot> {
        self.due(|row| row.attempts < MAX_ATTEMPTS)
    }

    /// In no order: they are on their way out.
    fn exhausted(&self) -> Vec<Slot> {
        let mut exhausted = self.due(|row| row.attempts >= MAX_ATTEMPTS);
        exhausted.sort_unstable();
        exhausted
    }
}

/// The oldest first, as many as wanted. What is busy may be passed over, and may come too early: whoever leases it may have
/// seen it in the place that it had before.
fn may_leave_out(due: Vec<Slot>, limit: usize, leased: &[(Slot, Token)], busy: &[Slot]) -> Result<(), String> {
    let leased: Vec<Slot> = leased.iter().map(|(slot, _)| *slot).collect();
    if leased.len() > limit || leased.iter().any(|slot| !due.contains(slot)) {
        return Err(format!("leased {leased:?}, due was {due:?}"));
    }
    for (place, slot) in due.iter().enumerate() {
        let before = leased.iter().filter(|leased| due[..place].contains(leased) || busy.contains(leased)).count();
        if !leased.contains(slot) && !busy.contains(slot) && before < limit {
            return Err(format!("receipt {slot} was due, and left out"));
        }
    }
    Ok(())
}
