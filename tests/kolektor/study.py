#!/usr/bin/env python3
"""Does a screen before the classifier cost accuracy on KolektorSDD? Cuts the
photographs into tiles, trains both networks on five folds, and prints the table of
docs/results.md.

    pip install -r tests/kolektor/requirements.txt
    cargo build --release -p millsight-trainer
    python3 tests/kolektor/study.py KOLEKTOR_SDD --out kolektor --classifier models/millsight-vit.onnx
    python3 tests/kolektor/study.py --tables

KOLEKTOR_SDD is the data set's folder, with the folders `defect` and `no_defect`. Of
each photograph, 500 pixels wide, the squares at its top, middle and bottom become
tiles. Where the crack of a photograph lies stands in `cracks.csv` beside this file,
as read off by eye: a tile that shows all of its lines is one of cracks, one that
shows a part of them is left out. Photographs of one commutator stay in one fold;
kos38 and kos39 show the same one. Each fold is tested once, with the next one to
choose the epoch and the screen's threshold by. What was found of each tile goes into
`tiles.csv` beside this file.
"""

import argparse
import csv
import json
import math
import random
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).parent
TILES = HERE / "tiles.csv"
SIDE = 500
FOLDS = 5
SAME = {"kos39": "kos38"}
CLEAN, CRACKS = "no_defect", "cracks"
DRAWS = 2000

CLASSIFIER = [
    *("--width", "128", "--depth", "4", "--heads", "4", "--epochs", "20", "--batch-size", "16"),
    *("--learning-rate", "2.5e-4", "--schedule", "cosine", "--warmup-epochs", "2"),
    *("--clip-gradient-norm", "1", "--augment", "flips,brightness"),
]
SCREEN = [
    *("--arch", "screen", "--epochs", "20", "--batch-size", "16", "--learning-rate", "1e-3"),
    *("--schedule", "cosine", "--warmup-epochs", "2", "--augment", "flips,brightness"),
]


