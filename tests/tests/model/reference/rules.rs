//! The reference, second half: what each operation does to a receipt, its queue row and its dead letter.

use super::{Dead, Fate, Issued, MAX_ATTEMPTS, Model, Op, Past, Place, Receipt, Row, Slot, Status, Token, Verdict};

impl Model {
    /// What an app or an operator does, or time.
    pub(super) fn operate(&mut self, op: &Op) {
        match *op {
            Op::Insert { slot, status, image, fields } => {
                let receipt = Receipt { status, image, fields, artifact: None, component: None };
                self.places[slot] = Some(Place { receipt, row: None, dead: None });
                if status == Status::Pending {
                    self.enqueue(slot);
                    // The first claim ever looks for no artifact.
                    self.row_mut(slot).claims = 0;
                }
            }
            Op::Edit { slot, fields } => self.update(slot, |receipt| receipt.fields = fields),
            Op::ReplaceImage { slot, image } => self.update(slot, |receipt| receipt.image = image),
            Op::SetStatus { slot, status } => self.update(slot, |receipt| receipt.status = status),
            Op::Delete { slot } => self.places[slot] = None,
            Op::Expire { slot } => self.make_due(slot),
            Op::ManualRetry { slot } => {
                if self.places[slot].as_ref().is_some_and(|place| place.dead.is_some()) {
                    self.places[slot].as_mut().unwrap().receipt.status = Status::Failed;
                    self.update(slot, |receipt| receipt.status = Status::Pending);
                }
            }
            Op::Discard { slot } => {
                if let Some(place) = &mut self.places[slot] {
                    place.dead = None;
                }
            }
            Op::TakeBack { token } => self.take_back(token),
            _ => unreachable!("{op:?} is told something"),
        }
    }

    /// Somebody changes a receipt. Who makes it pending, or replaces the image of one that waits, is done or failed, wants
    /// it read; who makes it done has finished it. The digest stays only with what its component read.
    fn update(&mut self, slot: Slot, change: impl FnOnce(&mut Receipt)) {
        let Some(place) = &mut self.places[slot] else { return };
        let old = place.receipt.clone();
        let receipt = &mut place.receipt;
        change(receipt);
        let replaced = receipt.image != old.image;
        if replaced && receipt.status == old.status && matches!(old.status, Status::Done | Status::Failed) {
            receipt.status = Status::Pending;
        }
        let edited = receipt.fields != old.fields && receipt.component == old.component;
        if edited || matches!(receipt.status, Status::Pending | Status::Failed) {
            receipt.component = None;
        }
        let status = receipt.status;
        if status == Status::Done {
            place.dead = None;
        }
        if status == Status::Pending && (old.status != Status::Pending || replaced) {
            self.enqueue(slot);
        }
    }

    /// As new: fresh attempts, no lease (whoever holds one has lost it), out of the dead letters, but with the memory of
    /// having been there.
    fn enqueue(&mut self, slot: Slot) {
        let place = self.places[slot].as_mut().unwrap();
        let dead = place.dead.take();
        let old = place.row.take();
        if old.is_none() {
            self.rows[slot] += 1;
        }
        // What the app gave stays its own until it changes; of a receipt that was read, what stands there is read anew.
        let fields = place.receipt.fields;
        let known = dead.as_ref().map(|dead| (dead.before, dead.given));
        let known = known.or(old.as_ref().map(|row| (row.before, row.given)));
        let still_given = known.is_some_and(|(before, given)| given && before == fields);
        place.row = Some(Row {
            image: place.receipt.image,
            before: fields,
            given: fields.is_some() && (still_given || place.receipt.artifact.is_none()),
            attempts: 0,
            // Under a row that is gone there may have been claims: an artifact is looked for.
            claims: old.as_ref().map(|row| row.claims).or(dead.as_ref().map(|dead| dead.claims)).unwrap_or(1),
            processed: false,
            due: false,
            lease: None,
            holder: None,
            settled: old.as_ref().and_then(|row| row.settled),
            error: None,
            component: old.as_ref().and_then(|row| row.component),
            deaths: old.as_ref().map(|row| row.deaths).or(dead.as_ref().map(|dead| dead.deaths)).unwrap_or(0),
            history: dead.map(|dead| dead.history).unwrap_or_default(),
        });
        self.make_due(slot);
    }

    fn make_due(&mut self, slot: Slot) {
        let clock = self.clock;
        if let Some(row) = self.places[slot].as_mut().and_then(|place| place.row.as_mut()).filter(|row| !row.processed)
        {
            row.due = true;
            self.since[slot] = clock;
        }
    }

    pub(super) fn put_off(&mut self, slot: Slot) {
        self.row_mut(slot).due = false;
    }

    pub(super) fn claim(&mut self, slot: Slot, token: Token, worker: u8) -> Result<(), String> {
        self.issue(slot, token)?;
        let row = self.row_mut(slot);
        row.attempts += 1;
        row.claims += 1;
        row.lease = Some(token);
        row.holder = Some(worker);
        row.due = false;
        Ok(())
    }

