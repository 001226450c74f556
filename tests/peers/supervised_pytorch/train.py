#!/usr/bin/env python3
"""The supervised recipe in PyTorch and timm, to compare results with.

    pip install -r requirements.txt
    python train.py split.csv --label-fraction 0.1 --seed 0

Same table, preprocessing (Pillow's bilinear resize, mean and deviation given),
network (timm's vit_tiny_patch16), loss (cross-entropy with inverse-frequency
weights of unit mean), optimiser (AdamW; biases, norms, class token and
positions without decay), rate (constant, or warm-up and cosine in every step)
and flips as `millsight-train train`, and the same choice of the epoch by
balanced accuracy on the validation part. The random numbers, and with them the
chosen labels, are others. Prints one line of JSON with the figures on the test
part.
"""

import argparse
import csv
import json
import math
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


def rate(highest, step, warmup, steps, cosine):
    """The learning rate of a step: linear warm-up, then constant or half a cosine down to 1e-6."""
    if step < warmup:
        return highest * (step + 1) / warmup
    if not cosine:
        return highest
    done = (step - warmup) / (steps - warmup)
    return 1e-6 + (highest - 1e-6) * (1 + math.cos(math.pi * done)) / 2


def flipped(levels):
    """Each image mirrored from left to right and upside down, each with even odds."""
    for axis in [1, 2]:
        chosen = torch.rand(len(levels)) < 0.5
        levels = torch.where(chosen.view(-1, 1, 1), levels.flip(axis), levels)
    return levels


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
    parser.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
    parser.add_argument("--warmup-epochs", type=float, default=0)
    parser.add_argument("--flips", action="store_true")
    parser.add_argument(
        "--filters-without-mean",
        action="store_true",
        help="begin with patch filters less their mean, as millsight-train does",
    )
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
    if given.filters_without_mean:
        with torch.no_grad():
            filters = network.patch_embed.proj.weight
            filters -= filters.mean(dim=(1, 2, 3), keepdim=True)
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

    steps_per_epoch = math.ceil(len(labels["train"]) / given.batch_size)
    warmup, steps = round(given.warmup_epochs * steps_per_epoch), given.epochs * steps_per_epoch
    step = 0
    best, at_best, begin, trained = -1.0, {}, time.time(), 0.0
    for epoch in range(given.epochs):
        network.train()
        start = time.time()
        order = torch.randperm(len(labels["train"]))
        for batch in order.split(given.batch_size):
            for group in optimiser.param_groups:
                group["lr"] = rate(given.learning_rate, step, warmup, steps, given.schedule == "cosine")
            tiles = flipped(levels["train"][batch]) if given.flips else levels["train"][batch]
            loss = loss_of(network(normalised(tiles, mean, std)), labels["train"][batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
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
