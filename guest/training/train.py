#!/usr/bin/env python3
"""Learns guest/src/parser/{total,vendor,calibration}/weights.rs and total/trees.rs, and those of the folds in tests/score/folds.json.

usage: train.py FEATURES.jsonl LABELS.jsonl [FEATURES.jsonl LABELS.jsonl ...] [--made FEATURES.jsonl LABELS.jsonl] [--curves] [--write]

--made: receipts of make-receipts.py, to which the curves are fitted as well; nothing else is learnt from them. --curves: keeps weights and
trees as they are, and fits the curves alone.

FEATURES is what `cargo run --release --package worker --example features -- FILES` prints. Vendor and total: a softmax over the names
(or amounts) of each receipt, pulled towards the rules alone; full-batch gradient descent from a fixed start, so that the same data
give the same weights. Totals are also scored by small decision trees (gradient boosting of the same softmax), which see what only counts
together; for vendors they cost more than they bring. Calibration: curves that say how often such a choice is right. Prints how often the right one wins,
cross-validated over companies: no receipt is judged by weights that have seen another one of its company. `make score` judges the
whole parser so, with the weights of the folds. Needs numpy.
"""
import hashlib, json, os, re, sys
from collections import Counter
import numpy as np

RULES, FOLDS, STEPS, RATE = 3.0, 5, 1500, 0.05
# How strongly weights are pulled towards the rules alone: chosen by cross-validation, of 0.0002 to 0.1.
PULL = {"total": 0.004, "vendor": 0.03}
SHRINK = 0.0005
# Chosen by cross-validation, too: trees and their leaves, how far each goes, what a leaf must rest on, and what the weights count for
# beside the trees.
TREES = {"total": 110, "vendor": 0}
LEAVES, PACE, RIDGE, LEAST_ROWS, LEAST_SLOPE = 6, 0.05, 3.0, 20, 0.5
BESIDE_TREES = {"total": 0.3, "vendor": 1.0}
# Offsets are free; a surer choice and a surer OCR never make a reading less sure.
MORE_IS_MORE = np.array([-np.inf, 0.05, -np.inf, 0.05, 0.05])

def plain(text):
    return re.sub(r"[^a-z0-9]", "", (text or "").lower())

def cents(value):
    return round(float(re.sub(r"[^0-9.\-]", "", str(value).replace(",", ""))) * 100)

def is_right(kind, value, label):
    if kind == "vendor":
        return plain(value) in label.get("vendor_accept", []) + [plain(label["vendor"])]
    return cents(value) == cents(label["total"])

class Row:
    """The candidates of one receipt."""
    def __init__(self, kind, found, label):
        key = {"total": "amounts", "vendor": "names"}[kind]
        self.company = plain(label["vendor"])
        self.fold = int(hashlib.sha256(self.company.encode()).hexdigest(), 16) % FOLDS
        self.features = np.array([features for _, features, _ in found[key]])
        self.ocr = [ocr for _, _, ocr in found[key]]
        self.quality = found["quality"]
        self.is_right = [is_right(kind, value, label) for value, _, _ in found[key]]
        self.right = self.is_right.index(True) if any(self.is_right) else None

def load(kind, features, labels):
    key = {"total": "amounts", "vendor": "names"}[kind]
    labels = {row["name"]: row for row in map(json.loads, filter(str.strip, open(labels, encoding="utf-8")))}
    for found in map(json.loads, open(features, encoding="utf-8")):
        label = labels.get(os.path.basename(found["file"]).split(".")[0])
        if label and found[key]:
            yield Row(kind, found, label)

class Shipped:
    """Weights and trees that were learnt before, as tests/score/folds.json has them."""
    def __init__(self, learnt):
        self.weights, self.trees = np.array(learnt["weights"]), []
        for found in learnt["trees"]:
            tree = Tree(); tree.splits, tree.leaves = found["splits"], found["leaves"]
            self.trees.append(tree)

    def scores(self, x):
        return x @ self.weights + sum((tree.values(x) for tree in self.trees), np.zeros(len(x)))

