"""Second level for individuals: boosted trees that re-rank candidates, cross-fitted over parts of the photos."""

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
from fieldmark.stacking.trees import corrected, load_booster, predict_cells, sample_negatives, train_trees

FORMAT = 1
META = "identity_trees.json"


@dataclass(frozen=True)
class IdentityTrees:
    """Fitted trees of all parts; for new photos their predictions are averaged.

    Attributes:
        by: Settings.
        names: Names of the table columns.
        trees: One LightGBM model text per part.
        rates: Share of the wrong candidates that each part's trees were trained on.
    """

    by: IdentityStacking
    names: tuple[str, ...]
    trees: tuple[str, ...]
    rates: tuple[float, ...]

    def judge(
        self, table: Float32[np.ndarray, "candidate column"], names: tuple[str, ...], *, n_threads: int = 1
    ) -> Float32[np.ndarray, " candidate"]:
        """Return the probability of each candidate to be the correct one: the mean over the parts' trees.

        Raises:
            ShapeError: The table has other columns than in training.
        """
        if names != self.names or table.shape[1:] != (len(names),):
            raise ShapeError(
                "The table has other columns than the trees were trained on.",
                got=f"{table.shape[1:]} columns: {', '.join(names)}",
                fix=f"pass the columns {', '.join(self.names)}.",
            )
        proba = np.zeros(len(table), np.float32)
        for text, rate in zip(self.trees, self.rates, strict=True):
            proba += corrected(predict_cells(load_booster(text), table, n_threads=n_threads), rate) / np.float32(
                len(self.trees)
            )
        return proba

    def save(self, folder: Path) -> None:
        """Write a description and one model text per part into an existing folder."""
        files = {f"part-{one}.txt": text for one, text in enumerate(self.trees)}
        for name, text in files.items():
            write_text(folder / name, text)
        meta = {"kind": "identity_trees", "format": FORMAT, "by": self.by.model_dump(mode="json")}
        digests = {name: sha256(folder / name) for name in files}
        write_json(folder / META, {**meta, "names": list(self.names), "rates": list(self.rates), "sha256": digests})

    @classmethod
    def load(cls, folder: Path) -> IdentityTrees:
        """Load the trees that ``save`` wrote.

        Raises:
            RunError: They are missing, of another version, or damaged.
        """
        meta, fix = read_json(folder / META), "run the stage that trains the second level again."
        if not isinstance(meta, dict) or meta.get("kind") != "identity_trees" or meta.get("format") != FORMAT:
            raise RunError(f"{folder} has no identity trees that this version can read.", got=str(meta)[:200], fix=fix)
        # LightGBM's parser does not check its input, so it only gets files that are byte-identical to those written.
        wrong = [name for name, digest in meta["sha256"].items() if not _is(folder / name, digest)]
        if wrong:
            raise RunError(f"The identity trees in {folder} are damaged.", got=", ".join(wrong), fix=fix)
        by: IdentityStacking = parse(IdentityStacking, json.dumps(meta["by"]), name=str(folder / META))
        trees = tuple((folder / f"part-{one}.txt").read_text(encoding="utf-8") for one in range(len(meta["rates"])))
        return cls(by, tuple(meta["names"]), trees, tuple(meta["rates"]))


@dataclass(frozen=True)
class Grown:
    """Result of the training.

    Attributes:
        proba: Cross-fitted probability of each candidate: by trees trained on other photos.
        trees: The fitted trees, for new photos.
        importance: (column, share of the total gain), largest first.
    """

    proba: Float32[np.ndarray, " candidate"]
    trees: IdentityTrees
    importance: tuple[tuple[str, float], ...]


def grow_identity_trees(
    table: Float32[np.ndarray, "candidate column"],
    right: Bool[np.ndarray, " candidate"],
    part: Int[np.ndarray, " candidate"],
    *,
    names: tuple[str, ...],
    by: IdentityStacking = IdentityStacking(),  # noqa: B008 - a frozen value
    seed: int = 0,
    n_threads: int = 1,
) -> Grown:
    """Train trees that predict which candidate is the correct one, one model per part.

    The nearest photo is a good first prediction. Trees can use more: whether the second and third photo agree, how
    large the margin to the next individual is, and whether an individual has so many photos that it is near to
    everything. Unknown individuals are training data too. All their candidates are wrong, so the probability of the
    best one predicts whether the animal is known.

    Args:
        table: One row per photo and candidate, of photos that the networks were not trained on
            (``GalleryStore.candidate_features`` refuses others).
        right: Whether the candidate is the photo's individual.
        part: Part of each row's photo; all rows of a photo, and of its copies, must be in one part.
        names: Column names.
        by: Settings.
        seed: Random seed for drawing wrong candidates, for the trees, and for the search of settings.
        n_threads: Number of LightGBM threads.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: There are fewer than two parts, or no candidate is correct outside one of them.

    Source:
        Happywhale 2022, 7th place (T43). The difference in principal components: the Siamese source text, whose trees
        were trained on their own photos.
    """
    if table.ndim != 2 or not right.shape == part.shape == table.shape[:1] or table.shape[1] != len(names):
        raise ShapeError(
            "table, right and part must have one row per candidate, and names one entry per column.",
            got=f"table {table.shape}, right {right.shape}, part {part.shape}, {len(names)} names",
            fix="pass arrays of shape (candidate, column), (candidate,) and (candidate,).",
        )
    several = np.unique(part)
    if len(several) < 2 or any(not right[part != one].any() for one in several):
        raise FieldmarkError(
            "The second level has too little training data.",
            got=f"{len(several)} part(s), {int(right.sum())} correct candidates",
            fix="use more validation photos of known individuals (more folds), or a larger n_photos.",
        )
    proba, trees, rates = np.zeros(len(table), np.float32), [], []
    for one in several.tolist():
        others, held_out = np.flatnonzero(part != one), np.flatnonzero(part == one)
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
        proba[held_out] = corrected(predict_cells(load_booster(text), table[held_out], n_threads=n_threads), rate)
        trees.append(text)
        rates.append(rate)
    gain = np.mean([_shares(text) for text in trees], axis=0)
    order = np.argsort(-gain, kind="stable").tolist()
    importance = tuple((names[column], float(gain[column])) for column in order)
    return Grown(proba, IdentityTrees(by, names, tuple(trees), tuple(rates)), importance)


def _grown(
    table: np.ndarray, right: np.ndarray, by: IdentityStacking, settings: Trees, *, seed: int, one: int, n_threads: int
) -> tuple[str, float]:
    kept, rate = sample_negatives(right, by.negatives, generator(seed, "rivals", one))
    text = train_trees(
        table[kept],
        right[kept],
        by=settings,
        categorical=[],
        seed=hash_seed(seed, "identity trees", one),
        n_threads=n_threads,
    )
    return text, rate


def _shares(text: str) -> np.ndarray:
    gain = load_booster(text).feature_importance("gain")
    return gain / max(gain.sum(), np.finfo(np.float64).tiny)


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest
