#!/usr/bin/env python3
"""What a user would write with NumPy, OpenCV and Pillow before any network: lines
to corrected rows, material, and tiles in the size of a network.

    pip install -r requirements.txt
    millsight bench ingest --python python3

Reads drawn lines (bytes, line after line), goes through them again and again on
one thread until the time is over, and prints one line of JSON.
"""

import argparse
import json
import time

import cv2
import numpy as np

from flat_field import TILE, correction


def with_opencv(size):
    return lambda tile: cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA)


def with_pillow(size):
    from PIL import Image

    return lambda tile: np.asarray(Image.fromarray(tile).resize((size, size), Image.Resampling.BILINEAR))


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
    correct = correction(given.flat_field)
    resize = {"opencv": with_opencv, "pillow": with_pillow}[given.library](given.size)
    enough = given.share * TILE * TILE
    lines = tiles = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < given.seconds:
        rows = correct(drawn[lines // TILE % len(drawn)])
        lines += TILE
        batch = []
        for column in range(0, given.width, TILE):
            tile = rows[:, column : column + TILE]
            if np.count_nonzero(tile >= given.level) >= enough:
                batch.append(resize(tile))
        if batch:
            tiles += len(np.stack(batch))
    took = time.perf_counter() - begin
    print(json.dumps({"lines_per_second": lines / took, "tiles": tiles}))


if __name__ == "__main__":
    main()