    /// A job whose last attempt crashed is settled under the token that it has; one that has none gets one.
    pub(super) fn lease_spent(&mut self, slot: Slot, token: Token) -> Result<(), String> {
        assert!(self.row_mut(slot).attempts >= MAX_ATTEMPTS);
        match self.row_mut(slot).lease {
            Some(held) if held == token => Ok(()),
            Some(held) => Err(format!("receipt {slot} is leased under {held}, and was given {token}")),
            None => {
                self.issue(slot, token)?;
                self.row_mut(slot).lease = Some(token);
                Ok(())
            }
        }
    }

    /// A token only ever grows.
    fn issue(&mut self, slot: Slot, token: Token) -> Result<(), String> {
        let last = self.issued.iter().rfind(|(_, issued)| issued.slot == slot).map_or(0, |(last, _)| *last);
        if token <= last || self.issued.contains_key(&token) {
            return Err(format!("receipt {slot}: token {token} after {last}"));
        }
        self.issued.insert(token, Issued { slot, row: self.rows[slot] });
        Ok(())
    }

    /// Whoever holds the lease may do it; whoever lost it changes nothing.
    pub(super) fn settle<'a>(
        &mut self,
        settles: impl Iterator<Item = (Token, &'a Verdict)>,
        busy: &[Slot],
        does: impl Fn(&mut Self, Slot),
    ) -> Result<(), String> {
        for (token, verdict) in settles {
            let slot = self.slot(token);
            match (verdict, self.holds(token), slot) {
                (Verdict::Committed, true, Some(slot)) => does(self, slot),
                (Verdict::Lost, false, _) => {}
                (Verdict::Blocked, _, Some(slot)) if busy.contains(&slot) => {}
                (verdict, holds, _) => {
                    return Err(format!("token {token}: told {verdict:?}, holds the lease: {holds}"));
                }
            }
        }
        Ok(())
    }

    /// What a person wrote meanwhile stays, as a whole, and what the app gave does; a status that the app has moved on stays
    /// as well.
    pub(super) fn complete(&mut self, slot: Slot, token: Token, reading: u8) {
        let row = self.row_mut(slot);
        row.processed = true;
        row.due = false;
        row.lease = None;
        row.holder = None;
        row.settled = Some(token);
        row.error = None;
        row.component = Some(reading);
        let (before, given) = (row.before, row.given);
        let status = self.places[slot].as_ref().unwrap().receipt.status;
        if !matches!(status, Status::Pending | Status::Failed) {
            return;
        }
        self.update(slot, |receipt| {
            receipt.status = Status::Done;
            receipt.artifact = Some(reading);
            if receipt.fields == before && !given {
                receipt.fields = Some(reading);
                receipt.component = Some(reading);
            }
        });
    }

    pub(super) fn retry(&mut self, slot: Slot, token: Token, wait: bool, charge: bool, error: Option<u8>) {
        let row = self.row_mut(slot);
        if let Some(error) = error {
            let outcome = if charge { Fate::Charged } else { Fate::Uncharged };
            row.history.push(Past { attempt: row.attempts, outcome, error, token });
            row.error = Some(error);
            row.component = Some(error);
        }
        if !charge {
            row.attempts = row.attempts.saturating_sub(1);
        }
        row.lease = None;
        row.holder = None;
        row.settled = Some(token);
        row.due = false;
        if !wait {
            self.make_due(slot);
        }
    }

    /// What a person finished meanwhile is done, and nothing is left to be told.
    pub(super) fn bury(&mut self, slot: Slot, token: Token, error: u8) {
        let place = self.places[slot].as_mut().unwrap();
        let mut row = place.row.take().unwrap();
        if place.receipt.status == Status::Done {
            return;
        }
        row.history.push(Past { attempt: row.attempts, outcome: Fate::Dead, error, token });
        place.dead = Some(Dead {
            image: row.image,
            before: row.before,
            given: row.given,
            error,
            attempts: row.attempts,
            claims: row.claims,
            settled: token,
            deaths: row.deaths + 1,
            history: row.history,
        });
        if place.receipt.status == Status::Pending {
            self.update(slot, |receipt| receipt.status = Status::Failed);
        }
    }

    /// What was charged under this lease is given back, whoever has the job now; what waits for it is due; what it buried
    /// is alive again, unless the app gave the receipt another status since. Twice is as once.
    fn take_back(&mut self, token: Token) {
        let Some(&issued) = self.issued.get(&token) else { return };
        let Some(place) = &mut self.places[issued.slot] else { return };
        if place.dead.as_ref().is_some_and(|dead| dead.settled == token) && place.receipt.status == Status::Failed {
            return self.update(issued.slot, |receipt| receipt.status = Status::Pending);
        }
        let Some(row) = place.row.as_mut().filter(|_| self.rows[issued.slot] == issued.row) else { return };
        let waits = row.settled == Some(token) && row.lease.is_none() && !row.processed;
        let charged = row.history.iter().any(|past| past.token == token && past.outcome == Fate::Charged);
        if !waits && !charged {
            return;
        }
        for past in row.history.iter_mut().filter(|past| past.token == token) {
            if past.outcome == Fate::Charged {
                row.attempts = row.attempts.saturating_sub(1);
            }
            if past.outcome != Fate::Dead {
                past.outcome = Fate::TakenBack;
            }
        }
        if waits {
            self.make_due(issued.slot);
        }
    }
}