class Choices:
    """The candidates of all receipts that have a right one."""
    def __init__(self, rows):
        rows = [row for row in rows if row.right is not None]
        sizes = [len(row.features) for row in rows]
        self.x = np.concatenate([row.features for row in rows])
        self.owner = np.repeat(np.arange(len(rows)), sizes)
        self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.right = np.zeros(len(self.x))
        self.right[self.starts + np.array([row.right for row in rows])] = 1
        # A company with forty receipts says less than forty companies.
        often = Counter(row.company for row in rows)
        self.worth = np.array([often[row.company] ** -0.5 for row in rows])[self.owner]

    def shares(self, scores):
        s = np.exp(scores - np.maximum.reduceat(scores, self.starts)[self.owner])
        return s / np.add.reduceat(s, self.starts)[self.owner]

class Model:
    """Weights and trees, as the parser adds them up."""
    def __init__(self, kind, rows):
        choices = Choices(rows)
        self.weights = learn(choices, PULL[kind]) * BESIDE_TREES[kind]
        self.trees = grow(choices, TREES[kind])

    def scores(self, x):
        return x @ self.weights + sum((tree.values(x) for tree in self.trees), np.zeros(len(x)))

def learn(choices, pull):
    prior = rules_alone(choices.x)
    worth = choices.worth / choices.worth[choices.starts].sum()
    def slope(w):
        return choices.x.T @ ((choices.shares(choices.x @ w) - choices.right) * worth) + pull * (w - prior)
    return descend(prior, slope, STEPS, RATE)

class Tree:
    """Splits (feature, threshold, child below, child above) and leaves; child n >= 0 is a split, -1 - n a leaf."""
    def __init__(self):
        self.splits, self.leaves = [], []

    def values(self, x):
        return np.array(self.leaves)[[self.leaf(row) for row in x]] if self.splits else np.zeros(len(x))

    def leaf(self, row):
        at = 0
        while at >= 0:
            feature, threshold, below, above = self.splits[at]
            at = above if np.float32(row[feature]) > np.float32(threshold) else below
        return -1 - at

def grow(choices, count):
    """Trees, each of which goes a step towards the right choices from where those before it ended; best leaf first."""
    splits = [(f, t) for f in range(choices.x.shape[1]) for t in thresholds(choices.x[:, f])]
    above = np.stack([choices.x[:, f].astype(np.float32) > np.float32(t) for f, t in splits], 1)
    numbers = above.astype(np.float64)
    scores, trees = np.zeros(len(above)), []
    for _ in range(count):
        share = choices.shares(scores)
        g, h = (share - choices.right) * choices.worth, np.maximum(share * (1 - share), 1e-3) * choices.worth
        def best(rows):
            b = numbers[rows]
            n, G, H = b.sum(0), g[rows] @ b, h[rows] @ b
            m, I, J = len(rows) - n, g[rows].sum() - G, h[rows].sum() - H
            gain = G**2 / (H + RIDGE) + I**2 / (J + RIDGE) - (G + I) ** 2 / (H + J + RIDGE)
            gain[(np.minimum(n, m) < LEAST_ROWS) | (np.minimum(H, J) < LEAST_SLOPE)] = 0
            # Rounded, so that the order of sums does not decide between two that split alike.
            gain = np.round(gain, 9)
            return float(gain.max()), int(gain.argmax())
        tree = Tree()
        # Each open leaf: what its best split gains, which, its rows, and where it hangs.
        open_leaves = [(*best(np.arange(len(above))), np.arange(len(above)), None)]
        while len(open_leaves) < LEAVES:
            at = max(range(len(open_leaves)), key=lambda k: open_leaves[k][0])
            gain, split, rows, hangs = open_leaves[at]
            if gain <= 0:
                break
            number = len(tree.splits)
            tree.splits.append([*splits[split], None, None])
            if hangs:
                tree.splits[hangs[0]][hangs[1]] = number
            parts = [(rows[~above[rows, split]], 2), (rows[above[rows, split]], 3)]
            open_leaves[at:at + 1] = [(*best(part), part, (number, side)) for part, side in parts]
        for _, _, rows, hangs in open_leaves:
            value = round(float(-PACE * g[rows].sum() / (h[rows].sum() + RIDGE)), 4)
            scores[rows] += value
            if hangs:
                tree.splits[hangs[0]][hangs[1]] = -1 - len(tree.leaves)
                tree.leaves.append(value)
        trees.append(tree)
    return trees

