//! What was learnt from labelled receipts (guest/training): how the numbers that speak for a candidate weigh, and how often such
//! a choice is right. The parser reads with [`Trained::shipped`]; `make score` also with weights that have not seen a company.

use super::sureness::{self, Curves};
use super::{total, vendor};

/// All that was learnt.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Of totals.
    pub total: Scorer,
    /// Of vendors.
    pub vendor: Scorer,
}

/// What was learnt for one field.
#[derive(Clone, Debug)]
pub struct Scorer {
    /// One weight for each number of a candidate.
    pub weights: Vec<f32>,
    /// How sure its choices are.
    pub sureness: Curves,
}

impl Trained {
    /// What the component ships with.
    pub fn shipped() -> Self {
        Self {
            total: Scorer { weights: total::WEIGHTS.to_vec(), sureness: sureness::TOTAL },
            vendor: Scorer { weights: vendor::WEIGHTS.to_vec(), sureness: sureness::VENDOR },
        }
    }
}

impl Scorer {
    /// What speaks for a candidate.
    pub(super) fn score(&self, features: &[f32]) -> f32 {
        features.iter().zip(&self.weights).map(|(feature, weight)| feature * weight).sum()
    }
}
