#!/usr/bin/env python3
"""Makes sets/*.jsonl from the unpacked archives of SROIE's training split in Textract's form.

usage: make-sets.py TRAIN_FOLDER TRAIN_OCR_FOLDER

The parser reads LINE blocks alone, so that text, confidence and box of each line are all that is kept. The fold is by company, and
fixed by what is committed: the SHA-256 of the vendor's letters and digits modulo 5, as guest/training/train.py has it.
"""
import glob, hashlib, json, os, re, sys

def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"

here = os.path.dirname(os.path.abspath(__file__))
for name, folder in zip(("boxes", "ocr"), sys.argv[1:3]):
    labels = {}
    for row in map(json.loads, filter(str.strip, open(os.path.join(folder, "labels.jsonl"), encoding="utf-8"))):
        labels[row["name"]] = row
    with open(os.path.join(here, "sets", name + ".jsonl"), "w", encoding="utf-8") as out:
        for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
            label = labels.get(os.path.basename(path)[:-5])
            if label is None:
                continue
            digest = hashlib.sha256(re.sub(r"[^a-z0-9]", "", label["vendor"].lower()).encode()).hexdigest()
            lines = []
            for block in json.load(open(path, encoding="utf-8"))["Blocks"]:
                if block["BlockType"] == "LINE":
                    box = block["Geometry"]["BoundingBox"]
                    lines.append([block["Text"], round(block["Confidence"], 1)] + [round(box[k], 4) for k in ("Left", "Top", "Width", "Height")])
            out.write(compact({**{k: label.get(k) for k in ("name", "vendor", "total", "date")}, "fold": int(digest, 16) % 5, "lines": lines}))
