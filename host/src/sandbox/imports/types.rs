//! Between the host's failures and the contract's.

use crate::failure::{Failure, FailureKind, failure_kinds};
use crate::sandbox::bindings::snapceit::receipts::types::{self as wit, Host};
use crate::sandbox::state::RunState;

impl Host for RunState {}

macro_rules! both_ways {
    ($($kind:ident = $name:literal,)*) => {
        impl From<FailureKind> for wit::FailureKind {
            fn from(kind: FailureKind) -> Self {
                match kind { $(FailureKind::$kind => Self::$kind,)* }
            }
        }

        impl From<wit::FailureKind> for FailureKind {
            fn from(kind: wit::FailureKind) -> Self {
                match kind { $(wit::FailureKind::$kind => Self::$kind,)* }
            }
        }
    };
}

failure_kinds!(both_ways);

impl From<Failure> for wit::Failure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind.into(), code: failure.code, message: failure.message }
    }
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        Self::new(failure.kind.into(), failure.code, failure.message)
    }
}
