"""Makes the files of weights that `trainer/tests/weights.rs` reads.

One Vision Transformer (width 8, 2 blocks, patches of 2, images of 8 pixels) in
the layouts in which other programs keep it. All numbers are multiples of 1/64
below 2, so that half precision holds them exactly and every file gives the
arrays of `expected.safetensors`.

    pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    python make_weights.py
"""

from argparse import Namespace
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
WIDTH, DEPTH, PATCH, PATCHES, HIDDEN, CLASSES = 8, 2, 2, 16, 16, 3
numbers = torch.Generator().manual_seed(3)


def array(*shape):
    return torch.randint(-127, 128, shape, generator=numbers).float() / 64


def vit():
    """All parameters that any of the layouts has, with timm's names."""
    weights = {
        "cls_token": array(1, 1, WIDTH),
        "pos_embed": array(1, 1 + PATCHES, WIDTH),
        "patch_embed.proj.weight": array(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": array(WIDTH),
    }
    for block in range(DEPTH):
        for name, shape in {
            "norm1": (WIDTH,),
            "attn.qkv": (3 * WIDTH, WIDTH),
            "attn.proj": (WIDTH, WIDTH),
            "norm2": (WIDTH,),
            "mlp.fc1": (HIDDEN, WIDTH),
            "mlp.fc2": (WIDTH, HIDDEN),
        }.items():
            weights[f"blocks.{block}.{name}.weight"] = array(*shape)
            weights[f"blocks.{block}.{name}.bias"] = array(shape[0])
        weights[f"blocks.{block}.ls1.gamma"] = array(WIDTH)
        weights[f"blocks.{block}.ls2.gamma"] = array(WIDTH)
    for name, size in {"norm": WIDTH, "fc_norm": WIDTH}.items():
        weights[f"{name}.weight"], weights[f"{name}.bias"] = array(size), array(size)
    weights["head.weight"], weights["head.bias"] = array(CLASSES, WIDTH), array(CLASSES)
    return weights


def without(weights, *parts):
    return {name: value for name, value in weights.items() if not any(p in name for p in parts)}


def prefixed(prefix, weights):
    return {prefix + name: value for name, value in weights.items()}


def optimiser(parameter):
    """The state that AdamW keeps after a step, for one parameter."""
    parameter = torch.nn.Parameter(parameter.clone())
    adamw = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones_like(parameter)
    adamw.step()
    return adamw.state_dict()


def hugging_face(weights):
    """The names of transformers' Dinov2Model."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    renamed = {names[name]: value for name, value in weights.items() if name in names}
    for block in range(DEPTH):
        ours, theirs = f"blocks.{block}.", f"encoder.layer.{block}."
        for end in ("weight", "bias"):
            thirds = weights[f"{ours}attn.qkv.{end}"].chunk(3)
            for part, third in zip(("query", "key", "value"), thirds):
                renamed[f"{theirs}attention.attention.{part}.{end}"] = third.clone()
            for name, other in {
                "attn.proj": "attention.output.dense",
                "norm1": "norm1",
                "norm2": "norm2",
                "mlp.fc1": "mlp.fc1",
                "mlp.fc2": "mlp.fc2",
            }.items():
                renamed[f"{theirs}{other}.{end}"] = weights[f"{ours}{name}.{end}"]
        renamed[f"{theirs}layer_scale1.lambda1"] = weights[f"{ours}ls1.gamma"]
        renamed[f"{theirs}layer_scale2.lambda1"] = weights[f"{ours}ls2.gamma"]
    renamed["embeddings.mask_token"] = array(1, WIDTH)
    return renamed


def chunked(weights):
    """DINOv2's names of blocks in chunks of one: blocks.CHUNK.NUMBER."""
    def name(old):
        _, number, part = old.split(".", 2)
        return f"blocks.{number}.{number}.{part}"

    return {name(n) if n.startswith("blocks.") else n: value for n, value in weights.items()}


def mixed(weights):
    """The same numbers in other precisions, and as views into larger storages."""
    precisions = [torch.float16, torch.bfloat16, torch.float64, torch.float32]
    result = {}
    for index, (name, value) in enumerate(weights.items()):
        value = value.to(precisions[index % 4])
        if value.ndim == 2:
            value = value.t().contiguous().t()
        elif value.ndim == 1:
            value = torch.stack([array(len(value)).to(value), value], dim=1)[:, 1]
        result[name] = value
    assert any(not value.is_contiguous() for value in result.values())
    return result


weights = vit()
save_file(weights, HERE / "expected.safetensors")
plain = without(weights, ".ls1.", ".ls2.", "fc_norm", "head.")
scaled = without(weights, "fc_norm", "head.")
pooled = {name: weights[name] for name in weights if ".ls" not in name and name.split(".")[0] != "norm"}

decoder = {
    "mask_token": array(1, 1, 4),
    "decoder_pos_embed": array(1, 1 + PATCHES, 4),
    "decoder_embed.weight": array(4, WIDTH),
    "decoder_embed.bias": array(4),
    "decoder_blocks.0.norm1.weight": array(4),
    "decoder_norm.weight": array(4),
    "decoder_pred.weight": array(3 * PATCH * PATCH, 4),
}
args = Namespace(lr=1e-3, output_dir=Path("out"), device="cuda")
torch.save(
    {
        "model": plain | decoder,
        "optimizer": optimiser(plain["norm.bias"]),
        "epoch": 3,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
        "args": args,
    },
    HERE / "mae_pretraining.pth",
)
torch.save({"model": pooled, "epoch": 3}, HERE / "mae_fine_tuned.pth")

head = {
    "head.mlp.0.weight": array(4, WIDTH),
    "head.last_layer.weight_g": array(6, 1),
    "head.last_layer.weight_v": array(6, 4),
}
other = {name: value + 1 for name, value in plain.items()}
torch.save(
    {
        "student": prefixed("module.", prefixed("backbone.", other) | head),
        "teacher": prefixed("backbone.", plain) | head,
        "optimizer": optimiser(plain["norm.bias"]),
        "epoch": 3,
        "args": args,
        "dino_loss": {"center": array(1, 6)},
    },
    HERE / "dino_training.pth",
)
# As PyTorch before 1.6 wrote it.
torch.save(plain, HERE / "dino_backbone.pth", _use_new_zipfile_serialization=False)

dinov2 = chunked(scaled) | {"mask_token": array(1, WIDTH)}
torch.save(
    {"teacher": prefixed("backbone.", dinov2) | {"dino_head.mlp.0.weight": array(4, WIDTH)}},
    HERE / "dinov2_training.pth",
)
half = {name: value.half() for name, value in hugging_face(scaled).items()}
save_file(half, HERE / "dinov2_hugging_face.safetensors")

timm = without(weights, ".ls1.", ".ls2.", "fc_norm")
torch.save({"state_dict": prefixed("module.", mixed(timm)), "epoch": 3}, HERE / "timm_mixed.pth")

# One number that claims to be 300 million.
huge = torch.zeros(1).expand(1024, 3, 512, 192)
torch.save({"model": {"patch_embed.proj.weight": huge}}, HERE / "expanded.pth")
