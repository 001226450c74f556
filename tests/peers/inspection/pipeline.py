#!/usr/bin/env python3
"""The line as a user would write it with NumPy, OpenCV and ONNX Runtime: rows of
tiles, corrected by a flat field, a screen that looks at all of them, a classifier for what it passes on.

    pip install -r requirements.txt
    python pipeline.py LINES FLAT_FIELD --classifier millsight-vit.onnx --screen screen.onnx

Reads drawn lines (bytes, line after line, whole rows of 512), goes through them
again and again until the time is over, and prints one line of JSON. Each thread
takes whole rows and owns its sessions, which use one thread each: on the
processor this is faster than threads within a session.
"""

import argparse
import json
import threading
import time

import cv2
import numpy as np
import onnxruntime

from flat_field import TILE, correction


class Network:
    """A model file with what its card says of it."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.card = json.loads(self.session.get_modelmeta().custom_metadata_map["millsight.card"])
        self.input = self.card["input"]
        if self.input["element"] != "u8" or self.input["channels"] != 1:
            raise SystemExit(f"{path}: a model that takes grey levels is needed")
        classes = self.card["classes"]
        self.clean = classes.index("no_defect")
        thresholds = self.card.get("thresholds", {})
        self.thresholds = {classes.index(name): value for name, value in thresholds.items()}

    def flagged(self, tiles):
        """Of which tiles, a list of arrays of levels, it says that there is a defect."""
        size = (self.input["width"], self.input["height"])
        if size != (TILE, TILE):
            tiles = [cv2.resize(tile, size, interpolation=cv2.INTER_AREA) for tile in tiles]
        (scores,) = self.session.run(None, {self.input["name"]: np.stack(tiles)[:, None]})
        if self.card["output"]["kind"] == "logits":
            temperature = (self.card.get("calibration") or {}).get("temperature", 1.0)
            scores = np.exp((scores - scores.max(1, keepdims=True)) / temperature)
            scores /= scores.sum(1, keepdims=True)
        flags = np.zeros(len(scores), bool)
        best = scores.argmax(1)
        for index in range(scores.shape[1]):
            if index != self.clean:
                threshold = self.thresholds.get(index)
                flags |= best == index if threshold is None else scores[:, index] >= threshold
        return flags


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", help="file of drawn lines")
    parser.add_argument("flat_field", help="JSON with dark, white and target")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--screen")
    parser.add_argument("--level", type=int, default=16, help="least level of the material")
    parser.add_argument("--share", type=float, default=0.02, help="least share of the material in a tile")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    correct = correction(given.flat_field)
    drawn = np.fromfile(given.lines, np.uint8).reshape(-1, TILE, given.width)
    enough = given.share * TILE * TILE
    sums = {"tiles": 0, "cleared": 0, "judged": 0, "flagged": 0}
    lock = threading.Lock()
    start = threading.Barrier(given.threads + 1)
    stop = threading.Event()

    def in_batches(network, tiles):
        flags = [network.flagged(tiles[first : first + given.batch]) for first in range(0, len(tiles), given.batch)]
        return np.concatenate(flags) if flags else np.zeros(0, bool)

    def work(number):
        classifier = Network(given.classifier)
        screen = given.screen and Network(given.screen)
        next_row = number
        for network in [classifier, *([screen] if screen else [])]:
            network.flagged([drawn[0][:, :TILE]] * given.batch)
        start.wait()
        while not stop.is_set():
            row = correct(drawn[next_row % len(drawn)])
            next_row += given.threads
            tiles = [row[:, column : column + TILE] for column in range(0, given.width, TILE)]
            seen = [tile for tile in tiles if np.count_nonzero(tile >= given.level) >= enough]
            passed = seen
            if screen:
                passed = [tile for tile, flag in zip(seen, in_batches(screen, seen)) if flag]
            flags = in_batches(classifier, passed)
            with lock:
                sums["tiles"] += len(tiles)
                sums["cleared"] += len(seen) - len(passed)
                sums["judged"] += len(passed)
                sums["flagged"] += int(flags.sum())

    threads = [threading.Thread(target=work, args=[number]) for number in range(given.threads)]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    time.sleep(given.seconds)
    stop.set()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    columns = given.width // TILE
    print(json.dumps({"lines_per_second": sums["tiles"] / columns * TILE / took, **sums}))


if __name__ == "__main__":
    main()
