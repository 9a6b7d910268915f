"""Quicker products for the search in galleries, where the processor knows bfloat16."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from fieldmark.core.errors import ShapeError

ROUNDING = 2.0**-8
"""Largest share of a number that its rounding to bfloat16 changes."""


class BfloatProducts:
    """A function from queries to (photo, query) cosines and the largest error of each query's.

    Args:
        photos: One embedding a row, length 1; kept as a copy of half the size.

    Raises:
        ShapeError: ``photos`` is no matrix.

    Example:
        ``best_identities(query, gallery, classes, products=Products(BfloatProducts, ROUNDING))``

    Source:
        Ours. With a = a' + u and b = b' + v, where a' and b' are rounded, ab differs from a'b' by at most
        ``|u| |b| + |v| |a'|`` (Cauchy and Schwarz), and the lengths of u and v are measured.
    """

    def __init__(self, photos: Float32[np.ndarray, "photo dim"]) -> None:
        if photos.ndim != 2:
            raise ShapeError(
                "Photos must be a matrix of embeddings.", got=photos.shape, fix="pass one embedding a row."
            )
        self._photos, lost = _rounded(photos)
        self._lost = float(lost.max(initial=0))

    def __call__(
        self, query: Float32[np.ndarray, "query dim"]
    ) -> tuple[Float32[np.ndarray, "photo query"], Float32[np.ndarray, " query"]]:
        """How similar each photo is to each query, roughly; and the error before the result was rounded in its turn."""
        with torch.inference_mode():
            asked, lost = _rounded(query)
            cosine = (self._photos @ asked.T).to(torch.float32).numpy()
        # A hundredth more covers lengths a little above 1 and the summing in float32.
        return cosine, (1.01 * (self._lost + lost)).astype(np.float32) + np.float32(1e-5)


def _rounded(rows: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Rows in bfloat16, and the length of what each lost."""
    with torch.inference_mode():
        whole = torch.from_numpy(np.ascontiguousarray(rows))
        short = whole.to(torch.bfloat16)
        return short, torch.linalg.vector_norm(whole - short, dim=1).numpy()
