"""Texts as sparse rows: pieces of words and words in a row, as scikit-learn reads them, rare ones weighing more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.core.texts import readable
from fieldmark.stacking.specs import NGrams, Span

Sparse = Any
"""A ``scipy.sparse.csr_matrix``: its stubs take a part of one for something else, and it is loaded late."""
Analyser = Literal["char_wb", "word"]
"""scikit-learn's names for pieces of words and for words."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class NGramFeatures:
    """The side features that are worth learning from, and how much each is heard.

    Attributes:
        by: What is read of a text.
        terms: The side features of each kind that is read, pieces of words before words in a row.
        rarity: Of each side feature, one kind after the other; large where it stands in few texts.
    """

    by: NGrams
    terms: tuple[tuple[str, ...], ...]
    rarity: Float32[np.ndarray, " side feature"]

    def __len__(self) -> int:
        return len(self.rarity)

    @classmethod
    def of(cls, texts: Sequence[str], by: NGrams) -> NGramFeatures:
        """The side features met in ``by.least`` of these texts or more; of each kind the ``by.most`` most common.

        A piece may begin or end with the blank beside its word: " re" is how a word begins. Accents and capitals do
        not matter.
        """
        read, terms, rarity = [readable(text, most=by.most_characters) for text in texts], [], []
        for kind, span in _kinds(by):
            reader = _reader(kind, span, min_df=by.least, max_features=by.most)
            try:
                reader.fit(read)
            except ValueError:  # so it says that the texts hold nothing of the kind, or nothing often enough
                terms.append(())
                continue
            terms.append(tuple(reader.get_feature_names_out().tolist()))
            rarity.append(reader.idf_)
        return cls(by, tuple(terms), np.concatenate([*rarity, []]).astype(np.float32))

    def table(self, texts: Sequence[str]) -> Sparse:
        """One row a text of length 1, the pieces of words and the words each a like part; 0 without known side features."""
        from scipy.sparse import csr_matrix, hstack

        read = [readable(text, most=self.by.most_characters) for text in texts]
        parts: list[Sparse] = [reader.transform(read) for reader in self._readers]
        if not parts:
            return csr_matrix((len(texts), 0), dtype=np.float32)
        return csr_matrix(hstack(parts, format="csr", dtype=np.float32) / np.float32(np.sqrt(len(self.terms))))

    @cached_property
    def _readers(self) -> list[Any]:
        """One for each kind of which there are side features."""
        readers, first = [], 0
        for (kind, span), terms in zip(_kinds(self.by), self.terms, strict=True):
            if terms:
                reader = _reader(kind, span, vocabulary=terms)
                reader.idf_ = self.rarity[first : first + len(terms)]
                readers.append(reader)
            first += len(terms)
        return readers


def _kinds(by: NGrams) -> list[tuple[Analyser, Span]]:
    """What is read."""
    kinds: list[tuple[Analyser, Span | None]] = [("char_wb", by.characters), ("word", by.words)]
    return [(kind, span) for kind, span in kinds if span is not None]


def _reader(kind: Analyser, span: Span, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    common: dict[str, Any] = {"strip_accents": "unicode", "sublinear_tf": True, "dtype": np.float32, **options}
    if kind == "word":
        common |= {"tokenizer": _WORD.findall, "token_pattern": None}
    return TfidfVectorizer(analyzer=kind, ngram_range=span, **common)
