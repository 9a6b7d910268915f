"""Photos with texture, drawn by chance, and the same seen from elsewhere."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

WIDTH, HEIGHT = 320, 240


def textured(seed: int) -> np.ndarray:
    """Blots of many sizes: (240, 320, 3), uint8."""
    rng = np.random.default_rng(seed)
    layers = []
    for blots in (6, 14, 30, 70):
        rough = rng.uniform(0, 255, (blots, blots * 4 // 3)).astype(np.uint8)
        layers.append(np.asarray(Image.fromarray(rough).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float))
    grey = np.mean(layers, axis=0)
    grey = (grey - grey.min()) / np.ptp(grey) * 255
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def seen_from(pixels: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """What a camera sees when each point x moves to ``homography @ x``."""
    back = np.linalg.inv(homography)
    picture = Image.fromarray(pixels).transform(
        (WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, (back / back[2, 2]).ravel()[:8].tolist(), Image.Resampling.BICUBIC
    )
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)))


def turned(*, degrees: float = 12.0, scale: float = 0.9, tilt: float = 0.0004) -> np.ndarray:
    """A homography that turns, shrinks and tilts about the middle of the picture."""
    to_middle = np.array([[1, 0, -WIDTH / 2], [0, 1, -HEIGHT / 2], [0, 0, 1.0]])
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    view = np.eye(3)
    view[:2, :2], view[2, 0] = turn, tilt
    return np.linalg.inv(to_middle) @ view @ to_middle