def thresholds(values, most=12):
    """Between the values that there are; of many, between equal parts."""
    values = np.unique(values)
    if len(values) > most:
        values = np.unique(np.quantile(values, np.linspace(0, 1, most + 2)))
    return sorted({round(float(t), 4) for t in (values[:-1] + values[1:]) / 2})

def rules_alone(x):
    prior = np.zeros(x.shape[1]); prior[0] = RULES
    return prior

def descend(start, slope, steps, rate, least=-np.inf):
    """Adam, from a fixed start; no weight falls below `least`."""
    w, m, v = start.copy(), np.zeros(len(start)), np.zeros(len(start))
    for step in range(1, steps + 1):
        g = slope(w)
        m = 0.9 * m + 0.1 * g; v = 0.999 * v + 0.001 * g * g
        w = np.maximum(w - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8), least)
    return w

def wins(rows, scores):
    return sum(row.right is not None and row.is_right[int(np.argmax(scores(row.features)))] for row in rows)

def unseen(everything, kind):
    """For each fold: what is learnt without its companies."""
    return [Model(kind, [row for row in everything if row.fold != fold]) for fold in range(FOLDS)]

def models(kind, sets, names):
    """What is learnt from everything, and for each fold."""
    everything = [row for rows in sets for row in rows]
    folds = unseen(everything, kind)
    model = Model(kind, everything)
    for name, rows in zip(names, sets):
        reachable = sum(row.right is not None for row in rows)
        alone = wins(rows, lambda x: x @ rules_alone(x))
        right = sum(wins([row for row in rows if row.fold == fold], folds[fold].scores) for fold in range(FOLDS))
        print(f"{kind}, {name}: {len(rows)} receipts, {reachable} with the right one among them; "
              f"rules alone {alone}, seen companies {wins(rows, model.scores)}, unseen {right}")
    return model, folds

def log_odds(share, best):
    share = np.clip(share, 0.02, best)
    return np.log(share / (1 - share))

def logistic(x):
    return 1 / (1 + np.exp(-x))

def curves(kind, sets, folds):
    """Curves fitted to everything, and those of each fold: how often a choice was right, each made by weights that had not seen its
    company. Where people wrote what the page does not say, nothing is right: in the first set, people's transcription, these are errors of the
    labels, and left out."""
    sets = [[row for row in rows if at or row.right is not None] for at, rows in enumerate(sets)]
    everything = [row for rows in sets for row in rows]
    chosen = []
    for row in everything:
        s = folds[row.fold].scores(row.features)
        best = int(np.argmax(s))
        chosen.append((1 / np.exp(s - s[best]).sum(), row.ocr[best] / 100, row.quality / 100, row.is_right[best]))
    share, ocr, quality, right = map(np.array, zip(*chosen))
    one = np.ones(len(right))
    a = np.stack([one, log_odds(share, 0.995)], 1)
    b = np.stack([one, log_odds(ocr, 0.99), log_odds(quality, 0.99)], 1)
    fold = np.array([row.fold for row in everything])
    def fit(of):
        def slope(w):
            p, q = logistic(a[of] @ w[:2]), logistic(b[of] @ w[2:])
            sure = np.clip(p * q, 1e-6, 1 - 1e-6)
            d = (sure - right[of]) / (sure * (1 - sure)) / of.sum()
            return np.r_[a[of].T @ (d * q * p * (1 - p)), b[of].T @ (d * p * q * (1 - q))] + SHRINK * w * [0, 1, 0, 1, 1]
        return descend(np.array([1.5, 0.5, 0, 0.5, 0.05]), slope, 3000, 0.02, MORE_IS_MORE)
    unseen = [fit(fold != k) for k in range(FOLDS)]
    sure = np.array([(logistic(a[i] @ unseen[k][:2]) * logistic(b[i] @ unseen[k][2:])) for i, k in enumerate(fold)])
    at = 0
    for rows in sets:
        s, r = sure[at:at + len(rows)], right[at:at + len(rows)]
        bins = np.minimum((s * 10).astype(int), 9)
        error = sum(abs((s[bins == k] - r[bins == k]).sum()) for k in range(10)) / len(s)
        print(f"{kind}: {len(rows)} choices, right {r.mean():.3f}, sure {s.mean():.3f}, calibration error {error:.3f}")
        at += len(rows)
    return fit(fold >= 0), unseen

