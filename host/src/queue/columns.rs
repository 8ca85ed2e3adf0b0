//! A batch of outcomes as the statements that settle take it: an array a column.

use tokio_postgres::types::Type;

use super::outcome::{JobOutcome, SettleEntry};
use super::session::Parameter;

/// What every outcome has, by column.
#[derive(Default)]
pub(super) struct Leases<'a> {
    pub(super) jobs: Vec<i64>,
    pub(super) tokens: Vec<i64>,
    components: Vec<Option<&'a str>>,
}

impl<'a> Leases<'a> {
    pub(super) fn push(&mut self, entry: &'a SettleEntry) {
        self.jobs.push(entry.lease.job);
        self.tokens.push(entry.lease.token);
        self.components.push(entry.component.as_deref());
    }
}

/// The parameters of complete.sql.
#[derive(Default)]
pub(super) struct Completed<'a> {
    pub(super) leases: Leases<'a>,
    vendors: Vec<Option<&'a str>>,
    totals: Vec<Option<&'a str>>,
    currencies: Vec<Option<&'a str>>,
    days: Vec<Option<&'a str>>,
    confidences: Vec<f64>,
    artifact_keys: Vec<&'a str>,
}

impl<'a> Completed<'a> {
    pub(super) fn of(entries: &'a [SettleEntry]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            let JobOutcome::Complete(completion) = &entry.outcome else { continue };
            columns.leases.push(entry);
            columns.vendors.push(completion.vendor.as_deref());
            columns.totals.push(completion.total.as_deref());
            columns.currencies.push(completion.currency.as_deref());
            columns.days.push(completion.date.as_deref());
            columns.confidences.push(completion.confidence);
            columns.artifact_keys.push(&completion.artifact_key);
        }
        columns
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 9] {
        [
            (&self.leases.jobs, Type::INT8_ARRAY),
            (&self.leases.tokens, Type::INT8_ARRAY),
            (&self.vendors, Type::TEXT_ARRAY),
            (&self.totals, Type::TEXT_ARRAY),
            (&self.currencies, Type::TEXT_ARRAY),
            (&self.days, Type::TEXT_ARRAY),
            (&self.confidences, Type::FLOAT8_ARRAY),
            (&self.artifact_keys, Type::TEXT_ARRAY),
            (&self.leases.components, Type::TEXT_ARRAY),
        ]
    }
}

/// The parameters of retry.sql.
#[derive(Default)]
pub(super) struct PutBack<'a> {
    pub(super) leases: Leases<'a>,
    delays: Vec<i64>,
    charges: Vec<bool>,
    kinds: Vec<Option<&'static str>>,
    codes: Vec<Option<&'a str>>,
    messages: Vec<Option<&'a str>>,
}

impl<'a> PutBack<'a> {
    pub(super) fn of(entries: &'a [SettleEntry]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            let JobOutcome::Retry { delay, charge, failure } = &entry.outcome else { continue };
            columns.leases.push(entry);
            columns.delays.push(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 2));
            columns.charges.push(*charge);
            columns.kinds.push(failure.as_ref().map(|failure| failure.kind.as_str()));
            columns.codes.push(failure.as_ref().map(|failure| failure.code.as_str()));
            columns.messages.push(failure.as_ref().map(|failure| failure.message.as_str()));
        }
        columns
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 8] {
        [
            (&self.leases.jobs, Type::INT8_ARRAY),
            (&self.leases.tokens, Type::INT8_ARRAY),
            (&self.delays, Type::INT8_ARRAY),
            (&self.charges, Type::BOOL_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.codes, Type::TEXT_ARRAY),
            (&self.messages, Type::TEXT_ARRAY),
            (&self.leases.components, Type::TEXT_ARRAY),
        ]
    }
}

/// The parameters of dead_letter.sql.
#[derive(Default)]
pub(super) struct Dead<'a> {
    pub(super) leases: Leases<'a>,
    kinds: Vec<&'static str>,
    codes: Vec<&'a str>,
    messages: Vec<&'a str>,
    notes: Vec<&'static str>,
}

impl<'a> Dead<'a> {
    pub(super) fn of(entries: &'a [SettleEntry]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            let JobOutcome::DeadLetter { failure, notes } = &entry.outcome else { continue };
            columns.leases.push(entry);
            columns.kinds.push(failure.kind.as_str());
            columns.codes.push(failure.code.as_str());
            columns.messages.push(failure.message.as_str());
            columns.notes.push(notes);
        }
        columns
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 7] {
        [
            (&self.leases.jobs, Type::INT8_ARRAY),
            (&self.leases.tokens, Type::INT8_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.codes, Type::TEXT_ARRAY),
            (&self.messages, Type::TEXT_ARRAY),
            (&self.leases.components, Type::TEXT_ARRAY),
            (&self.notes, Type::TEXT_ARRAY),
        ]
    }
}
