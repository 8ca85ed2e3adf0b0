#!/usr/bin/env python3
"""Learns the weights of guest/src/parser/{total,vendor,sureness}/weights.rs, and those of the folds in tests/score/folds.json.

usage: train.py EVIDENCE.jsonl LABELS.jsonl [EVIDENCE.jsonl LABELS.jsonl ...] [--write]

EVIDENCE is what `cargo run --release --package worker --example evidence -- FILES` prints. Vendor and total: a softmax over the names
(or amounts) of each receipt, pulled towards the rules alone; full-batch gradient descent from a fixed start, so that the same data
give the same weights. Sureness: curves that say how often such a choice is right. Prints how often the right one wins,
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
# Offsets are free; a surer choice and a surer OCR never make a reading less sure.
MORE_IS_MORE = np.array([-np.inf, 0.05, -np.inf, 0.05, 0.05])

def plain(text):
    return re.sub(r"[^a-z0-9]", "", (text or "").lower())

def cents(value):
    return round(float(re.sub(r"[^0-9.\-]", "", str(value).replace(",", ""))) * 100)

def is_right(kind, value, label):
    if kind == "vendor":
        return plain(value) == plain(label["vendor"])
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

def load(kind, evidence, labels):
    key = {"total": "amounts", "vendor": "names"}[kind]
    labels = {row["name"]: row for row in map(json.loads, filter(str.strip, open(labels, encoding="utf-8")))}
    for found in map(json.loads, open(evidence, encoding="utf-8")):
        label = labels.get(os.path.basename(found["file"]).split(".")[0])
        if label and found[key]:
            yield Row(kind, found, label)

def learn(rows, pull):
    rows = [row for row in rows if row.right is not None]
    # A company with forty receipts says less than forty companies.
    often = Counter(row.company for row in rows)
    worth = np.array([often[row.company] ** -0.5 for row in rows])
    x = np.concatenate([row.features for row in rows])
    sizes = [len(row.features) for row in rows]
    owner = np.repeat(np.arange(len(rows)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    right = np.zeros(len(x)); right[starts + np.array([row.right for row in rows])] = 1
    prior = rules_alone(x)
    def slope(w):
        s = x @ w
        s = np.exp(s - np.maximum.reduceat(s, starts)[owner])
        p = s / np.add.reduceat(s, starts)[owner]
        return x.T @ ((p - right) * worth[owner]) / worth.sum() + pull * (w - prior)
    return descend(prior, slope, STEPS, RATE)

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

def wins(rows, w):
    return sum(row.right is not None and row.is_right[int(np.argmax(row.features @ w))] for row in rows)

def unseen(everything, kind):
    """For each fold: weights that have seen none of its companies."""
    return [learn([row for row in everything if row.fold != fold], PULL[kind]) for fold in range(FOLDS)]

def weights(kind, sets, names):
    """Weights learnt from everything, and those of each fold."""
    everything = [row for rows in sets for row in rows]
    folds = unseen(everything, kind)
    w = learn(everything, PULL[kind])
    for name, rows in zip(names, sets):
        reachable = sum(row.right is not None for row in rows)
        alone = wins(rows, rules_alone(rows[0].features))
        right = sum(wins([row for row in rows if row.fold == fold], w) for fold, w in enumerate(folds))
        print(f"{kind}, {name}: {len(rows)} receipts, {reachable} with the right one among them; "
              f"rules alone {alone}, seen companies {wins(rows, w)}, unseen {right}")
    return w, folds

def log_odds(share, best):
    share = np.clip(share, 0.02, best)
    return np.log(share / (1 - share))

def logistic(x):
    return 1 / (1 + np.exp(-x))

def curves(kind, sets, folds):
    """Curves fitted to everything, and those of each fold: how often a choice was right, each made by weights that had not seen its
    company."""
    everything = [row for rows in sets for row in rows]
    chosen = []
    for row in everything:
        s = row.features @ folds[row.fold]
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
    """The component's weights, and in tests/score those of the folds."""
    lines = "use super::Curves;\n\n"
    for kind, ((w, _), (c, _)) in learnt.items():
        numbers = ",\n    ".join(f"{x:.3f}" for x in w)
        text = f"use super::features::COUNT;\n\npub(in crate::parser) const WEIGHTS: [f32; COUNT] = [\n    {numbers},\n];\n"
        open(os.path.join(folder, "guest/src/parser", kind, "weights.rs"), "w").write(HEAD + text)
        c = [f"{x:.2f}" for x in c]
        lines += f"pub(super) const {kind.upper()}: Curves = Curves {{ choice: [{', '.join(c[:2])}], reading: [{', '.join(c[2:])}] }};\n"
    open(os.path.join(folder, "guest/src/parser/sureness/weights.rs"), "w").write(HEAD + lines)
    def fold(k):
        return {kind: {"weights": [round(x, 3) for x in w[k]], "choice": [round(x, 2) for x in c[k][:2]],
                       "reading": [round(x, 2) for x in c[k][2:]]} for kind, ((_, w), (_, c)) in learnt.items()}
    with open(os.path.join(folder, "tests/score/folds.json"), "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(fold(k)) for k in range(FOLDS)) + "\n]\n")

def main():
    args = [arg for arg in sys.argv[1:] if arg != "--write"]
    learnt = {}
    for kind in ("vendor", "total"):
        sets = [list(load(kind, args[i], args[i + 1])) for i in range(0, len(args), 2)]
        w, folds = weights(kind, sets, args[::2])
        learnt[kind] = ((w, folds), curves(kind, sets, folds))
    if "--write" in sys.argv:
        write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."), learnt)

if __name__ == "__main__":
    main()
