"""The second level for individuals: boosted trees that judge candidates, each photo by trees that have not seen it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.core.errors import FieldmarkError, RunError, ShapeError
from fieldmark.core.files import read_json, sha256, write_json, write_text
from fieldmark.core.seeds import generator, hash_seed
from fieldmark.core.spec import parse
from fieldmark.stacking.specs import IdentityStacking, Trees
from fieldmark.stacking.trees import answers, grow, planted, put_right, thin

FORMAT = 1
META = "identity_trees.json"


@dataclass(frozen=True)
class IdentityTrees:
    """Trees of all parts, that judge candidates of new photos together.

    Attributes:
        by: Settings.
        names: Of the columns they read.
        trees: One LightGBM text a part.
        rates: Share of the wrong candidates that each learnt from.
    """

    by: IdentityStacking
    names: tuple[str, ...]
    trees: tuple[str, ...]
    rates: tuple[float, ...]

    def judge(
        self, table: Float32[np.ndarray, "rival column"], names: tuple[str, ...], *, n_threads: int = 1
    ) -> Float32[np.ndarray, " rival"]:
        """The probability of each candidate to be the right one: the mean over the parts' trees.

        Raises:
            ShapeError: The table has other columns than those they learnt from.
        """
        if names != self.names or table.shape[1:] != (len(names),):
            raise ShapeError(
                "These trees judge other columns.",
                got=f"{table.shape[1:]} columns: {', '.join(names)}",
                fix=f"describe candidates by {', '.join(self.names)}.",
            )
        proba = np.zeros(len(table), np.float32)
        for text, rate in zip(self.trees, self.rates, strict=True):
            proba += put_right(answers(planted(text), table, n_threads=n_threads), rate) / np.float32(len(self.trees))
        return proba

    def save(self, folder: Path) -> None:
        """Write a description and one text of trees a part into an existing folder."""
        files = {f"part-{one}.txt": text for one, text in enumerate(self.trees)}
        for name, text in files.items():
            write_text(folder / name, text)
        meta = {"kind": "identity_trees", "format": FORMAT, "by": self.by.model_dump(mode="json")}
        digests = {name: sha256(folder / name) for name in files}
        write_json(folder / META, {**meta, "names": list(self.names), "rates": list(self.rates), "sha256": digests})

    @classmethod
    def load(cls, folder: Path) -> IdentityTrees:
        """The trees that ``save`` wrote.

        Raises:
            RunError: They are not there, of another version, or damaged.
        """
        meta, fix = read_json(folder / META), "run the stage that trains the second level again."
        if not isinstance(meta, dict) or meta.get("kind") != "identity_trees" or meta.get("format") != FORMAT:
            raise RunError(f"{folder} holds no identity trees that this version reads.", got=str(meta)[:200], fix=fix)
        # LightGBM's reader trusts its text, so nothing is given to it that is not byte for byte what was written.
        wrong = [name for name, digest in meta["sha256"].items() if not _is(folder / name, digest)]
        if wrong:
            raise RunError(f"The identity trees in {folder} are damaged.", got=", ".join(wrong), fix=fix)
        by: IdentityStacking = parse(IdentityStacking, json.dumps(meta["by"]), name=str(folder / META))
        trees = tuple((folder / f"part-{one}.txt").read_text(encoding="utf-8") for one in range(len(meta["rates"])))
        return cls(by, tuple(meta["names"]), trees, tuple(meta["rates"]))


@dataclass(frozen=True)
class Grown:
    """What came of it.

    Attributes:
        proba: Of each candidate, by trees that learnt from other photos.
        trees: For new photos.
        importance: (column, share of all the gain), the weightiest first.
    """

    proba: Float32[np.ndarray, " rival"]
    trees: IdentityTrees
    importance: tuple[tuple[str, float], ...]


def grow_identity_trees(
    table: Float32[np.ndarray, "rival column"],
    right: Bool[np.ndarray, " rival"],
    part: Int[np.ndarray, " rival"],
    *,
    names: tuple[str, ...],
    by: IdentityStacking = IdentityStacking(),  # noqa: B008 - a frozen value
    seed: int = 0,
    n_threads: int = 1,
) -> Grown:
    """Learn which candidate is the right one, part by part.

    A nearest photo is a good first guess. Trees see more of it: whether the second and third photo agree, how far the
    next individual is behind, whether somebody with seventy photos is near to everybody. Unknown individuals teach too: all their
    candidates are wrong, so the probability of the best one tells whether the animal is known at all.

    Args:
        table: One row a photo and candidate, of photos that the networks have not seen (``GalleryStore.rivals`` refuses
            others).
        right: Whether the candidate is the photo's individual.
        part: Part of each row's photo: all rows of a photo, and of its copies, in one.
        names: Of the columns.
        by: Settings.
        seed: Of drawing wrong candidates, of the trees, and of the search for settings.
        n_threads: Threads of LightGBM.

    Raises:
        ShapeError: The arrays do not fit.
        FieldmarkError: There are fewer than two parts, or no candidate is right outside one of them.

    Source:
        Happywhale 2022, 7th place (T43). The difference in main directions: the Siamese source text, whose trees had
        seen their own photos.
    """
    if table.ndim != 2 or not right.shape == part.shape == table.shape[:1] or table.shape[1] != len(names):
        raise ShapeError(
            "Every candidate needs its numbers, a right or wrong, and a part.",
            got=f"table {table.shape}, right {right.shape}, part {part.shape}, {len(names)} names",
            fix="pass (rival, column), (rival,) and (rival,), and one name a column.",
        )
    several = np.unique(part)
    if len(several) < 2 or any(not right[part != one].any() for one in several):
        raise FieldmarkError(
            "The second level has too little to learn from.",
            got=f"{len(several)} part(s), {int(right.sum())} right candidates",
            fix="use more validation photos of known individuals (more folds), or a larger n_photos.",
        )
    proba, trees, rates = np.zeros(len(table), np.float32), [], []
    for one in several.tolist():
        others, mine = np.flatnonzero(part != one), np.flatnonzero(part == one)
        settings = by.trees
        if by.tuning is not None:
            from fieldmark.stacking.tuned_trees import tuned_trees

            settings = tuned_trees(
                table[others],
                right[others],
                part[others],
                by=by,
                seed=hash_seed(seed, "tuning", one),
                n_threads=n_threads,
            )
        text, rate = _grown(table[others], right[others], by, settings, seed=seed, one=one, n_threads=n_threads)
        proba[mine] = put_right(answers(planted(text), table[mine], n_threads=n_threads), rate)
        trees.append(text)
        rates.append(rate)
    gain = np.mean([_shares(text) for text in trees], axis=0)
    order = np.argsort(-gain, kind="stable").tolist()
    importance = tuple((names[column], float(gain[column])) for column in order)
    return Grown(proba, IdentityTrees(by, names, tuple(trees), tuple(rates)), importance)


def _grown(
    table: np.ndarray, right: np.ndarray, by: IdentityStacking, settings: Trees, *, seed: int, one: int, n_threads: int
) -> tuple[str, float]:
    kept, rate = thin(right, by.negatives, generator(seed, "rivals", one))
    text = grow(
        table[kept],
        right[kept],
        by=settings,
        categorical=[],
        seed=hash_seed(seed, "identity trees", one),
        n_threads=n_threads,
    )
    return text, rate


def _shares(text: str) -> np.ndarray:
    gain = planted(text).feature_importance("gain")
    return gain / max(gain.sum(), np.finfo(np.float64).tiny)


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest
