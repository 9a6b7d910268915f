"""Texts as sets of short runs of letters: whatever a text has in common with others, whole words or parts of codes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_matrix, hstack

from fieldmark.core.seeds import generator
from fieldmark.core.texts import readable

LENGTHS = (2, 5)
N_FEATURES = 2**18
"""Two runs that fall together blur, and mislead nobody."""
MOST_LETTERS = 200
START, END = "\x02", "\x03"
Sparse: TypeAlias = Any
"""A csr matrix of scipy, whose own types know neither its rows nor its products."""
_WORD = re.compile(r"[^\W_]+")


def ngrams(texts: Sequence[str | None]) -> Sparse:
    """Which runs of 2 to 5 letters each text has, its start and its end among the letters, and which words.

    Case and the ways in which Unicode writes one and the same letter are not told apart. Runs of a single text and
    runs of all texts tell nothing of others and are left out; of runs that the very same texts have, as the letters of
    a common beginning, one stands for all.

    Args:
        texts: One a photo; None is an empty text. Only the first 200 letters count.

    Returns:
        (text, run) with 1 where a text has a run.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    if not texts:
        return csr_matrix((0, 0), dtype=np.float32)
    plain = [_plain(text or "") for text in texts]
    common: dict[str, Any] = {"n_features": N_FEATURES, "alternate_sign": False, "binary": True, "norm": None}
    pieces = HashingVectorizer(analyzer="char", ngram_range=LENGTHS, lowercase=False, dtype=np.float32, **common)
    words = HashingVectorizer(tokenizer=_WORD.findall, token_pattern=None, lowercase=False, dtype=np.float32, **common)
    runs: Sparse = hstack([pieces.transform(plain), words.transform(plain)], format="csc")
    n_texts = np.diff(runs.indptr)
    telling = np.flatnonzero((n_texts > 1) & (n_texts < len(plain)))
    # A run is known by who has it: the sum of random numbers, one a text, tells sets of texts apart.
    drawn = generator("ngrams").integers(0, 2**63, size=len(plain), dtype=np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(drawn[runs.indices], dtype=np.uint64)])
    of_whom = sums[runs.indptr[1:]] - sums[runs.indptr[:-1]]
    _, first = np.unique(of_whom[telling], return_index=True)
    return csr_matrix(runs[:, telling[first]])


def _plain(text: str) -> str:
    return START + unicodedata.normalize("NFKC", readable(text, most=MOST_LETTERS)).casefold() + END
