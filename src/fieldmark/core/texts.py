"""Texts of any origin, made fit to be read."""

from __future__ import annotations


def readable(text: str, *, most: int) -> str:
    r"""The first ``most`` characters; a lone surrogate, as a broken file name brings along, becomes a question mark.

    Example:
        >>> readable("caf\ud800 au lait", most=7)
        'caf? au'
    """
    return text[:most].encode("utf-8", "replace").decode()
