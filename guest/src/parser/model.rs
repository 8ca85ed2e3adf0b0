//! The trained model (guest/training): for each field, how the features of a candidate weigh, and how often such a choice is
//! right. The parser reads with [`Model::built_in`]; `make score` also with models that have not seen a company.

use std::borrow::Cow;

use super::calibration;
use super::scorer::{Scorer, Split, Tree};
use super::{total, vendor};

/// A scorer for each field that candidates are weighed for.
#[derive(Clone, Debug)]
pub struct Model {
    /// Of totals.
    pub total: Scorer,
    /// Of vendors.
    pub vendor: Scorer,
}

impl Model {
    /// What the component ships with.
    pub fn built_in() -> Self {
        let tree = |(splits, leaves): &(&'static [Split], &'static [f32])| Tree {
            splits: Cow::Borrowed(splits),
            leaves: Cow::Borrowed(leaves),
        };
        Self {
            total: Scorer {
                weights: total::WEIGHTS.to_vec(),
                trees: total::TREES.iter().map(tree).collect(),
                calibration: calibration::TOTAL,
            },
            vendor: Scorer { weights: vendor::WEIGHTS.to_vec(), trees: Vec::new(), calibration: calibration::VENDOR },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_built_in_trees_ends_in_a_leaf() {
        for tree in Model::built_in().total.trees {
            for (feature, _, below, above) in tree.splits.iter() {
                assert!(usize::from(*feature) < total::WEIGHTS.len());
                for child in [*below, *above] {
                    let at = usize::try_from(child.max(-1 - child)).unwrap();
                    assert!(at < if child >= 0 { tree.splits.len() } else { tree.leaves.len() });
                }
            }
        }
    }
}
