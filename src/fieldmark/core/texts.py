"""Cleaning of texts from files and tables, for display."""

from __future__ import annotations


def readable(text: str, *, most: int) -> str:
    r"""The first ``most`` characters of a text. Lone surrogates (from broken file names) become question marks.

    Example:
        >>> readable("caf\ud800 au lait", most=7)
        'caf? au'
    """
    return text[:most].encode("utf-8", "replace").decode()
