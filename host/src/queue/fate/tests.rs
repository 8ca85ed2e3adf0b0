use super::*;

const SAID: Said = Said { verdict: None, doubtful: false, is_give_back: false, locked_for_long: false };

#[test]
fn a_clear_verdict_is_the_fate_whatever_else_is_known() {
    for doubtful in [false, true] {
        for is_give_back in [false, true] {
            for answer in [None, Some(false), Some(true)] {
                let of = |verdict| fate(&Said { verdict: Some(verdict), doubtful, is_give_back, ..SAID }, answer);
                assert_eq!(of(SettleVerdict::Committed), Fate::Committed);
                assert_eq!(of(SettleVerdict::Hidden), Fate::Hidden);
            }
        }
    }
}

#[test]
fn a_lost_lease_is_looked_up_only_where_an_answer_was_lost() {
    let lost = Said { verdict: Some(SettleVerdict::LeaseLost), ..SAID };
    assert_eq!(fate(&lost, None), Fate::LeaseLost);
    let doubtful = Said { doubtful: true, ..lost };
    assert_eq!(fate(&doubtful, None), Fate::Unclear(Query::SettledBefore));
    assert_eq!(fate(&doubtful, Some(true)), Fate::Committed);
    assert_eq!(fate(&doubtful, Some(false)), Fate::LeaseLost);
}

#[test]
fn a_give_back_whose_lease_is_lost_was_given_back() {
    let doubtful = Said { verdict: Some(SettleVerdict::LeaseLost), doubtful: true, is_give_back: true, ..SAID };
    assert_eq!(fate(&doubtful, None), Fate::Unclear(Query::SettledBefore));
    assert_eq!(fate(&doubtful, Some(false)), Fate::Committed);
    assert_eq!(fate(&Said { doubtful: false, ..doubtful }, None), Fate::LeaseLost, "nothing of it was sent before");
}

#[test]
fn what_is_locked_for_long_is_asked_about_and_waits_where_it_is_a_lock() {
    let blocked = Said { verdict: Some(SettleVerdict::Blocked), ..SAID };
    assert_eq!(fate(&blocked, None), Fate::Waits);
    let long = Said { locked_for_long: true, ..blocked };
    assert_eq!(fate(&long, None), Fate::Unclear(Query::ReadOnly));
    assert_eq!(fate(&long, Some(false)), Fate::Waits);
    assert_eq!(fate(&long, Some(true)), Fate::Hidden);
}

#[test]
fn an_outcome_that_was_not_in_the_batch_is_written_next() {
    assert_eq!(fate(&SAID, None), Fate::Waits);
}

const BATCH: FailedBatch =
    FailedBatch { error: WriteError::Refused, is_alone: false, needs_receipts: true, is_stuck: false };

#[test]
fn what_fails_together_is_tried_in_parts_and_what_fails_alone_is_refused() {
    assert_eq!(next(BATCH), Next::InHalves);
    assert_eq!(next(FailedBatch { is_alone: true, ..BATCH }), Next::Refuse);
}

#[test]
fn what_passes_holds_up_nobody_else() {
    let passing = FailedBatch { error: WriteError::Passing, ..BATCH };
    for is_alone in [true, false] {
        assert_eq!(next(FailedBatch { is_alone, ..passing }), Next::EachAlone);
        // Of a queue row alone: nobody's trigger is asked, so that it is the database.
        assert_eq!(next(FailedBatch { is_alone, needs_receipts: false, ..passing }), Next::AsItIs);
    }
}

#[test]
fn a_conflict_is_split_then_tried_again_and_put_aside_when_it_does_not_end() {
    let conflict = FailedBatch { error: WriteError::Conflict, ..BATCH };
    assert_eq!(next(conflict), Next::InHalves);
    assert_eq!(next(FailedBatch { is_alone: true, ..conflict }), Next::Soon);
    assert_eq!(next(FailedBatch { is_alone: true, is_stuck: true, ..conflict }), Next::EachAlone);
}

#[test]
fn a_lost_connection_is_nobodys_fault() {
    for is_alone in [true, false] {
        for needs_receipts in [true, false] {
            let lost = FailedBatch { error: WriteError::Lost, is_alone, needs_receipts, is_stuck: is_alone };
            assert_eq!(next(lost), Next::AsItIs);
        }
    }
}

const ALONE: FailedAlone =
    FailedAlone { error: WriteError::Passing, needs_receipt: true, is_stuck: false, is_its_own: true };

#[test]
fn what_fails_alone_while_others_do_not_is_put_off() {
    assert_eq!(next_alone(ALONE), NextAlone::PutOff);
    assert_eq!(next_alone(FailedAlone { is_its_own: false, ..ALONE }), NextAlone::Later);
    assert_eq!(next_alone(FailedAlone { needs_receipt: false, ..ALONE }), NextAlone::Later);
}

#[test]
fn alone_too_a_conflict_is_tried_again_until_it_does_not_end() {
    let conflict = FailedAlone { error: WriteError::Conflict, ..ALONE };
    assert_eq!(next_alone(conflict), NextAlone::Soon);
    assert_eq!(next_alone(FailedAlone { is_stuck: true, ..conflict }), NextAlone::PutOff);
    assert_eq!(next_alone(FailedAlone { is_stuck: true, is_its_own: false, ..conflict }), NextAlone::Later);
}

#[test]
fn alone_too_a_lost_connection_costs_nothing_and_a_refusal_is_one() {
    for is_stuck in [true, false] {
        for is_its_own in [true, false] {
            let of = |error| next_alone(FailedAlone { error, is_stuck, is_its_own, ..ALONE });
            assert_eq!(of(WriteError::Lost), NextAlone::Reconnect);
            assert_eq!(of(WriteError::Refused), NextAlone::Refuse);
        }
    }
}
