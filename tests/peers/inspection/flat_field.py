"""The flat field of a line camera with NumPy and OpenCV."""

import json

import cv2
import numpy as np

TILE = 512


def correction(path):
    """What corrects whole rows of tiles by a flat field, JSON with dark, white and target.

    Of several ways with NumPy or OpenCV the fastest that was found: products of 16
    bits, which OpenCV scales, rounds and limits in one pass.
    """
    cv2.setNumThreads(1)
    with open(path) as file:
        flat = json.load(file)
    dark, white = np.asarray(flat["dark"]), np.asarray(flat["white"])
    gain = np.rint(256 * flat["target"] / (white - dark)).astype(np.uint16)
    dark, gain = np.tile(np.rint(dark).astype(np.uint8), (TILE, 1)), np.tile(gain, (TILE, 1))

    def correct(rows):
        signal = cv2.subtract(rows, dark).astype(np.uint16)
        return cv2.multiply(signal, gain, scale=1 / 256, dtype=cv2.CV_8U)

    return correct
