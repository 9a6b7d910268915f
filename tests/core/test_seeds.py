from __future__ import annotations

import subprocess
import sys

import numpy as np

from fieldmark.core.seeds import generator, hash_seed


def test_different_parts_give_different_seeds() -> None:
    seeds = {
        hash_seed(1, 23),
        hash_seed(12, 3),
        hash_seed("1", 23),
        hash_seed(123),
        hash_seed("a", "b"),
        hash_seed("ab"),
    }
    assert len(seeds) == 6


def test_the_same_in_another_process() -> None:
    code = "from fieldmark.core.seeds import generator; print(generator(7, 'x').integers(0, 2**60))"
    other = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert other == int(generator(7, "x").integers(0, 2**60))


def test_the_global_generator_is_not_used() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the state of the global generator must not change
    generator(1).normal(size=10)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
