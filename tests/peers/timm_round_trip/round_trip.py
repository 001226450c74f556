#!/usr/bin/env python3
"""Weights go from other programs through millsight-train into timm.

    pip install -r requirements.txt
    cargo build --workspace
    python round_trip.py

A small Vision Transformer with random weights is written in the layouts of
timm, MAE, DINO, DINOv2 and Hugging Face's Dinov2Model. From each of these
files

1. `convert-weights` makes safetensors that timm loads with `strict=True`; the
   features must equal those of the original, and at another image size the
   positions those that the original program resamples;
2. `train --init` makes a network that learns a little and is exported; timm
   loads its best.safetensors with `strict=True`, and its logits must be those
   of the exported ONNX model, which `export` compares with the trainer's.

Prints one line for each layout; exit code 1 when anything differs.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

ROOT = Path(__file__).resolve().parents[3]
SIDE, OTHER_SIDE, PATCH, WIDTH, DEPTH, HEADS = 32, 48, 8, 48, 3, 4
CLASSES = ["no_defect", "cracks", "overfill"]


def network(side, scale, classes=0):
    return VisionTransformer(
        img_size=side,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        init_values=1.0 if scale else None,
        num_classes=classes,
    ).eval()


def random_weights(scale):
    weights = network(SIDE, scale).state_dict()
    return {
        name: torch.randn_like(value) * 0.1 + (1.0 if "norm" in name and "weight" in name else 0.0)
        for name, value in weights.items()
    }


# How the programs keep a network: the file of their weights.


def timm(weights, folder):
    path = folder / "timm.safetensors"
    save_file(weights, path)
    return path


def mae(weights, folder):
    decoder = {
        "mask_token": torch.randn(1, 1, 32),
        "decoder_pos_embed": torch.randn(1, 17, 32),
        "decoder_embed.weight": torch.randn(32, WIDTH),
        "decoder_embed.bias": torch.randn(32),
        "decoder_pred.weight": torch.randn(3 * PATCH * PATCH, 32),
    }
    path = folder / "mae.pth"
    args = argparse.Namespace(model="mae_vit", lr=1e-3)
    torch.save({"model": weights | decoder, "epoch": 5, "args": args}, path)
    return path


def dino(weights, folder):
    head = {"head.mlp.0.weight": torch.randn(32, WIDTH), "head.last_layer.weight_g": torch.ones(64, 1)}
    student = {f"module.backbone.{name}": torch.randn_like(v) for name, v in weights.items()}
    teacher = {f"backbone.{name}": value for name, value in weights.items()}
    path = folder / "dino.pth"
    torch.save({"student": student, "teacher": teacher | head, "epoch": 5}, path)
    return path


def dinov2(weights, folder):
    path = folder / "dinov2.pth"
    torch.save(weights | {"mask_token": torch.zeros(1, WIDTH)}, path)
    return path


def hugging_face(weights, folder):
    outside = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
        "attn.proj": "attention.output.dense",
    }
    renamed = {}
    for name, value in weights.items():
        block = ""
        if name.startswith("blocks."):
            _, number, name = name.split(".", 2)
            block = f"encoder.layer.{number}."
        if name.startswith("attn.qkv."):
            for part, third in zip(("query", "key", "value"), value.chunk(3)):
                end = name.removeprefix("attn.qkv.")
                renamed[f"{block}attention.attention.{part}.{end}"] = third.contiguous()
            continue
        for ours, theirs in outside.items():
            if name == ours or name.startswith(f"{ours}."):
                name = theirs + name.removeprefix(ours)
                break
        renamed[block + name] = value
    path = folder / "hugging_face.safetensors"
    save_file(renamed, path)
    return path


# How they resample positions for images of another size.


def resampled(weights, interpolate):
    positions = weights["pos_embed"]
    before, after = SIDE // PATCH, OTHER_SIDE // PATCH
    grid = positions[:, 1:].reshape(1, before, before, WIDTH).permute(0, 3, 1, 2)
    grid = interpolate(grid, before, after).permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([positions[:, :1], grid], dim=1)


def by_size(grid, before, after):
    """MAE's interpolate_pos_embed, and Dinov2Embeddings."""
    return F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)


