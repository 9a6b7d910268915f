"""Texts as sparse TF-IDF rows of character and word n-grams, by scikit-learn."""

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
"""A ``scipy.sparse.csr_matrix``; ``Any`` because its type stubs are incorrect and scipy is imported late."""
Analyser = Literal["char_wb", "word"]
"""scikit-learn's names for character n-grams within words and for words."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class NGramFeatures:
    """The n-grams used as side features, with their weights.

    Attributes:
        by: Settings.
        terms: The n-grams of each kind: first of characters, then of words.
        rarity: Inverse document frequency of each n-gram, one kind after the other; large if it is in few texts.
    """

    by: NGrams
    terms: tuple[tuple[str, ...], ...]
    rarity: Float32[np.ndarray, " side feature"]

    def __len__(self) -> int:
        return len(self.rarity)

    @classmethod
    def of(cls, texts: Sequence[str], by: NGrams) -> NGramFeatures:
        """Select the n-grams that are in at least ``by.least`` texts; of each kind the ``by.most`` most common.

        A character n-gram may include the blank beside its word: " re" is the beginning of a word. Accents and capitals
        are ignored.
        """
        read, terms, rarity = [readable(text, most=by.most_characters) for text in texts], [], []
        for kind, span in _kinds(by):
            reader = _reader(kind, span, min_df=by.least, max_features=by.most)
            try:
                reader.fit(read)
            except ValueError:  # raised if the texts contain no n-gram of this kind, or none often enough
                terms.append(())
                continue
            terms.append(tuple(reader.get_feature_names_out().tolist()))
            rarity.append(reader.idf_)
        return cls(by, tuple(terms), np.concatenate([*rarity, []]).astype(np.float32))

    def table(self, texts: Sequence[str]) -> Sparse:
        """Return one row of length 1 per text, with equal parts for characters and words; 0 without known n-grams."""
        from scipy.sparse import csr_matrix, hstack

        read = [readable(text, most=self.by.most_characters) for text in texts]
        parts: list[Sparse] = [reader.transform(read) for reader in self._readers]
        if not parts:
            return csr_matrix((len(texts), 0), dtype=np.float32)
        return csr_matrix(hstack(parts, format="csr", dtype=np.float32) / np.float32(np.sqrt(len(self.terms))))

    @cached_property
    def _readers(self) -> list[Any]:
        """One vectoriser for each kind with n-grams."""
        readers, first = [], 0
        for (kind, span), terms in zip(_kinds(self.by), self.terms, strict=True):
            if terms:
                reader = _reader(kind, span, vocabulary=terms)
                reader.idf_ = self.rarity[first : first + len(terms)]
                readers.append(reader)
            first += len(terms)
        return readers


def _kinds(by: NGrams) -> list[tuple[Analyser, Span]]:
    """Return the kinds of n-grams in use."""
    kinds: list[tuple[Analyser, Span | None]] = [("char_wb", by.characters), ("word", by.words)]
    return [(kind, span) for kind, span in kinds if span is not None]


def _reader(kind: Analyser, span: Span, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    common: dict[str, Any] = {"strip_accents": "unicode", "sublinear_tf": True, "dtype": np.float32, **options}
    if kind == "word":
        common |= {"tokenizer": _WORD.findall, "token_pattern": None}
    return TfidfVectorizer(analyzer=kind, ngram_range=span, **common)
