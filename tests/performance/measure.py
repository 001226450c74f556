#!/usr/bin/env python3
"""How fast the line is. Runs the benchmarks one after another and prints tables for
docs/performance.md.

    cargo build --release -p millsight-runtime
    target/release/millsight engine install
    pip install -r tests/peers/inspection/requirements.txt
    python3 tests/performance/measure.py --python python3
    python3 tests/performance/measure.py --tables

What a benchmark said goes, with its command, into `results.json` beside this file.
With `--only NAME` a single one is measured again. Nothing else should run on the
machine: `line-rate` looks for the highest rate that is held.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


def plan(given):
    """Name and arguments of each benchmark."""
    python = ["--python", given.python]
    yield "ingest", ["ingest", *python]
    yield "peer", ["peer", *python]
    yield "engine", ["engine", *given.models]
    yield "line-rate", ["line-rate", "--engine", "onnxruntime", "--seconds", 600]
    yield "line-rate embedded", ["line-rate", "--engine", "embedded"]
    yield "line-rate without a screen", ["line-rate", "--no-screen", "--engine", "onnxruntime"]
    yield "burst", ["burst", "--engine", "onnxruntime"]
    yield "feed", ["feed"]
    yield "page", ["page", "--engine", "onnxruntime"]


def machine():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return "unknown"


def revision():
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return said.stdout.strip()


def measure(given):
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    for name, arguments in plan(given):
        if given.only and name not in given.only:
            continue
        command = [str(word) for word in [given.program, "bench", *arguments, "--json"]]
        print("+", *command, file=sys.stderr, flush=True)
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results[name] = {
            "command": "millsight " + " ".join(Path(word).name if os.sep in word else word for word in command[1:]),
            "machine": machine(),
            "git_revision": revision(),
            "said": json.loads(ended.stdout.splitlines()[-1]),
        }
        temporary = given.results.with_suffix(".tmp")
        temporary.write_text(json.dumps(results, indent=1) + "\n")
        temporary.replace(given.results)
    return results


def row(*cells):
    print("|", " | ".join(str(cell) for cell in cells), "|")


def header(*cells):
    print()
    row(*cells)
    row(*("---" for _ in cells))


def tables(results):
    titles = {
        "line-rate": "screen and classifier, ONNX Runtime",
        "line-rate without a screen": "classifier on every tile, ONNX Runtime",
        "line-rate embedded": "screen and classifier, embedded engine",
    }
    rates = {name: results[name]["said"] for name in titles if name in results}
    if rates:
        header("", "lines/s held", "at lines/s", "unjudged", "late", "p50, p95, p99, max ms", "cores", "MiB", "allocations/s")
        for name, said in rates.items():
            at, latency = said["at_rate"], said["at_rate"]["latency_ms"]
            row(
                titles[name], f"{said['held_lines_per_second']:,.0f}", f"{at['lines_per_second']:,.0f}",
                at["tiles"]["unjudged"], at["tiles"]["late"],
                ", ".join(f"{latency[part]:.1f}" for part in ["p50", "p95", "p99", "max"]),
                f"{at['cores_used']:.2f}", f"{at['rss_mb']:.0f}", f"{at['allocations_per_second']:.0f}",
            )
    if "ingest" in results:
        said = results["ingest"]["said"]
        header("before any network, one core", "lines/s", "ours is as fast")
        ours = said["lines_per_second_per_core"]
        row("ours", f"{ours:,.0f}", f"{said['of_the_camera']:.1f} × the camera")
        for name in ["opencv", "pillow"]:
            theirs = said[f"{name}_lines_per_second"]
            row(f"Python, {name}", f"{theirs:,.0f}", f"{ours / theirs:.1f} ×")
    if "peer" in results:
        said = results["peer"]["said"]
        header("the whole line, as fast as it can", "lines/s")
        row("ours", f"{said['lines_per_second']:,.0f}")
        row("Python", f"{said['python_lines_per_second']:,.0f}")
        row("ratio", f"{said['ratio']:.2f}")
    if "engine" in results:
        said = results["engine"]["said"]
        header("model", "engine", "precision", "at once", "tiles/s on one core", "million multiply-adds", "share of the peak")
        for one in said["engines"]:
            share = one["share_of_peak"]
            row(
                one["model"], f"{one['engine']} {one['version']}", one["precision"], one["batch"],
                f"{one['tiles_per_second']:,.0f}", f"{one['multiply_adds'] / 1e6:,.1f}",
                "unknown" if share is None else f"{share:.0%}".replace("%", " %"),
            )
    if "burst" in results:
        said = results["burst"]["said"]
        recovered = said["recovered_s"]
        header("two seconds of defects", "")
        row("tiles, unjudged at the end", f"{said['tiles']['total']:,}, {said['tiles']['unjudged']}")
        row("unjudged at a time, at most", f"{said['most_unjudged']:,}")
        row("until all were judged", "never" if recovered is None else f"{recovered:.1f} s")
    if "page" in results:
        said = results["page"]["said"]
        header("the queue of 100,000 flagged tiles, asked 1,000 times while lines come", "")
        row("answers, p50, p99, max ms", ", ".join(f"{said[part]:.1f}" for part in ["p50_ms", "p99_ms", "max_ms"]))
        row("not answered", said["failed"])
        for name, trial in [("the line meanwhile", said["used"]), ("the line by itself", said["alone"])]:
            tiles, p99 = trial["tiles"], trial["latency_ms"]["p99"]
            row(
                name, f"{trial['lines_per_second']:,.0f} lines/s, {tiles['unjudged']} unjudged, {tiles['late']} late, "
                f"{p99:.1f} ms p99, {trial['cores_used']:.2f} cores",
            )
    if "feed" in results:
        said = results["feed"]["said"]
        header("lines of another program through a socket, up to the network", "")
        row("lines/s, of as many", f"{said['lines_per_second']:,.0f}, {said['asked_lines_per_second']:,.0f}")
        row("MB/s", f"{said['bytes_per_second'] / 1e6:.0f}")
        row("cores", f"{said['cores']:.2f}")
        row("allocations, MiB", f"{said['allocations']:,}, {said['mib']}")
    header("benchmark", "command", "machine", "revision")
    for name, run in results.items():
        row(name, f"`{run['command']}`", run["machine"], run["git_revision"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("target/release/millsight"))
    parser.add_argument("--python", default=sys.executable, help="interpreter to compare with")
    parser.add_argument("--models", nargs="*", default=[], help="models for `engine`, instead of the shipped ones")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", help="names of benchmarks")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    given = parser.parse_args()
    tables(json.loads(given.results.read_text()) if given.tables else measure(given))


if __name__ == "__main__":
    main()
