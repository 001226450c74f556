"""One training step of ViT-Tiny/16 at 224 in PyTorch, timed on demand.

    training_step.py WORKLOAD THREADS

For each line that comes on standard input, one step is computed and its
seconds are printed. At the end of the input the peak memory of the process is
printed, in MiB. The first step, which allocates, is done before any line is
read.

The workloads are those of main.rs. The networks are those of timm 1.0
(supervised), facebookresearch/mae and facebookresearch/dino, in f32, with one
liberty that favours PyTorch: attention is torch's fused
`scaled_dot_product_attention`, as in timm, where the two older repositories
write it out. Images are random, since no time depends on them; they lie in
memory as tiles do, as bytes of one channel, and are normalised in the step.
"""

import copy
import math
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

BATCH = 32
SIZE = 224
PATCH = 16
WIDTH = 192
DEPTH = 12
HEADS = 3
CLASSES = 5

# MAE: the share of masked patches, and a decoder in the proportions of the
# official ViT-Base, as `millsight-train pretrain mae` has it.
MASKED = 0.75
DECODER_WIDTH = 128
DECODER_DEPTH = 8
DECODER_HEADS = 4

# DINO: crops, projection head, temperatures and momenta of the official code;
# outputs of the recipe `dino-pretrained`.
LOCAL_CROPS = 4
LOCAL_SIZE = 96
OUTPUTS = 4096
HEAD_HIDDEN = 2048
HEAD_BOTTLENECK = 256
DROP_PATH = 0.1
CLIP = 3.0
STUDENT_TEMPERATURE = 0.1
TEACHER_TEMPERATURE = 0.04
CENTRE_MOMENTUM = 0.9
TEACHER_MOMENTUM = 0.996

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))


def drop_path(x, rate, training):
    if rate == 0 or not training:
        return x
    kept = x.new_empty(x.shape[0], 1, 1).bernoulli_(1 - rate)
    return x * (kept / (1 - rate))


class Block(nn.Module):
    def __init__(self, width, heads, drop=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.drop = drop

    def forward(self, x):
        x = x + drop_path(self.attn(self.norm1(x)), self.drop, self.training)
        mlp = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + drop_path(mlp, self.drop, self.training)


class Encoder(nn.Module):
    """Patches, class token, positions, blocks and the final norm."""

    def __init__(self, drop=0.0):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        patches = (SIZE // PATCH) ** 2
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + patches, WIDTH) * 0.02)
        rates = torch.linspace(0, drop, DEPTH).tolist()
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS, rate) for rate in rates)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def patches(self, images):
        return self.patch_embed(images).flatten(2).transpose(1, 2)

    def positions(self, patches):
        own = self.pos_embed.shape[1] - 1
        if patches == own:
            return self.pos_embed
        side, wanted = math.isqrt(own), math.isqrt(patches)
        grid = self.pos_embed[:, 1:].reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)
        scale = (wanted + 0.1) / side
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        grid = grid.permute(0, 2, 3, 1).reshape(1, patches, WIDTH)
        return torch.cat([self.pos_embed[:, :1], grid], 1)

    def forward(self, images):
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = x + self.positions(x.shape[1] - 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


def levels(count, size):
    return torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8)


def normalised(tiles):
    return (tiles.float() / 255 - MEAN) / STD


