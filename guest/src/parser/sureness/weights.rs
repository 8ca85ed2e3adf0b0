//! Written by guest/training/train.py; not by hand.

use super::Curves;

pub(super) const VENDOR: Curves = Curves { choice: [0.30, 0.74], reading: [-3.38, 1.68, 0.44] };
pub(super) const TOTAL: Curves = Curves { choice: [0.54, 0.92], reading: [-0.11, 0.53, 0.98] };
