//! Written by guest/training/train.py; not by hand.

use super::curves::Curves;

pub(in crate::parser) const VENDOR: Curves = Curves { choice: [0.37, 0.75], reading: [-1.53, 1.31, 0.09] };
pub(in crate::parser) const TOTAL: Curves = Curves { choice: [0.02, 0.96], reading: [0.18, 0.44, 1.40] };
