#!/usr/bin/env python3
"""What a user would write with NumPy and OpenCV, or Pillow, before any network:
lines to corrected rows, material, and tiles in the size of a network.

    pip install -r requirements.txt
    millsight bench ingest --python python3

Reads drawn lines (bytes, line after line), goes through them again and again on
one thread until the time is over, and prints one line of JSON.
"""

import argparse
import json
import time

import numpy as np

TILE = 512


def with_opencv(flat, size):
    import cv2

    cv2.setNumThreads(1)
    dark = np.tile(np.rint(flat["dark"]).astype(np.uint8), (TILE, 1))
    gain = np.tile(gains(flat), (TILE, 1))

    def correct(rows):
        return cv2.multiply(cv2.subtract(rows, dark), gain, dtype=cv2.CV_8U)

    def bright(tile, level):
        return cv2.countNonZero(cv2.compare(tile, level, cv2.CMP_GE))

    def resize(tile):
        return cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA)

    return correct, bright, resize


def with_pillow(flat, size):
    from PIL import Image

    dark = np.rint(flat["dark"]).astype(np.int16)
    gain = gains(flat)

    def correct(rows):
        return np.clip(np.rint((rows - dark) * gain), 0, 255).astype(np.uint8)

    def bright(tile, level):
        return np.count_nonzero(tile >= level)

    def resize(tile):
        return np.asarray(Image.fromarray(tile).resize((size, size), Image.Resampling.BILINEAR))

    return correct, bright, resize


def gains(flat):
    return (flat["target"] / (np.asarray(flat["white"]) - np.asarray(flat["dark"]))).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", help="file of drawn lines")
    parser.add_argument("flat_field", help="JSON with dark, white and target")
    parser.add_argument("--with", dest="library", choices=["opencv", "pillow"], required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--size", type=int, required=True, help="pixels of the network's input")
    parser.add_argument("--level", type=int, required=True, help="least level of the material")
    parser.add_argument("--share", type=float, required=True, help="least share of the material in a tile")
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    drawn = np.fromfile(given.lines, np.uint8).reshape(-1, TILE, given.width)
    with open(given.flat_field) as file:
        flat = json.load(file)
    correct, bright, resize = {"opencv": with_opencv, "pillow": with_pillow}[given.library](flat, given.size)
    enough = given.share * TILE * TILE
    lines = tiles = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < given.seconds:
        rows = correct(drawn[lines // TILE % len(drawn)])
        lines += TILE
        batch = []
        for column in range(0, given.width, TILE):
            tile = rows[:, column : column + TILE]
            if bright(tile, given.level) >= enough:
                batch.append(resize(tile))
        if batch:
            tiles += len(np.stack(batch))
    took = time.perf_counter() - begin
    print(json.dumps({"lines_per_second": lines / took, "tiles": tiles}))


if __name__ == "__main__":
    main()
