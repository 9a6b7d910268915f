"""Near-duplicates are grouped by pixels, independent of the order of photos."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.duplicates.near_hashes import near
from fieldmark.quality.duplicates.same_pictures import same_pictures

N_PIXELS = 64


def unit(pixels: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1; rows without contrast stay zeros."""
    rows = pixels - pixels.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > 1e-9, rows / np.where(length > 1e-9, length, 1), 0).astype(np.float32)


def pictures(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, N_PIXELS))


def grouped(hashes: list[int], pixels: np.ndarray, shape=None, **settings) -> list[int]:
    rows = unit(pixels)
    shape = np.ones(len(hashes)) if shape is None else np.asarray(shape, float)
    found = same_pictures(near(np.array(hashes, np.uint64)), lambda some: rows[some], shape, **settings)
    return found.group.tolist()


def slow_groups(hashes: list[int], pixels: np.ndarray, shape: list[float], within: int = 6) -> list[int]:
    """Apply the rule in loops: cells inside a hash, all pairs across hashes, then connected components."""
    n = len(hashes)
    rows = pixels - pixels.mean(axis=1, keepdims=True)
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True))

    def agree(one: int, other: int) -> bool:
        ratio = max(shape[one] / shape[other], shape[other] / shape[one])
        return ratio <= 1.02 and float(((rows[one] - rows[other]) ** 2).mean()) <= 0.1

    def connected(links: list[tuple[int, int]]) -> list[int]:
        label = list(range(n))
        for _ in range(n):
            for one, other in links:
                label[one] = label[other] = min(label[one], label[other])
        return label

    cell = connected([(a, b) for a in range(n) for b in range(a) if hashes[a] == hashes[b] and agree(a, b)])
    links = [(a, b) for a in range(n) for b in range(n) if cell[a] == cell[b]]
    for a in range(n):
        for b in range(a):
            if hashes[a] != hashes[b] and (hashes[a] ^ hashes[b]).bit_count() <= within:
                across = [(x, y) for x in range(n) for y in range(n) if cell[x] == cell[a] and cell[y] == cell[b]]
                if all(agree(x, y) for x, y in across):
                    links.append((a, b))
    label = connected(links)
    order: dict[int, int] = {}
    return [order.setdefault(one, len(order)) for one in label]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_groups_equal_the_rule_in_loops_in_any_order(data) -> None:
    n = data.draw(st.integers(1, 9))
    base = pictures(data.draw(st.integers(0, 99)), 3)
    noise = (
        pictures(7, n)
        * np.array(data.draw(st.lists(st.sampled_from([0.0, 0.15, 0.22, 0.3]), min_size=n, max_size=n)))[:, None]
    )
    which = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    pixels = base[which] + noise
    hashes = data.draw(st.lists(st.sampled_from([0, 1, 3, 2**12 - 1, 2**6 - 1]), min_size=n, max_size=n))
    shape = data.draw(st.lists(st.sampled_from([1.0, 1.5, 1.51]), min_size=n, max_size=n))
    found = grouped(hashes, pixels, shape)
    assert found == slow_groups(hashes, pixels, shape)
    order = data.draw(st.permutations(range(n)))
    permuted = grouped([hashes[at] for at in order], pixels[order], [shape[at] for at in order])
    assert {frozenset(order[at] for at in range(n) if permuted[at] == one) for one in permuted} == {
        frozenset(at for at in range(n) if found[at] == one) for one in found
    }


def test_near_hashes_of_other_pictures_are_rejected_and_counted() -> None:
    pixels = unit(pictures(0, 3))
    pixels[2] = pixels[0]
    hashes = near(np.array([5, 4, 5], np.uint64))
    found = same_pictures(hashes, lambda rows: pixels[rows], np.ones(3))
    assert found.group.tolist() == [0, 1, 0]
    assert [rows.tolist() for rows in found.rows()] == [[0, 2]]
    assert (found.n_compared, found.n_different) == (3, 2)


def test_brightness_and_contrast_are_ignored_and_a_negative_is_not_a_copy() -> None:
    one = pictures(1, 1)
    assert grouped([8, 9, 8], np.concatenate([one, 3 * one + 40, -one])) == [0, 0, 1]


def test_pictures_with_another_aspect_ratio_are_different() -> None:
    same = np.repeat(pictures(2, 1), 3, axis=0)
    assert grouped([1, 1, 1], same, shape=[1.5, 1.51, 1.2]) == [0, 0, 1]


def test_uniform_pictures_are_grouped_only_as_copies() -> None:
    blank = np.zeros((4, N_PIXELS))
    assert grouped([0, 0, 0, 0], blank) == [0, 1, 2, 3]
    assert grouped([0, 0, 0, 0], blank, copies=[[1, 3]]) == [0, 1, 2, 1]


def test_only_photos_with_a_candidate_are_read() -> None:
    read: list[int] = []
    rows = unit(pictures(3, 5))

    def read_pixels(some: np.ndarray) -> np.ndarray:
        read.extend(some.tolist())
        return rows[some]

    same_pictures(near(np.array([1, 2**40 - 1, 3, 2**20 - 1 << 40, 2**63 - 1], np.uint64)), read_pixels, np.ones(5))
    assert sorted(read) == [0, 2]


def test_copies_alone_are_not_read() -> None:
    def never(rows: np.ndarray) -> np.ndarray:
        pytest.fail(f"read {rows}")

    found = same_pictures(near(np.array([4, 4, 9999], np.uint64)), never, np.ones(3), copies=[[0, 1]])
    assert found.group.tolist() == [0, 0, 1]


def test_no_photos_are_no_groups() -> None:
    found = same_pictures(near(np.zeros(0, np.uint64)), lambda rows: np.zeros((0, 1)), np.zeros(0))
    assert found.rows() == []


def test_a_missing_shape_is_rejected() -> None:
    with pytest.raises(ShapeError) as caught:
        grouped([1, 2], pictures(0, 2), shape=[1.0])
    assert "width / height" in caught.value.fix


def test_a_reader_that_omits_photos_is_rejected() -> None:
    with pytest.raises(ShapeError) as caught:
        same_pictures(near(np.array([1, 1], np.uint64)), lambda rows: np.zeros((1, 4)), np.ones(2))
    assert "(row, pixel)" in caught.value.fix


@pytest.mark.parametrize("max_difference", [-0.1, 2.5])
def test_invalid_differences_are_rejected(max_difference: float) -> None:
    with pytest.raises(FieldmarkError) as caught:
        grouped([1, 2], pictures(0, 2), max_difference=max_difference)
    assert "use 0.1" in caught.value.fix