def by_factor(grid, before, after):
    """interpolate_pos_encoding of DINO and DINOv2."""
    factor = (after + 0.1) / math.sqrt(before**2)
    return F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")


def by_timm(weights):
    return resample_abs_pos_embed(weights["pos_embed"], [OTHER_SIDE // PATCH] * 2)


LAYOUTS = [
    ("timm", timm, False, by_timm),
    ("MAE", mae, False, lambda weights: resampled(weights, by_size)),
    ("DINO", dino, False, lambda weights: resampled(weights, by_factor)),
    ("DINOv2", dinov2, True, lambda weights: resampled(weights, by_factor)),
    ("Hugging Face", hugging_face, True, lambda weights: resampled(weights, by_size)),
]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def difference(one, other):
    assert one.shape == other.shape, (one.shape, other.shape)
    return (one - other).abs().max().item()


@torch.no_grad()
def convert(program, file, weights, scale, positions, images):
    """Largest differences of features and of resampled positions."""
    out = file.with_suffix(".converted")
    run(program, "convert-weights", file, "--out", out)
    original, loaded = network(SIDE, scale), network(SIDE, scale)
    original.load_state_dict(weights, strict=True)
    loaded.load_state_dict(load_file(out), strict=True)
    features = difference(original(images), loaded(images))
    run(program, "convert-weights", file, "--out", out, "--image-size", OTHER_SIDE)
    larger = network(OTHER_SIDE, scale)
    larger.load_state_dict(load_file(out), strict=True)
    return features, difference(larger.pos_embed, positions(weights))


@torch.no_grad()
def train(program, verifier, file, scale, table, images, tolerance):
    """Largest difference of the logits of timm and of the exported model."""
    trained, model = file.with_suffix(".run"), file.with_suffix(".onnx")
    run(
        *(program, "train", table, "--out", trained, "--init", file),
        *("--image-size", SIDE, "--heads", HEADS),
        *("--epochs", 4, "--batch-size", 8, "--learning-rate", 2e-3, "--warmup-epochs", 0),
    )
    run(
        *(program, "export", "--run", trained, "--out", model, "--form", "normalised"),
        *("--tolerance", tolerance),
    )
    loaded = network(SIDE, scale, len(CLASSES))
    loaded.load_state_dict(load_file(trained / "best.safetensors"), strict=True)
    logits = loaded(images)
    assert logits.std() > 0.1, "the head has learnt nothing"
    reference = file.with_suffix(".reference")
    save_file({"input": images, "logits": logits}, reference)
    report = run(
        *(verifier, "--json", "verify", model, "--reference", reference),
        *("--tolerance", tolerance),
    )
    return json.loads(report)["max_abs"]


def tiles(program, folder):
    """Noise, brighter for each class."""
    numbers = np.random.default_rng(1)
    for index, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            levels = numbers.integers(60 + 40 * index, 100 + 40 * index, (SIDE, SIDE))
            Image.fromarray(levels.astype(np.uint8)).save(folder / name / f"{number}.png")
    run(program, "index", folder)
    run(program, "split", folder / "index.csv")
    return folder / "split.csv"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, default=ROOT / "target/debug")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    program = options.programs / "millsight-train"
    verifier = options.programs / "millsight-export"
    torch.manual_seed(0)
    images = torch.randn(8, 3, SIDE, SIDE)
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table = tiles(program, folder / "tiles")
        print(f"{'layout':14}{'features':>12}{'positions':>12}{'logits':>12}")
        for name, write, scale, positions in LAYOUTS:
            weights = random_weights(scale)
            file = write(weights, folder)
            figures = convert(program, file, weights, scale, positions, images)
            logits = train(program, verifier, file, scale, table, images, options.tolerance)
            print(f"{name:14}" + "".join(f"{figure:12.1e}" for figure in (*figures, logits)))
            wrong |= max(*figures, logits) > options.tolerance
    sys.exit(int(wrong))


if __name__ == "__main__":
    main()
