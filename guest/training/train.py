#!/usr/bin/env python3
"""Learns the weights of guest/src/parser/{total,vendor,sureness}/weights.rs.

usage: train.py total|vendor|sureness EVIDENCE.jsonl LABELS.jsonl [EVIDENCE.jsonl LABELS.jsonl ...] [--write weights.rs]

EVIDENCE is what `cargo run --release --package worker --example evidence -- FILES` prints. total and vendor: a softmax over the amounts
(or names) of each receipt, pulled towards the rules alone; full-batch gradient descent from a fixed start, so that the same data
give the same weights. Prints how often the right one wins, cross-validated over companies: no receipt is judged by weights that have
seen another one of its company. sureness: curves that say how often such a choice is right, fitted to the cross-validated choices.
Needs numpy.
"""
import hashlib, json, os, re, sys
from collections import Counter
import numpy as np

RULES, FOLDS, STEPS, RATE = 3.0, 5, 1500, 0.05
# How strongly weights are pulled towards the rules alone: chosen by cross-validation, of 0.0002 to 0.1.
PULL = {"total": 0.004, "vendor": 0.03}
SHRINK = 0.0005

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

def descend(start, slope, steps, rate):
    """Adam, from a fixed start."""
    w, m, v = start.copy(), np.zeros(len(start)), np.zeros(len(start))
    for step in range(1, steps + 1):
        g = slope(w)
        m = 0.9 * m + 0.1 * g; v = 0.999 * v + 0.001 * g * g
        w = w - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return w

def wins(rows, w):
    return sum(row.right is not None and row.is_right[int(np.argmax(row.features @ w))] for row in rows)

def unseen(everything, kind):
    """For each fold: its receipts, and weights that have seen none of their companies."""
    for fold in range(FOLDS):
        yield fold, learn([row for row in everything if row.fold != fold], PULL[kind])

def weights(kind, sets, names):
    everything = [row for rows in sets for row in rows]
    found = [0] * len(sets)
    for fold, w in unseen(everything, kind):
        found = [n + wins([row for row in rows if row.fold == fold], w) for n, rows in zip(found, sets)]
    for name, rows, right in zip(names, sets, found):
        reachable = sum(row.right is not None for row in rows)
        alone = wins(rows, rules_alone(rows[0].features))
        print(f"{name}: {len(rows)} receipts, {reachable} with the right one among them; rules alone {alone}, unseen companies {right}")
    w = learn(everything, PULL[kind])
    print("all:", [wins(rows, w) for rows in sets], np.round(w, 2).tolist())
    numbers = ",\n    ".join(f"{x:.3f}" for x in w)
    return f"use super::features::COUNT;\n\npub(super) const WEIGHTS: [f32; COUNT] = [\n    {numbers},\n];\n"

def log_odds(share, best):
    share = np.clip(share, 0.02, best)
    return np.log(share / (1 - share))

def logistic(x):
    return 1 / (1 + np.exp(-x))

def curves(kind, sets):
    """Choice and reading of every receipt, and whether it was right; judged by weights and curves that have not seen its company."""
    everything = [row for rows in sets for row in rows]
    chosen = {}
    for fold, w in unseen(everything, kind):
        for row in everything:
            if row.fold == fold:
                s = row.features @ w
                best = int(np.argmax(s))
                chosen[row] = (1 / np.exp(s - s[best]).sum(), row.ocr[best] / 100, row.quality / 100, row.is_right[best])
    share, ocr, quality, right = map(np.array, zip(*(chosen[row] for row in everything)))
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
        return descend(np.array([1.5, 0.5, 0, 0.5, 0.0]), slope, 3000, 0.02)
    sure = np.zeros(len(right))
    for k in range(FOLDS):
        w = fit(fold != k)
        sure[fold == k] = (logistic(a @ w[:2]) * logistic(b @ w[2:]))[fold == k]
    at = 0
    for rows in sets:
        s, r = sure[at:at + len(rows)], right[at:at + len(rows)]
        bins = np.minimum((s * 10).astype(int), 9)
        error = sum(abs((s[bins == k] - r[bins == k]).sum()) for k in range(10)) / len(s)
        print(f"{kind}: {len(rows)} choices, right {r.mean():.3f}, sure {s.mean():.3f}, calibration error {error:.3f}")
        at += len(rows)
    w = [f"{x:.2f}" for x in fit(fold >= 0)]
    return f"pub(super) const {kind.upper()}: Curves = Curves {{ choice: [{', '.join(w[:2])}], reading: [{', '.join(w[2:])}] }};\n"

def main():
    kind, *args = sys.argv[1:]
    out = None
    if "--write" in args:
        at = args.index("--write"); out = args[at + 1]; del args[at:at + 2]
    def sets(kind):
        return [list(load(kind, args[i], args[i + 1])) for i in range(0, len(args), 2)]
    if kind == "sureness":
        text = "use super::Curves;\n\n" + "".join(curves(field, sets(field)) for field in ("vendor", "total"))
    else:
        text = weights(kind, sets(kind), args[::2])
    if out:
        open(out, "w").write("//! Written by guest/training/train.py; not by hand.\n\n" + text)

if __name__ == "__main__":
    main()
