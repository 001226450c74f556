#!/usr/bin/env python3
"""The supervised recipe in PyTorch and timm, to compare results with.

    pip install -r requirements.txt
    python train.py split.csv --label-fraction 0.1 --seed 0

Same table, preprocessing (Pillow's bilinear resize, mean and deviation given),
network (timm's vit_tiny_patch16), loss (cross-entropy with inverse-frequency
weights of unit mean), optimiser (AdamW; biases, norms, class token and
positions without decay) and constant rate as `millsight-train train`, and the
same choice of the epoch by balanced accuracy on the validation part. Prints
one line of JSON with the figures on the test part.
"""

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

KNOWN = ["no_defect", "cracks", "scrap_mark", "overfill", "scrap_mark_ii"]


def rows_of(table, split):
    with open(table, newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def fraction(rows, share, seed):
    """A stratified part of the rows, at least one of each class."""
    by_class = defaultdict(list)
    for row in rows:
        by_class[row["label"]].append(row)
    generator = random.Random(seed)
    kept = []
    for members in by_class.values():
        generator.shuffle(members)
        kept += members[: max(1, round(share * len(members)))]
    return kept


def images(rows, root, side):
    tiles = []
    for row in rows:
        image = Image.open(root / row["path"]).convert("L").resize((side, side), Image.BILINEAR)
        tiles.append(np.asarray(image))
    return torch.from_numpy(np.stack(tiles))


def normalised(levels, mean, std):
    return ((levels.float() / 255 - mean) / std).unsqueeze(1).expand(-1, 3, -1, -1)


def balanced_accuracy(truth, predicted):
    recalls = [(predicted[truth == c] == c).float().mean() for c in truth.unique()]
    return float(torch.stack(recalls).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--label-fraction", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1.5e-4)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    root = given.data_root or given.table.parent

    train = fraction(rows_of(given.table, "train"), given.label_fraction, given.seed)
    parts = {"train": train, "val": rows_of(given.table, "val"), "test": rows_of(given.table, "test")}
    names = {row["label"] for part in parts.values() for row in part}
    classes = [name for name in KNOWN if name in names] + sorted(names - set(KNOWN))
    levels = {part: images(rows, root, given.image_size) for part, rows in parts.items()}
    labels = {part: torch.tensor([classes.index(row["label"]) for row in rows]) for part, rows in parts.items()}
    pixels = levels["train"].float() / 255
    mean, std = pixels.mean(), pixels.std()

    network = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, num_classes=len(classes), img_size=given.image_size
    )
    exempt = {"cls_token", "pos_embed"}
    decayed = [p for n, p in network.named_parameters() if p.ndim > 1 and n not in exempt]
    others = [p for n, p in network.named_parameters() if p.ndim <= 1 or n in exempt]
    optimiser = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=given.learning_rate,
        weight_decay=given.weight_decay,
    )
    counts = torch.bincount(labels["train"], minlength=len(classes)).float()
    weights = counts.sum() / (len(classes) * counts)
    loss_of = torch.nn.CrossEntropyLoss(weight=weights / weights.mean())

    def predict(part):
        network.eval()
        with torch.no_grad():
            batches = levels[part].split(64)
            return torch.cat([network(normalised(b, mean, std)).argmax(1) for b in batches])

    best, at_best, begin, trained = -1.0, {}, time.time(), 0.0
    for epoch in range(given.epochs):
        network.train()
        start = time.time()
        order = torch.randperm(len(labels["train"]))
        for batch in order.split(given.batch_size):
            loss = loss_of(network(normalised(levels["train"][batch], mean, std)), labels["train"][batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        trained += time.time() - start
        score = balanced_accuracy(labels["val"], predict("val"))
        if score > best:
            best = score
            predicted = predict("test")
            at_best = {
                "epoch": epoch + 1,
                "val_balanced_accuracy": score,
                "test_balanced_accuracy": balanced_accuracy(labels["test"], predicted),
                "test_accuracy": float((predicted == labels["test"]).float().mean()),
            }
    images_seen = given.epochs * len(labels["train"])
    at_best |= {
        "seed": given.seed,
        "train_tiles": len(labels["train"]),
        "images_per_second": images_seen / trained,
        "seconds": time.time() - begin,
    }
    print(json.dumps(at_best))


if __name__ == "__main__":
    main()