HEAD = "//! Written by guest/training/train.py; not by hand.\n\n"

def write(folder, learnt):
    """What the component ships with, and in tests/score that of the folds."""
    parser = os.path.join(folder, "guest/src/parser")
    lines = "use super::curves::Curves;\n\n"
    for kind, ((model, _), (c, _)) in learnt.items():
        if model is None:
            c = [f"{x:.2f}" for x in c]
            lines += curve(kind, c)
            continue
        numbers = ",\n    ".join(f"{x:.3f}" for x in model.weights)
        text = f"use super::features::COUNT;\n\npub(in crate::parser) const WEIGHTS: [f32; COUNT] = [\n    {numbers},\n];\n"
        put(os.path.join(parser, kind, "weights.rs"), HEAD + text)
        if model.trees:
            put(os.path.join(parser, kind, "trees.rs"), HEAD + trees(model))
        c = [f"{x:.2f}" for x in c]
        lines += curve(kind, c)
    put(os.path.join(parser, "calibration/weights.rs"), HEAD + lines)
    def fold(k):
        return {kind: {"weights": [round(x, 3) for x in models[k].weights],
                       "trees": [{"splits": tree.splits, "leaves": tree.leaves} for tree in models[k].trees],
                       "choice": [round(x, 2) for x in c[k][:2]], "reading": [round(x, 2) for x in c[k][2:]]}
                for kind, ((_, models), (_, c)) in learnt.items()}
    put(os.path.join(folder, "tests/score/folds.json"), "[\n" + ",\n".join(json.dumps(fold(k)) for k in range(FOLDS)) + "\n]\n")

def curve(kind, c):
    return f"pub(in crate::parser) const {kind.upper()}: Curves = Curves {{ choice: [{', '.join(c[:2])}], reading: [{', '.join(c[2:])}] }};\n"

def trees(model):
    def tree(tree):
        splits = ", ".join(f"({f}, {t}, {below}, {above})" for f, t, below, above in tree.splits)
        leaves = ", ".join(map(str, tree.leaves))
        return f"    (&[{splits}], &[{leaves}]),\n"
    text = "use super::super::scorer::Split;\n\n#[rustfmt::skip]\npub(in crate::parser) const TREES: &[(&[Split], &[f32])] = &[\n"
    return text + "".join(map(tree, model.trees)) + "];\n"

def put(path, text):
    with open(path, "w") as out:
        out.write(text)

def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    args = [arg for arg in sys.argv[1:] if arg not in ("--write", "--curves")]
    at = args.index("--made") if "--made" in args else len(args)
    args, made = args[:at], args[at + 1:]
    only_curves = "--curves" in sys.argv
    before = json.load(open(os.path.join(folder, "tests/score/folds.json"))) if only_curves else None
    learnt = {}
    for kind in ("vendor", "total"):
        sets = [list(load(kind, args[i], args[i + 1])) for i in range(0, len(args), 2)]
        model, folds = (None, [Shipped(fold[kind]) for fold in before]) if only_curves else models(kind, sets, args[::2])
        more = [list(load(kind, made[i], made[i + 1])) for i in range(0, len(made), 2)]
        learnt[kind] = ((model, folds), curves(kind, sets + more, folds))
    if "--write" in sys.argv:
        write(folder, learnt)

if __name__ == "__main__":
    main()