def cut(data, folder):
    """Tiles of all photographs, in a folder for each class."""
    from PIL import Image

    with open(HERE / "cracks.csv", newline="") as file:
        cracks = {row["photograph"]: (int(row["first_line"]), int(row["last_line"])) for row in csv.DictReader(file)}
    for photograph in sorted(data.glob("*/*.jpg")):
        image = Image.open(photograph).convert("L")
        lines = image.height - SIDE
        for number, top in enumerate([0, lines // 2, lines]):
            label = CLEAN
            if photograph.stem in cracks:
                first, last = cracks[photograph.stem]
                if top <= first and last < top + SIDE:
                    label = CRACKS
                elif top <= last and first < top + SIDE:
                    continue
            path = folder / label / f"{photograph.stem}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.crop((0, top, image.width, top + SIDE)).save(path)


def item(path):
    name = Path(path).name.split("_")[0]
    return SAME.get(name, name)


def fold_tables(folder, program):
    """A table with the column `split` for each fold."""
    subprocess.run([program, "index", folder], check=True)
    with open(folder / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    items = sorted({item(row["path"]) for row in rows})
    random.Random(0).shuffle(items)
    fold_of = {name: number % FOLDS for number, name in enumerate(items)}
    for fold in range(FOLDS):
        parts = {fold: "test", (fold + 1) % FOLDS: "val"}
        with open(folder / f"fold-{fold}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], "split"], lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({**row, "split": parts.get(fold_of[item(row["path"])], "train")})


def train(given, table, run, options, init):
    if (run / "best.safetensors").exists():
        return
    command = [given.program, "train", table, "--out", run, *options, "--seed", "0"]
    command += ["--init", init] if init else []
    subprocess.run([str(word) for word in command], check=True)


def logits(given, run, table):
    """Of each test tile the logits by class."""
    out = run / "test.csv"
    command = [given.program, "evaluate", "--run", run, "--table", table, "--predictions", out]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    with open(out, newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def measure(given):
    tiles = given.out / "tiles"
    if not tiles.exists():
        cut(given.data, tiles)
        fold_tables(tiles, given.program)
    found = []
    for fold in range(FOLDS):
        table = tiles / f"fold-{fold}.csv"
        classifier, screen = given.out / f"classifier-{fold}", given.out / f"screen-{fold}"
        train(given, table, classifier, CLASSIFIER, given.classifier)
        train(given, table, screen, SCREEN, given.screen)
        command = [given.program, "evaluate", "--run", classifier, "--cascade", screen, "--risk", given.risk, "--json"]
        ended = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
        point = json.loads(ended.stdout)["cascade"]["screen"]
        temperature, threshold = point["calibration"]["temperature"], point["thresholds"].get("defect", 0.5)
        screened = logits(given, screen, table)
        for path, row in logits(given, classifier, table).items():
            of_screen = screened[path]
            apart = float(of_screen["logit_defect"]) - float(of_screen[f"logit_{CLEAN}"])
            passed = 1 / (1 + math.exp(-apart / temperature)) >= threshold
            found.append({
                "path": path,
                "fold": fold,
                "label": row["label"],
                "predicted": row["predicted"],
                "passed_on": int(passed),
            })
    with open(TILES, "w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def balanced_accuracy(rows, predicted):
    right, all_of = Counter(), Counter()
    for row in rows:
        all_of[row["label"]] += 1
        right[row["label"]] += predicted(row) == row["label"]
    return sum(right[label] / all_of[label] for label in all_of) / len(all_of)


def alone(row):
    return row["predicted"]


def cascade(row):
    return row["predicted"] if row["passed_on"] == "1" else CLEAN


def tables():
    with open(TILES, newline="") as file:
        rows = list(csv.DictReader(file))
    by_label = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row)
    # The tiles of each class are drawn anew from themselves (bootstrap).
    draw = random.Random(0)
    figures = defaultdict(list)
    for _ in range(DRAWS):
        drawn = [row for of_label in by_label.values() for row in draw.choices(of_label, k=len(of_label))]
        one, both = balanced_accuracy(drawn, alone), balanced_accuracy(drawn, cascade)
        for name, value in [("alone", one), ("cascade", both), ("difference", both - one)]:
            figures[name].append(value)
    one, both = balanced_accuracy(rows, alone), balanced_accuracy(rows, cascade)

    def interval(name, value, sign=""):
        ordered = sorted(figures[name])
        lower, upper = (100 * ordered[round(share * (DRAWS - 1))] for share in (0.025, 0.975))
        return f"{100 * value:{sign}.1f} ({lower:{sign}.1f} to {upper:{sign}.1f})"

    print("\n| | classifier alone | cascade | difference |")
    print("|---|---|---|---|")
    print("| balanced accuracy, % |", interval("alone", one), "|", interval("cascade", both), "|", interval("difference", both - one, "+"), "|")
    for label, of_label in by_label.items():
        counts = [sum(predicted(row) == label for row in of_label) for predicted in (alone, cascade)]
        print(f"| {label} found, of {len(of_label)} | {counts[0]} | {counts[1]} | {counts[1] - counts[0]:+d} |")
    for label, of_label in by_label.items():
        passed = sum(row["passed_on"] == "1" for row in of_label)
        print(f"| {label} passed on, of {len(of_label)} | | {passed} | |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of the data set")
    parser.add_argument("--out", type=Path, default=Path("kolektor"), help="folder of tiles and runs")
    parser.add_argument("--program", type=Path, default=Path("target/release/millsight-train"))
    parser.add_argument("--classifier", type=Path, help="weights that the classifier begins with")
    parser.add_argument("--screen", type=Path, help="weights that the screen begins with")
    parser.add_argument("--risk", type=float, default=0.001, help="share of the cracks that the screen may clear")
    parser.add_argument("--tables", action="store_true", help="train nothing")
    given = parser.parse_args()
    if not given.tables:
        if not given.data:
            parser.error("the folder of the data set is needed, or --tables")
        given.program = given.program.resolve()
        measure(given)
    tables()


if __name__ == "__main__":
    main()
