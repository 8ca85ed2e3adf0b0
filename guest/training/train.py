#!/usr/bin/env python3
"""Learns the weights of guest/src/parser/{total,vendor}/weights.rs.

usage: train.py total|vendor EVIDENCE.jsonl LABELS.jsonl [EVIDENCE.jsonl LABELS.jsonl ...] [--write weights.rs]

EVIDENCE is what `cargo run --release --package worker --example evidence -- FILES` prints. A softmax over the amounts (or names) of each
receipt, pulled towards the rules alone; full-batch gradient descent from a fixed start, so that the same data give the same
weights. Prints how often the right one wins, cross-validated over companies: no receipt is judged by weights that have
seen another one of its company. Needs numpy.
"""
import hashlib, json, os, re, sys
from collections import Counter
import numpy as np

RULES, FOLDS, STEPS, RATE = 3.0, 5, 1500, 0.05
# How strongly weights are pulled towards the rules alone: chosen by cross-validation, of 0.0002 to 0.1.
PULL = {"total": 0.004, "vendor": 0.03}

def plain(text):
    return re.sub(r"[^a-z0-9]", "", (text or "").lower())

def cents(value):
    return round(float(re.sub(r"[^0-9.\-]", "", str(value).replace(",", ""))) * 100)

def is_right(kind, value, label):
    if kind == "vendor":
        return plain(value) == plain(label["vendor"])
    return cents(value) == cents(label["total"])

def load(kind, evidence, labels):
    key = {"total": "amounts", "vendor": "names"}[kind]
    labels = {row["name"]: row for row in map(json.loads, filter(str.strip, open(labels, encoding="utf-8")))}
    for row in map(json.loads, open(evidence, encoding="utf-8")):
        label = labels.get(os.path.basename(row["file"]).split(".")[0])
        if not label or not row[key]:
            continue
        right = [i for i, (value, _) in enumerate(row[key]) if is_right(kind, value, label)]
        fold = int(hashlib.sha256(plain(label["vendor"]).encode()).hexdigest(), 16) % FOLDS
        yield fold, np.array([f for _, f in row[key]]), right[0] if right else None, plain(label["vendor"])

def learn(rows, pull):
    rows = [(x, y, company) for _, x, y, company in rows if y is not None]
    # A company with forty receipts says less than forty companies.
    often = Counter(company for _, _, company in rows)
    worth = np.array([often[company] ** -0.5 for _, _, company in rows])
    rows = [(x, y) for x, y, _ in rows]
    x = np.concatenate([x for x, _ in rows])
    owner = np.repeat(np.arange(len(rows)), [len(x) for x, _ in rows])
    starts = np.concatenate([[0], np.cumsum([len(x) for x, _ in rows])[:-1]])
    right = np.zeros(len(x)); right[starts + np.array([y for _, y in rows])] = 1
    prior = np.zeros(x.shape[1]); prior[0] = RULES
    w, m, v = prior.copy(), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for step in range(1, STEPS + 1):
        s = x @ w
        s = np.exp(s - np.maximum.reduceat(s, starts)[owner])
        p = s / np.add.reduceat(s, starts)[owner]
        grad = x.T @ ((p - right) * worth[owner]) / worth.sum() + pull * (w - prior)
        m = 0.9 * m + 0.1 * grad; v = 0.999 * v + 0.001 * grad * grad
        w = w - RATE * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return w

def wins(rows, w):
    return sum(y is not None and int(np.argmax(x @ w)) == y for _, x, y, _ in rows)

def main():
    kind, *args = sys.argv[1:]
    out = None
    if "--write" in args:
        at = args.index("--write"); out = args[at + 1]; del args[at:at + 2]
    sets = [list(load(kind, args[i], args[i + 1])) for i in range(0, len(args), 2)]
    everything = [row for rows in sets for row in rows]
    for name, rows in zip(args[::2], sets):
        prior = np.zeros(rows[0][1].shape[1]); prior[0] = RULES
        reachable = sum(y is not None for _, _, y, _ in rows)
        unseen = 0
        for fold in range(FOLDS):
            w = learn([row for row in everything if row[0] != fold], PULL[kind])
            unseen += wins([row for row in rows if row[0] == fold], w)
        print(f"{name}: {len(rows)} receipts, {reachable} with the right one among them; rules alone {wins(rows, prior)}, unseen companies {unseen}")
    w = learn(everything, PULL[kind])
    print("all:", [wins(rows, w) for rows in sets], np.round(w, 2).tolist())
    if out:
        numbers = ",\n    ".join(f"{x:.3f}" for x in w)
        open(out, "w").write(f"//! Written by guest/training/train.py; not by hand.\n\nuse super::features::COUNT;\n\npub(super) const WEIGHTS: [f32; COUNT] = [\n    {numbers},\n];\n")

if __name__ == "__main__":
    main()
