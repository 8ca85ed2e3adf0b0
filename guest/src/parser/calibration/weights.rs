//! Written by guest/training/train.py; not by hand.

use super::curves::Curves;

pub(in crate::parser) const VENDOR: Curves = Curves { choice: [0.64, 1.32], reading: [-1.80, 1.22, 0.36] };
pub(in crate::parser) const TOTAL: Curves = Curves { choice: [-0.04, 1.19], reading: [0.22, 0.42, 1.22] };
