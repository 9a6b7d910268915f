"""Convert texts to character n-grams and words: features shared by texts, such as words or parts of codes."""

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
"""Number of hash buckets. A collision of two n-grams only weakens both."""
MAX_LETTERS = 200
START, END = "\x02", "\x03"
Sparse: TypeAlias = Any
"""A csr matrix of scipy; the type hints of scipy do not cover row selection and products."""
_WORD = re.compile(r"[^\W_]+")


def ngrams(texts: Sequence[str | None]) -> Sparse:
    """Return the character n-grams of length 2 to 5 and the words of each text.

    The start and the end of a text count as characters. Texts are compared in lower case and in Unicode form NFKC.
    N-grams of a single text or of all texts predict nothing and are dropped. Of n-grams that occur in exactly the
    same texts, such as parts of a common prefix, only one is kept.

    Args:
        texts: One text per photo; None is an empty text. Only the first 200 characters are used.

    Returns:
        (text, n-gram) matrix with 1 where a text has the n-gram.
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
    informative = np.flatnonzero((n_texts > 1) & (n_texts < len(plain)))
    # The sum of one random number per text identifies the set of texts that have an n-gram.
    drawn = generator("ngrams").integers(0, 2**63, size=len(plain), dtype=np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(drawn[runs.indices], dtype=np.uint64)])
    text_set = sums[runs.indptr[1:]] - sums[runs.indptr[:-1]]
    _, first = np.unique(text_set[informative], return_index=True)
    return csr_matrix(runs[:, informative[first]])


def _plain(text: str) -> str:
    return START + unicodedata.normalize("NFKC", readable(text, most=MAX_LETTERS)).casefold() + END
