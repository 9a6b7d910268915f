"""Prefetching and data loading: order, threads, memory and errors."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.core.errors import ImageError, ShapeError
from fieldmark.images.batches import PhotoSource
from fieldmark.images.prefetch import stream
from fieldmark.images.preprocess import prepare
from fieldmark.images.specs import BoxCrop, ImetAugment, Preprocess

SPEC = Preprocess(height_px=16, width_px=24)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    made = [folder / f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(7)]
    for path in made:
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return made


def order(n_batches: int = 5, batch: int = 4, n_items: int = 14) -> np.ndarray:
    return np.random.default_rng(1).integers(0, n_items, (n_batches, batch))


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_results_come_in_order(n_workers: int) -> None:
    def slow_for_even(job: int) -> int:
        time.sleep(0.01 * (job % 2 == 0))
        return job * job

    assert list(stream(range(12), slow_for_even, n_workers=n_workers, ahead=5)) == [job * job for job in range(12)]


def test_at_most_ahead_jobs_are_started() -> None:
    taken = []

    def jobs():
        for job in range(100):
            taken.append(job)
            yield job

    running = stream(jobs(), lambda job: job, n_workers=2, ahead=3)
    for n_used in range(1, 5):
        next(running)
        assert len(taken) <= n_used + 3
    running.close()


@pytest.mark.parametrize("n_workers", [0, 2])
def test_an_exception_is_raised_at_its_position(n_workers: int) -> None:
    def load(job: int) -> int:
        if job == 3:
            raise KeyError(job)
        return job

    got = []
    with pytest.raises(KeyError):
        got.extend(result for result in map_into(got, stream(range(9), load, n_workers=n_workers)))
    assert got == [0, 1, 2]


def map_into(got: list, results):
    for result in results:
        got.append(result)
        yield from ()


def test_closing_ends_all_threads_and_starts_no_more_jobs() -> None:
    begun, n_threads = [], threading.active_count()

    def load(job: int) -> int:
        begun.append(job)
        time.sleep(0.05)
        return job

    running = stream(range(1000), load, n_workers=2, ahead=8)
    next(running)
    started = time.perf_counter()
    running.close()
    assert time.perf_counter() - started < 1
    assert threading.active_count() == n_threads
    n_begun = len(begun)
    time.sleep(0.1)
    assert len(begun) == n_begun <= 6


def test_batches_are_the_same_for_any_number_of_threads(paths: list[Path]) -> None:
    source = PhotoSource(paths, SPEC, augment=ImetAugment(), seed=4)
    serial = list(source.batches(order(), epoch=2, n_workers=0))
    assert serial[0].shape == (4, 3, 16, 24)
    for n_workers in (1, 3):
        threaded = list(source.batches(order(), epoch=2, n_workers=n_workers))
        assert all(torch.equal(a, b) for a, b in zip(serial, threaded, strict=True))
    rest = list(source.batches(order(), epoch=2, n_workers=2, skip_batches=3))
    assert all(torch.equal(a, b) for a, b in zip(serial[3:], rest, strict=True))


def test_random_draws_depend_on_seed_epoch_and_position(paths: list[Path]) -> None:
    items = np.zeros(8, dtype=np.int64)
    source = PhotoSource(paths, SPEC, augment=ImetAugment(), seed=4)
    first = source.load(items, epoch=0, start=0)
    assert torch.equal(first[2:5], source.load(items[:3], epoch=0, start=2))
    assert len({picture.numpy().tobytes() for picture in first}) > 4
    assert not torch.equal(first, source.load(items, epoch=1, start=0))
    other = PhotoSource(paths, SPEC, augment=ImetAugment(), seed=5)
    assert not torch.equal(first, other.load(items, epoch=0, start=0))


def test_items_from_n_on_are_flipped(paths: list[Path]) -> None:
    source = PhotoSource(paths, SPEC)
    made = source.load(np.array([3, 3 + 7]), epoch=0, start=0)
    assert torch.equal(made[1], made[0].flip(2))
    assert torch.equal(made[0], prepare(paths[3], SPEC))
    assert torch.equal(
        source.load(np.arange(7, 14), epoch=0, start=0), source.load(np.arange(7), epoch=0, start=0).flip(3)
    )


def test_batches_may_be_of_different_length(paths: list[Path]) -> None:
    source = PhotoSource(paths, SPEC, augment=ImetAugment())
    ragged = [np.arange(4), np.arange(4, 7)]
    parts = torch.cat(list(source.batches(ragged, epoch=0, n_workers=2)))
    assert torch.equal(parts, source.load(np.arange(7), epoch=0, start=0))


def test_every_photo_has_its_own_box(paths: list[Path]) -> None:
    spec = Preprocess(height_px=16, width_px=24, crop=BoxCrop(margin=0.0))
    boxes = [(0.0, 0.0, 30.0, 20.0), None, *[(30.0, 20.0, 60.0, 40.0)] * 5]
    made = PhotoSource(paths, spec, boxes=boxes).load(np.arange(7), epoch=0, start=0)
    for at in (0, 1, 6):
        assert torch.equal(made[at], prepare(paths[at], spec, box=boxes[at]))


def test_unreadable_files_are_named(paths: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(paths[1].read_bytes()[:-40])  # the header is complete: only decoding fails
    with pytest.raises(ImageError) as refused:
        list(PhotoSource([*paths, cut], SPEC).batches([np.arange(8)], epoch=0, n_workers=2))
    assert "cut.jpg" in refused.value.got
    assert "truncated" in refused.value.problem


def test_wrong_counts_and_items_are_refused(paths: list[Path]) -> None:
    with pytest.raises(ShapeError) as refused:
        PhotoSource(paths, SPEC, boxes=[None])
    assert "boxes=None" in refused.value.fix
    with pytest.raises(ShapeError):
        PhotoSource([], SPEC)
    for items in ([14], [-1], []):
        with pytest.raises(ShapeError) as refused:
            PhotoSource(paths, SPEC).load(np.array(items, dtype=np.int64), epoch=0, start=0)
        assert "7 to 13" in refused.value.fix
