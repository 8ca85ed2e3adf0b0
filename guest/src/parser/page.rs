//! A page, and what is found out about it once, when somebody asks.

use std::cell::OnceCell;

use super::page_kind::{self, PageKind};
use super::rows::Row;
use super::total::{self, Amounts};

/// The rows of one page.
pub(super) struct Page<'r> {
    pub(super) rows: &'r [Row<'r>],
    kind: OnceCell<PageKind>,
    amounts: OnceCell<Amounts>,
}

impl<'r> Page<'r> {
    pub(super) fn new(rows: &'r [Row<'r>]) -> Self {
        Self { rows, kind: OnceCell::new(), amounts: OnceCell::new() }
    }

    /// Whether it is a bill.
    pub(super) fn kind(&self) -> PageKind {
        *self.kind.get_or_init(|| page_kind::classify(self.rows))
    }

    /// Its amounts, and what they are called.
    pub(super) fn amounts(&self) -> &Amounts {
        self.amounts.get_or_init(|| total::amounts(self.rows))
    }
}