def groups(*modules):
    """Matrices decay, vectors do not."""
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1]},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def supervised():
    encoder, head = Encoder(), nn.Linear(WIDTH, CLASSES)
    optimiser = torch.optim.AdamW(groups(encoder, head), 1e-4, weight_decay=0.05)
    tiles, labels = levels(BATCH, SIZE), torch.arange(BATCH) % CLASSES

    def step():
        loss = F.cross_entropy(head(encoder(normalised(tiles))), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


class Mae(nn.Module):
    """facebookresearch/mae, models_mae.py, with per-patch normalisation."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.encoder.pos_embed.requires_grad = False
        self.decoder_embed = nn.Linear(WIDTH, DECODER_WIDTH)
        self.mask_token = nn.Parameter(torch.randn(1, 1, DECODER_WIDTH) * 0.02)
        tokens = self.encoder.pos_embed.shape[1]
        self.register_buffer("decoder_pos_embed", torch.randn(1, tokens, DECODER_WIDTH))
        self.decoder_blocks = nn.ModuleList(
            Block(DECODER_WIDTH, DECODER_HEADS) for _ in range(DECODER_DEPTH)
        )
        self.decoder_norm = nn.LayerNorm(DECODER_WIDTH, eps=1e-6)
        self.decoder_pred = nn.Linear(DECODER_WIDTH, PATCH * PATCH * 3)

    def forward(self, images):
        encoder = self.encoder
        x = encoder.patches(images) + encoder.pos_embed[:, 1:]
        n, patches, _ = x.shape
        keep = int(patches * (1 - MASKED))
        order = torch.rand(n, patches).argsort(1)
        back = order.argsort(1)
        kept = order[:, :keep, None].expand(-1, -1, WIDTH)
        x = x.gather(1, kept)
        mask = torch.ones(n, patches)
        mask[:, :keep] = 0
        mask = mask.gather(1, back)
        class_token = encoder.cls_token + encoder.pos_embed[:, :1]
        x = torch.cat([class_token.expand(n, -1, -1), x], 1)
        for block in encoder.blocks:
            x = block(x)
        x = self.decoder_embed(encoder.norm(x))
        fill = self.mask_token.expand(n, patches - keep, -1)
        all_patches = torch.cat([x[:, 1:], fill], 1)
        back = back[:, :, None].expand(-1, -1, DECODER_WIDTH)
        x = torch.cat([x[:, :1], all_patches.gather(1, back)], 1)
        x = x + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        predicted = self.decoder_pred(self.decoder_norm(x))[:, 1:]
        target = self.patchify(images)
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6) ** 0.5
        loss = ((predicted - target) ** 2).mean(-1)
        return (loss * mask).sum() / mask.sum()

    @staticmethod
    def patchify(images):
        side = SIZE // PATCH
        x = images.reshape(len(images), 3, side, PATCH, side, PATCH)
        return torch.einsum("nchpwq->nhwpqc", x).reshape(len(images), side * side, -1)


def mae():
    network = Mae()
    optimiser = torch.optim.AdamW(groups(network), 1e-4, (0.9, 0.95), weight_decay=0.05)
    tiles = levels(BATCH, SIZE)

    def step():
        loss = network(normalised(tiles))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


class Head(nn.Module):
    """facebookresearch/dino, vision_transformer.py, DINOHead."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, HEAD_HIDDEN),
            nn.GELU(),
            nn.Linear(HEAD_HIDDEN, HEAD_HIDDEN),
            nn.GELU(),
            nn.Linear(HEAD_HIDDEN, HEAD_BOTTLENECK),
        )
        self.weight_v = nn.Parameter(torch.randn(OUTPUTS, HEAD_BOTTLENECK) * 0.02)
        # `norm_last_layer`: the lengths of the rows stay 1.
        self.weight_g = nn.Parameter(torch.ones(OUTPUTS, 1), requires_grad=False)

    def forward(self, x):
        x = F.normalize(self.mlp(x), dim=-1)
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True))
        return F.linear(x, weight)


def dino():
    student = nn.ModuleList([Encoder(DROP_PATH), Head()])
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    for block in teacher[0].blocks:
        block.drop = 0.0
    optimiser = torch.optim.AdamW(groups(student), 1e-4, weight_decay=0.04)
    crops = [levels(BATCH, SIZE) for _ in range(2)]
    crops += [levels(BATCH, LOCAL_SIZE) for _ in range(LOCAL_CROPS)]
    centre = torch.zeros(1, OUTPUTS)

    def step():
        images = [normalised(crop) for crop in crops]
        large, small = torch.cat(images[:2]), torch.cat(images[2:])
        with torch.no_grad():
            targets = teacher[1](teacher[0](large))
        features = torch.cat([student[0](large), student[0](small)])
        outputs = (student[1](features) / STUDENT_TEMPERATURE).chunk(2 + LOCAL_CROPS)
        shares = ((targets - centre) / TEACHER_TEMPERATURE).softmax(-1).chunk(2)
        terms = [
            -(share * output.log_softmax(-1)).sum(-1).mean()
            for index, share in enumerate(shares)
            for view, output in enumerate(outputs)
            if view != index
        ]
        loss = sum(terms) / len(terms)
        centre.mul_(CENTRE_MOMENTUM)
        centre.add_(targets.mean(0, keepdim=True), alpha=1 - CENTRE_MOMENTUM)
        optimiser.zero_grad()
        loss.backward()
        for parameter in student.parameters():
            if parameter.grad is not None:
                scale = CLIP / (parameter.grad.norm() + 1e-6)
                if scale < 1:
                    parameter.grad.mul_(scale)
        optimiser.step()
        with torch.no_grad():
            for mean, parameter in zip(teacher.parameters(), student.parameters()):
                mean.mul_(TEACHER_MOMENTUM).add_(parameter, alpha=1 - TEACHER_MOMENTUM)
        return loss.item()

    return step


WORKLOADS = {"supervised": supervised, "mae": mae, "dino": dino}


def main():
    workload, threads = sys.argv[1:]
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    step = WORKLOADS[workload]()
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        step()
        print(time.perf_counter() - begin, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


if __name__ == "__main__":
    main()
