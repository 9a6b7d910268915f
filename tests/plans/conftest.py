"""What tests of several recipes look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldmark.specimens.collections import draw_flukes


@pytest.fixture(scope="session")
def flukes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flukes")
    draw_flukes(folder, n_identities=24, n_strangers=4, n_test=10, seed=5)
    return folder
