//! A trained scorer of candidates: a linear model, and decision trees over the same features.

use std::borrow::Cow;

use super::calibration::Curves;

/// What was learnt for one field.
#[derive(Clone, Debug)]
pub struct Scorer {
    /// One weight for each number of a candidate.
    pub weights: Vec<f32>,
    /// Small trees over the same numbers; what they say is added.
    pub trees: Vec<Tree>,
    /// How sure its choices are.
    pub calibration: Curves,
}

/// A decision tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The first one is the root.
    pub splits: Cow<'static, [Split]>,
    /// What is scored.
    pub leaves: Cow<'static, [f32]>,
}

/// Which number of a candidate, the threshold, and where it goes on up to it and above it: `n` is a split, `-1 - n` a leaf.
pub type Split = (u8, f32, i8, i8);

impl Scorer {
    /// What speaks for a candidate.
    pub(super) fn score(&self, features: &[f32]) -> f32 {
        let weighed: f32 = features.iter().zip(&self.weights).map(|(feature, weight)| feature * weight).sum();
        weighed + self.trees.iter().map(|tree| tree.value(features)).sum::<f32>()
    }
}

impl Tree {
    /// What it says of a candidate; nothing where it is none.
    fn value(&self, features: &[f32]) -> f32 {
        let mut at = 0;
        // No path is longer than there are splits, whatever a file says.
        for _ in self.splits.iter() {
            let Some(&(feature, threshold, below, above)) = usize::try_from(at).ok().and_then(|at| self.splits.get(at))
            else {
                break;
            };
            let is_above = features.get(usize::from(feature)).is_some_and(|feature| *feature > threshold);
            at = if is_above { above } else { below };
        }
        usize::try_from(-1 - i16::from(at)).ok().and_then(|leaf| self.leaves.get(leaf)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_followed_to_its_leaf() {
        let tree = Tree { splits: vec![(0, 0.5, -1, 1), (1, 2.0, -2, -3)].into(), leaves: vec![1.0, 2.0, 3.0].into() };
        for (features, value) in [([0.5, 9.0], 1.0), ([0.6, 2.0], 2.0), ([0.6, 2.5], 3.0)] {
            assert_eq!(tree.value(&features), value);
        }
    }

    #[test]
    fn a_tree_that_is_none_says_nothing() {
        for splits in [vec![], vec![(0, 0.5, 0, 0)], vec![(9, 0.5, 7, 7)], vec![(0, 0.5, -9, -9)]] {
            assert_eq!(Tree { splits: splits.into(), leaves: vec![1.0].into() }.value(&[1.0]), 0.0);
        }
    }
}
