#!/usr/bin/env python3
"""Does pretraining help on NEU-CLS? Trains, evaluates and prints the tables of
docs/results.md.

    cargo build --release -p millsight-trainer
    python3 tests/neu_cls/study.py NEU_CLS --out runs

NEU_CLS is the data set's folder, with one folder for each class. A run that is
complete is not trained again, one that was interrupted goes on. `--only` trains
those alone whose names begin so, `--tables` none. The numbers of a run are in
its folder; `cost.json` there holds the seconds and the processor seconds (user
and system) that it took, over all sittings.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

IMAGE_SIZE = 112
SEEDS = [0, 1, 2]
# Few labels make few steps in an epoch, and get more epochs.
EPOCHS = {"0.05": 100, "0.1": 100, "1": 50}

PRETRAIN = {
    "mae": [
        *("mae", "--epochs", "150", "--batch-size", "64", "--shard-size", "16"),
        *("--masking", "random", "--mask-ratio", "0.75", "--normalise-patches"),
        *("--decoder-depth", "4", "--learning-rate", "5e-4", "--schedule", "cosine"),
        *("--warmup-epochs", "10", "--augment", "random-crop:0.5-1,flips"),
        *("--picture-interval", "50"),
    ],
    "dino": [
        *("dino", "--recipe", "dino-scratch", "--epochs", "60", "--batch-size", "32"),
        *("--local-crops", "4", "--local-size", "48", "--out-dim", "1024"),
        *("--head-hidden", "512", "--learning-rate", "2.5e-4", "--drop-path", "0"),
        *("--teacher-temperature", "0.04", "--centre-momentum", "0.9", "--knn-every", "5"),
    ],
}
PROTOCOL = {
    "finetune": lambda fraction: [
        *("--protocol", "finetune", "--epochs", str(EPOCHS[fraction]), "--learning-rate", "5e-4"),
        *("--schedule", "cosine", "--warmup-epochs", "5", "--augment", "flips"),
    ],
    "probe": lambda fraction: [
        *("--protocol", "probe", "--probe-batch-norm", "--epochs", "200", "--learning-rate", "1e-3"),
    ],
}
STARTS = ["scratch", "mae", "dino"]


def runs():
    """Name, beginning and options of each run, in the order of training."""
    for method, options in PRETRAIN.items():
        for seed in SEEDS:
            yield f"{method}-{seed}", None, ["pretrain", *options], seed
    for protocol, options in PROTOCOL.items():
        for start in STARTS:
            for fraction in EPOCHS:
                for seed in SEEDS:
                    begin = None if start == "scratch" else f"{start}-{seed}"
                    name = f"{start}-{protocol}-{fraction}-{seed}"
                    share = [] if fraction == "1" else ["--label-fraction", fraction]
                    yield name, begin, ["train", *options(fraction), *share], seed


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


def train(given, table, name, begin, options, seed):
    run = given.out / name
    done = run / "done"
    if done.exists():
        return
    if begin and not (given.out / begin / "done").exists():
        print(f"{name} is left out: {begin} is not complete")
        return
    machine = ["--workers", given.workers]
    verb = options[0]
    if (run / "config.json").exists():
        command = [given.program, verb, "--resume", run, *machine]
    else:
        init = ["--init", given.out / begin / "backbone.safetensors"] if begin else []
        size = ["--image-size", IMAGE_SIZE, "--normalisation", "data", "--seed", seed]
        words = options[1:2] if verb == "pretrain" else []
        rest = options[1 + len(words):]
        command = [given.program, verb, *words, table, "--out", run, *rest, *size, *init, *machine]
    timed(command, run / "cost.json")
    if verb == "train":
        for part in ["val", "test"]:
            subprocess.run([given.program, "evaluate", "--run", run, "--split", part, *map(str, machine)],
                           check=True, stdout=subprocess.DEVNULL)
    done.touch()


def spread(values):
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def finished(out, name):
    return (out / name / "done").exists()


def tables(out):
    titles = ["5 %", "10 %", "100 %"]
    print("\nBalanced accuracy on the test part, %: mean ± standard deviation over the seeds\n")
    print("| begins with | protocol |", " | ".join(f"{title} of the labels" for title in titles), "|")
    print("|---|---|---|---|---|")
    for protocol in PROTOCOL:
        for start in STARTS:
            cells = []
            for fraction in EPOCHS:
                names = [f"{start}-{protocol}-{fraction}-{seed}" for seed in SEEDS]
                reports = [out / name / "evaluation-test.json" for name in names if finished(out, name)]
                values = [json.loads(report.read_text())["balanced_accuracy"] for report in reports]
                cells.append(spread(values) if values else "not measured")
            print(f"| {start} | {protocol} |", " | ".join(cells), "|")
    print("\nProcessor minutes (wall-clock minutes) of a run, mean over the seeds\n")
    print("| run | minutes |")
    print("|---|---|")
    groups = {}
    for name, *_ in runs():
        if finished(out, name):
            groups.setdefault(name.rsplit("-", 1)[0], []).append(json.loads((out / name / "cost.json").read_text()))
    for group, costs in groups.items():
        processor = statistics.mean(cost["processor_seconds"] for cost in costs) / 60
        wall = statistics.mean(cost["seconds"] for cost in costs) / 60
        print(f"| {group} | {processor:.1f} ({wall:.1f}) |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--program", type=Path, default=Path("target/release/millsight-train"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of the names of runs to train")
    parser.add_argument("--tables", action="store_true", help="train nothing")
    given = parser.parse_args()
    given.program = given.program.resolve()
    given.out.mkdir(parents=True, exist_ok=True)
    table = given.data / "split.csv"
    if not table.exists():
        subprocess.run([given.program, "index", given.data], check=True)
        subprocess.run([given.program, "split", given.data / "index.csv"], check=True)
    if not given.tables:
        for only in given.only:
            for run in runs():
                if run[0].startswith(only):
                    train(given, table, *run)
    tables(given.out)


if __name__ == "__main__":
    main()
