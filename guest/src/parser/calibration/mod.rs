//! How often a reading like this one is right: the chance that the right candidate was chosen, times the chance that OCR read
//! it without a mistake. Two logistic curves each, fitted to readings of companies that the scorers had not seen
//! (guest/training).

mod curves;
mod weights;

pub use self::curves::Curves;
pub(super) use self::weights::{TOTAL, VENDOR};
