"""The symmetry test on simulated collections with a known answer, and compared with slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.gallery.symmetry import measure_symmetry

N, EACH, DIM = 40, 4, 64
CLASSES = np.repeat(np.arange(N), EACH)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def simulated(kept: float, *, seed: int = 0, scene: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Photos of individuals; a flipped photo keeps this share of its individual's direction.

    ``scene`` changes all flipped photos in the same way, as light from the other side would.
    """
    rng = np.random.default_rng(seed)
    individual, duplicate = rng.normal(size=(2, N, DIM))
    noise = rng.normal(size=(2, N * EACH, DIM))
    shift = scene * rng.normal(size=DIM)
    plain = individual[CLASSES] + 0.8 * noise[0]
    mirrored = kept * individual[CLASSES] + np.sqrt(1 - kept**2) * duplicate[CLASSES] + 0.8 * noise[1] + shift
    return unit(plain), unit(mirrored)


@pytest.mark.parametrize(("kept", "verdict", "lost"), [(0.0, "other", 1.0), (0.5, "other", 0.5), (1.0, "same", 0.0)])
@pytest.mark.parametrize("scene", [0.0, 0.25])
def test_planted_individuals(kept: float, verdict: str, lost: float, scene: float) -> None:
    found = measure_symmetry(*simulated(kept, scene=scene), CLASSES)
    assert found.verdict == verdict
    assert found.lost.value == pytest.approx(lost, abs=0.12)
    assert found.lost.low <= found.lost.value <= found.lost.high
    assert found.n_identities == N


def test_slow_loops_agree() -> None:
    plain, mirrored = simulated(0.3)
    classes = np.where(np.arange(len(CLASSES)) % 7 == 0, -1, CLASSES)
    groups = np.arange(len(CLASSES)) // 2  # neighbouring photos are of one encounter
    rows = []
    for name in range(N):
        mine = np.flatnonzero(classes == name)
        rest = np.flatnonzero((classes != name) & (classes >= 0))
        pairs = [(i, j) for i in mine for j in mine if groups[i] != groups[j]]
        if pairs:
            rows.append(
                [np.mean([plain[i] @ other[j] for i, j in pairs]) for other in (plain, mirrored)]
                + [np.mean([plain[i] @ other[j] for i in mine for j in rest]) for other in (plain, mirrored)]
            )
    same, same_mirrored, other, other_mirrored = np.mean(rows, axis=0)
    found = measure_symmetry(plain, mirrored, classes, groups=groups)
    assert (found.same, found.same_mirrored) == pytest.approx((same, same_mirrored), abs=1e-6)
    assert (found.other, found.other_mirrored) == pytest.approx((other, other_mirrored), abs=1e-6)
    assert found.lost.value == pytest.approx(1 - (same_mirrored - other_mirrored) / (same - other), abs=1e-5)
    assert found.own == pytest.approx(np.mean(np.sum(plain * mirrored, axis=1)[classes >= 0]), abs=1e-6)


def test_photos_of_one_encounter_mislead_unless_groups_are_given() -> None:
    """Pairs share the background and the individual; a flip changes the background only."""
    plain, _ = simulated(1.0)
    rng = np.random.default_rng(1)
    moment = np.repeat(rng.normal(size=(N * EACH // 2, DIM)), 2, axis=0)  # waves, the same in both photos
    individual = rng.normal(size=(N, DIM))[CLASSES]
    other_moment = rng.normal(size=(N * EACH, DIM))
    plain, mirrored = unit(individual + moment), unit(individual + other_moment)
    assert measure_symmetry(plain, mirrored, CLASSES).verdict == "other"
    assert measure_symmetry(plain, mirrored, CLASSES, groups=np.arange(N * EACH) // 2).verdict == "same"


def test_an_embedding_independent_of_flips_is_blind() -> None:
    plain, _ = simulated(1.0)
    assert measure_symmetry(plain, plain, CLASSES).verdict == "blind"


def test_few_individuals_are_unsure() -> None:
    plain, mirrored = simulated(0.93, seed=3)
    few = CLASSES < 6
    found = measure_symmetry(plain[few], mirrored[few], CLASSES[few])
    assert found.verdict == "unsure"
    assert found.lost.low < 0.1 < found.lost.high


def test_the_same_seed_gives_the_same_interval() -> None:
    plain, mirrored = simulated(0.5)
    one, again = (measure_symmetry(plain, mirrored, CLASSES, seed=4) for _ in range(2))
    assert one == again


PLAIN, MIRRORED = simulated(0.5)


@pytest.mark.parametrize(
    ("plain", "mirrored", "classes", "options", "error", "fix"),
    [
        (PLAIN, MIRRORED[:9], CLASSES, {}, ShapeError, "rows in the same order"),
        (PLAIN, MIRRORED, CLASSES[:9], {}, ShapeError, "-1 for unknown individuals"),
        (PLAIN, MIRRORED, CLASSES, {"groups": CLASSES[:3]}, ShapeError, "one entry per row"),
        (2 * PLAIN, MIRRORED, CLASSES, {}, ShapeError, ""),
        (PLAIN, MIRRORED, CLASSES, {"least": 0.0}, FieldmarkError, "least=0.1"),
        (PLAIN, MIRRORED, np.arange(len(PLAIN)), {}, FieldmarkError, "at least 5 individuals"),
        (PLAIN, MIRRORED, CLASSES, {"groups": CLASSES}, FieldmarkError, "of different groups"),
        (PLAIN, MIRRORED, np.tile(np.arange(N), EACH), {}, FieldmarkError, "separates these individuals"),
    ],
)
def test_invalid_inputs_are_refused(plain, mirrored, classes, options, error, fix: str) -> None:
    with pytest.raises(error) as refused:
        measure_symmetry(plain, mirrored, classes, **options)
    assert fix in refused.value.fix
