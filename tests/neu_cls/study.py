#!/usr/bin/env python3
"""Does pretraining help on NEU-CLS? Trains, evaluates and prints the tables of
docs/results.md.

    cargo build --release -p millsight-trainer
    python3 tests/neu_cls/study.py NEU_CLS --out runs
    python3 tests/neu_cls/study.py --tables

NEU_CLS is the data set's folder, with one folder for each class. With `--python`,
an interpreter with tests/peers/supervised_pytorch/requirements.txt, the same recipe
is trained in PyTorch too. Every run that ends puts a line into `results.csv` beside
this file, and no run that has a line is trained again; of the runs that pretrain
only those whose weights are still needed. A run that was interrupted goes on.
Seconds and processor seconds (user and system) are those of training, over all
sittings.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results.csv"
COLUMNS = [
    *("run", "seed", "val_balanced_accuracy", "test_balanced_accuracy"),
    *("seconds", "processor_seconds", "processor", "git_revision", "command"),
]
IMAGE_SIZE = 112
SEEDS = [0, 1, 2]
# Share of the labels: epochs, tiles in a step, learning rate. Few labels make
# few steps, and get smaller ones.
FRACTIONS = {"0.05": (40, 8, "2.5e-4"), "0.1": (40, 16, "2.5e-4"), "1": (30, 32, "5e-4")}
TITLES = ["5 %", "10 %", "100 %"]

PRETRAIN = {
    "mae": [
        *("mae", "--epochs", "150", "--batch-size", "64", "--shard-size", "16"),
        *("--masking", "random", "--mask-ratio", "0.75", "--normalise-patches"),
        *("--decoder-depth", "2", "--learning-rate", "5e-4", "--schedule", "cosine"),
        *("--warmup-epochs", "10", "--augment", "random-crop:0.5-1,flips"),
        *("--picture-interval", "50"),
    ],
    "dino": [
        *("dino", "--recipe", "dino-scratch", "--epochs", "25", "--batch-size", "32"),
        *("--local-crops", "4", "--local-size", "48", "--out-dim", "1024"),
        *("--head-hidden", "512", "--learning-rate", "2.5e-4", "--drop-path", "0"),
        *("--teacher-temperature", "0.04", "--centre-momentum", "0.9", "--knn-every", "5"),
    ],
}
STARTS = ["scratch", *PRETRAIN]
PRETRAINED = [f"{start}-{seed}" for start in PRETRAIN for seed in SEEDS]
# A random head on a pretrained network spoils at first what was pretrained: does it
# help to probe before (Kumar et al., 2022)?
PROBED = "probed"
PROBED_FRACTIONS = ["0.05", "0.1"]
CONVOLUTIONAL = "yolo-cls-n"
PEER = "pytorch"
# The same that begins with patch filters without their mean, as ours do.
PEER_WITHOUT_MEAN = "pytorch-without-mean"
TITLES_OF_STARTS = {
    **{f"{start}-{PROBED}": f"{start}, probed before" for start in PRETRAIN},
    PEER: "scratch, in PyTorch",
    PEER_WITHOUT_MEAN: "scratch, in PyTorch, filters without their mean",
    CONVOLUTIONAL: "scratch, yolo-cls-n",
}
PEER_SCRIPT = Path(__file__).parent.parent / "peers/supervised_pytorch/train.py"


def finetune(fraction):
    epochs, batch_size, rate = FRACTIONS[fraction]
    return [
        *("--protocol", "finetune", "--epochs", epochs, "--batch-size", batch_size),
        *("--learning-rate", rate, "--schedule", "cosine", "--warmup-epochs", "5"),
        *("--augment", "flips"),
    ]


def probe(_):
    return ["--protocol", "probe", "--probe-batch-norm", "--epochs", "200", "--learning-rate", "1e-3"]


PROTOCOLS = {"finetune": finetune, "probe": probe}


def convolutional(fraction):
    """The convolutional network halves the image five times: 112 pixels do not fit."""
    epochs, batch_size, _ = FRACTIONS[fraction]
    return [
        *("--arch", CONVOLUTIONAL, "--image-size", "128", "--epochs", epochs),
        *("--batch-size", batch_size, "--learning-rate", "1e-3", "--schedule", "cosine"),
        *("--warmup-epochs", "5", "--augment", "flips"),
    ]


def peer(fraction):
    """The options of the script in PyTorch for what `finetune` says."""
    epochs, batch_size, rate = FRACTIONS[fraction]
    return [
        *("--epochs", epochs, "--batch-size", batch_size, "--learning-rate", rate),
        *("--schedule", "cosine", "--warmup-epochs", "5", "--flips", "--label-fraction", fraction),
    ]


def plan():
    """Name, seed, beginning and options of each run, in the order of training."""
    for seed in SEEDS:
        for fraction in FRACTIONS:
            yield f"{PEER}-finetune-{fraction}-{seed}", seed, None, peer(fraction)
            without_mean = [*peer(fraction), "--filters-without-mean"]
            yield f"{PEER_WITHOUT_MEAN}-finetune-{fraction}-{seed}", seed, None, without_mean
        for start in STARTS:
            begin = None
            if start in PRETRAIN:
                begin = f"{start}-{seed}"
                yield begin, seed, None, ["pretrain", *PRETRAIN[start]]
            for protocol, options in PROTOCOLS.items():
                for fraction in FRACTIONS:
                    share = [] if fraction == "1" else ["--label-fraction", fraction]
                    name = f"{start}-{protocol}-{fraction}-{seed}"
                    yield name, seed, begin, ["train", *options(fraction), *share]
    for seed in SEEDS:
        for start in PRETRAIN:
            for fraction in PROBED_FRACTIONS:
                name = f"{start}-{PROBED}-finetune-{fraction}-{seed}"
                begin = f"{start}-probe-{fraction}-{seed}"
                yield name, seed, begin, ["train", *finetune(fraction), "--label-fraction", fraction]
    for seed in SEEDS:
        for fraction in FRACTIONS:
            share = [] if fraction == "1" else ["--label-fraction", fraction]
            name = f"{CONVOLUTIONAL}-finetune-{fraction}-{seed}"
            yield name, seed, None, ["train", *convolutional(fraction), *share]


def read(results):
    if not results.exists():
        return {}
    with open(results, newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def append(results, row):
    new = not results.exists()
    with open(results, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return ""


def timed(command, cost):
    """Runs a command and adds what it took to the file `cost`."""
    print("+", *command, flush=True)
    begin = time.time()
    child = subprocess.Popen([str(word) for word in command])
    _, status, usage = os.wait4(child.pid, 0)
    spent = json.loads(cost.read_text()) if cost.exists() else {"seconds": 0, "processor_seconds": 0}
    spent["seconds"] += time.time() - begin
    spent["processor_seconds"] += usage.ru_utime + usage.ru_stime
    if cost.parent.exists():
        cost.write_text(json.dumps(spent))
    if status:
        sys.exit(f"it ended with {os.waitstatus_to_exitcode(status)}")
    return spent


def train_peer(given, table, name, seed, options):
    """One run in PyTorch, and its line in the results."""
    command = [given.python, PEER_SCRIPT, table, "--image-size", IMAGE_SIZE, "--seed", seed, *options]
    print("+", *command, flush=True)
    before = os.times()
    ended = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    after = os.times()
    busy = after.children_user - before.children_user + after.children_system - before.children_system
    report = json.loads(ended.stdout)
    scores = {f"{part}_balanced_accuracy": report[f"{part}_balanced_accuracy"] for part in ["val", "test"]}
    append(given.results, {
        "run": name,
        "seed": seed,
        **{key: f"{value:.6f}" for key, value in scores.items()},
        "seconds": f"{after.elapsed - before.elapsed:.1f}",
        "processor_seconds": f"{busy:.1f}",
        "processor": processor(),
        "command": " ".join(str(word) for word in options),
    })


def train(given, table, name, seed, begin, options):
    """One run to its end, and its line in the results."""
    run = given.out / name
    verb = options[0]
    if (run / "config.json").exists():
        command = [given.program, verb, "--resume", run]
    else:
        words = options[1:2] if verb == "pretrain" else []
        command = [given.program, verb, *words, table, "--out", run, *options[1 + len(words):]]
        command += ["--seed", seed]
        if "--image-size" not in options:
            command += ["--image-size", IMAGE_SIZE]
        if begin:
            file = "backbone.safetensors" if begin in PRETRAINED else "best.safetensors"
            command += ["--init", given.out / begin / file]
    command += ["--workers", given.workers]
    spent = timed(command, run / "cost.json")
    scores = {}
    if verb == "train":
        for part in ["val", "test"]:
            evaluate = [given.program, "evaluate", "--run", run, "--split", part, "--workers", given.workers]
            subprocess.run([str(word) for word in evaluate], check=True, stdout=subprocess.DEVNULL)
            report = json.loads((run / f"evaluation-{part}.json").read_text())
            scores[f"{part}_balanced_accuracy"] = f"{report['balanced_accuracy']:.6f}"
    config = json.loads((run / "config.json").read_text())
    (run / "done").touch()
    if name in read(given.results):
        return
    append(given.results, {
        "run": name,
        "seed": seed,
        **scores,
        "seconds": f"{spent['seconds']:.1f}",
        "processor_seconds": f"{spent['processor_seconds']:.1f}",
        "processor": processor(),
        "git_revision": config["git_revision"],
        "command": " ".join(str(word) for word in options),
    })


def train_all(given, table):
    """All runs that have no line yet, and what they begin with."""
    chosen = [run for run in plan() if run[0].startswith(tuple(given.only))]
    done = read(given.results)
    begins = {name: begin for name, _, begin, _ in plan()}
    needed = {run[0] for run in chosen if run[0] not in done}
    trained = {name for name in begins if (given.out / name / "done").exists()}
    while more := {begins[name] for name in needed - trained} - needed - {None}:
        needed |= more
    for name, seed, begin, options in (run for run in plan() if run[0] in needed):
        if name.startswith(PEER):
            if given.python:
                train_peer(given, table, name, seed, options)
        elif name not in trained:
            train(given, table, name, seed, begin, options)


def spread(values):
    if not values:
        return "not measured"
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    seeds = "" if len(values) == len(SEEDS) else f" ({len(values)} seeds)"
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}{seeds}"


def tables(results):
    done = read(results)
    print("\nBalanced accuracy on the test part, %: mean ± standard deviation over the seeds\n")
    print("| begins with | protocol |", " | ".join(f"{title} of the labels" for title in TITLES), "|")
    print("|---|---|---|---|---|")
    for protocol in PROTOCOLS:
        starts = STARTS
        if protocol == "finetune":
            probed = [f"{start}-{PROBED}" for start in PRETRAIN]
            starts = [*STARTS, *probed, PEER, PEER_WITHOUT_MEAN, CONVOLUTIONAL]
        for start in starts:
            cells = []
            for fraction in FRACTIONS:
                names = [f"{start}-{protocol}-{fraction}-{seed}" for seed in SEEDS]
                cells.append(spread([float(done[name]["test_balanced_accuracy"]) for name in names if name in done]))
            title = TITLES_OF_STARTS.get(start, start)
            print(f"| {title} | {protocol} |", " | ".join(cells), "|")
    print("\nMinutes of a run, mean over the seeds that ran on the same processor\n")
    print("| run | processor | minutes | processor minutes |")
    print("|---|---|---|---|")
    groups = {}
    for name, row in done.items():
        groups.setdefault((name.rsplit("-", 1)[0], row["processor"]), []).append(row)
    for (group, processor), rows in groups.items():
        wall, busy = (statistics.mean(float(row[column]) for row in rows) / 60 for column in ["seconds", "processor_seconds"])
        print(f"| {group} | {processor} | {wall:.1f} | {busy:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of the data set")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--program", type=Path, default=Path("target/release/millsight-train"))
    parser.add_argument("--python", type=Path, help="interpreter with PyTorch, for the comparison")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of the names of runs to train")
    parser.add_argument("--tables", action="store_true", help="train nothing")
    given = parser.parse_args()
    if not given.tables:
        if not given.data:
            parser.error("the folder of the data set is needed, or --tables")
        given.program = given.program.resolve()
        given.out.mkdir(parents=True, exist_ok=True)
        table = given.data / "split.csv"
        if not table.exists():
            subprocess.run([given.program, "index", given.data], check=True)
            subprocess.run([given.program, "split", given.data / "index.csv"], check=True)
        train_all(given, table)
    tables(given.results)


if __name__ == "__main__":
    main()
