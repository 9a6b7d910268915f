"""Training time per image: the whole network against its upper half, fp32 against bf16.

    OMP_NUM_THREADS=1 python benchmarks/training_cost.py

The network is EfficientNet-Lite0, channels last, with one thread and batches of 48. Forward pass, backward pass and one
step of AdamW are timed in CPU milliseconds per image, the best of four. "Upper half" starts from the features after the
stem and the first three block groups.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from fieldmark.models.backbone import split
from fieldmark.models.network import build
from fieldmark.models.specs import Backbone, EmbeddingHead, Net

LOWER = 4  # stem and three block groups
BATCH = 48


def cost_ms(height_px: int, width_px: int, *, upper_only: bool, half: bool) -> float:
    network = build(Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=EmbeddingHead()), n_classes=0, seed=0)
    backbone = network.backbone.to(memory_format=torch.channels_last).train()
    parts = split(backbone, LOWER if upper_only else 0)
    if parts is None:
        raise SystemExit("this backbone cannot be split")
    lower, upper = parts
    pictures = torch.randn(BATCH, 3, height_px, width_px).to(memory_format=torch.channels_last)
    with torch.no_grad():
        given: Tensor = lower(pictures)
    optimiser = torch.optim.AdamW(upper.parameters(), lr=1e-4)
    took = []
    for _ in range(5):
        began = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = upper(given).float().pow(2).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        took.append(time.process_time() - began)
    return min(took[1:]) / BATCH * 1000


def main() -> None:
    torch.set_num_threads(1)
    sizes = ((64, 128), (96, 192))
    print("| | " + " | ".join(f"{height} x {width} px" for height, width in sizes) + " |\n|---|---|---|")
    for name, upper_only, half in (
        ("whole network, fp32", False, False),
        ("whole network, bf16 autocast", False, True),
        ("upper half, fp32", True, False),
        ("upper half, bf16 autocast", True, True),
    ):
        cells = [f"{cost_ms(*size, upper_only=upper_only, half=half):.1f}" for size in sizes]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
