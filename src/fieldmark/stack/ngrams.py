"""Texts as sparse rows: pieces of words and words in a row, told apart by a hash, rare ones weighing more."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.stack.specs import NGrams, Span

Sparse = Any
"""A ``scipy.sparse.csr_matrix``: its stubs take a part of one for something else, and it is loaded late."""

WORD = re.compile(r"\w+")


def counted(texts: Sequence[str], by: NGrams) -> Sparse:
    """How often each clue stands in each text; pieces of words first, then words.

    A list of known clues is not needed, as each stands at the place that its hash gives; two that share a place are
    one clue. A piece may begin or end with the blank beside its word: " re" is how a word begins.

    Args:
        texts: Anything; accents and capitals do not matter.
        by: Which clues are read.

    Source:
        Weinberger et al. 2009, arXiv:0902.2206, without signs; pieces as "char_wb" of scikit-learn, whose reader is
        not used because loading it takes longer than reading 50,000 texts.
    """
    from scipy.sparse import csr_matrix

    n_hashes = 2**by.bits
    kinds = [(kind, span) for kind, span in ((_pieces, by.characters), (_runs, by.words)) if span is not None]
    columns: list[int] = []
    ends = [0]
    for text in texts:
        words = WORD.findall(plain(text[: by.most_characters]))
        for number, (kind, span) in enumerate(kinds):
            first = number * n_hashes
            # A lone surrogate, as a broken file name brings along, has no bytes of its own.
            columns += [first + crc32(clue.encode("utf-8", "replace")) % n_hashes for clue in kind(words, span)]
        ends.append(len(columns))
    counts = csr_matrix(
        (np.ones(len(columns), np.float32), np.array(columns, np.int32), np.array(ends)),
        shape=(len(texts), len(kinds) * n_hashes),
    )
    counts.sum_duplicates()
    return counts


def plain(text: str) -> str:
    """In lower case, without accents, letters that look alike written alike.

    Example:
        >>> plain("Blé ＡＢ")
        'ble ab'
    """
    return "".join(one for one in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(one))


def _pieces(words: Sequence[str], span: Span) -> Iterator[str]:
    for word in words:
        padded = f" {word} "
        for length in range(span[0], span[1] + 1):
            for start in range(len(padded) - length + 1):
                yield padded[start : start + length]


def _runs(words: Sequence[str], span: Span) -> Iterator[str]:
    for length in range(span[0], span[1] + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


@dataclass(frozen=True, eq=False)
class Clues:
    """The clues that are worth learning from, and how much each is heard.

    Attributes:
        column: Their places among all hashes, rising.
        rarity: Large for clues that stand in few texts.
        n_hashes: Of each kind of clue.
    """

    column: Int64[np.ndarray, " clue"]
    rarity: Float32[np.ndarray, " clue"]
    n_hashes: int

    def __len__(self) -> int:
        return len(self.column)

    @classmethod
    def of(cls, counts: Sparse, by: NGrams) -> Clues:
        """The clues met in ``by.least`` of these texts or more; if too many, the most common."""
        n_texts = np.bincount(counts.indices, minlength=counts.shape[1])
        enough = np.flatnonzero(n_texts >= by.least)
        common = enough[np.argsort(-n_texts[enough], kind="stable")[: by.most]]
        column = np.sort(common)
        rarity = np.log((1 + counts.shape[0]) / (1 + n_texts[column])) + 1
        return cls(column.astype(np.int64), rarity.astype(np.float32), 2**by.bits)

    def table(self, counts: Sparse) -> Sparse:
        """One row a text of length 1, the pieces of words and the words each a like part; 0 without known clues."""
        from scipy.sparse import csr_matrix, diags, hstack

        known = counts[:, self.column]
        values = (1 + np.log(known.data)) * self.rarity[known.indices]
        weighed = csr_matrix((values.astype(np.float32), known.indices, known.indptr), shape=known.shape)
        kind = np.searchsorted(self.column, np.arange(self.n_hashes, counts.shape[1], self.n_hashes))
        parts: list[Sparse] = []
        for first, last in zip([0, *kind], [*kind, len(self)], strict=True):
            part: Sparse = weighed[:, first:last]
            length = np.sqrt(np.asarray(part.multiply(part).sum(axis=1)).ravel() * (len(kind) + 1))
            parts.append(diags(np.divide(1, length, out=np.zeros_like(length), where=length > 0)) @ part)
        return csr_matrix(hstack(parts, format="csr", dtype=np.float32))
