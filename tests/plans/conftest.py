"""Fixtures for tests of several recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldmark.specimens.collections import draw_flukes
from once import Once


@pytest.fixture(scope="session")
def flukes(once: Once) -> Path:
    """Folder with drawn flukes of 24 individuals and of unknown individuals."""
    return once("flukes", lambda folder: draw_flukes(folder, n_identities=24, n_unknown=4, n_test=10, seed=5))
