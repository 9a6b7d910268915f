from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The builders of sample_pages.py, which is a script too."""
    return _script("sample_pages")


@pytest.fixture(scope="session")
def label_samples() -> ModuleType:
    """The builders of sample_label_pages.py."""
    return _script("sample_label_pages")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def real_flukes() -> Path:
    data = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared/data")) / "humpback2018_100px"
    if not data.exists():
        pytest.skip(f"the real photographs are not at {data}")
    return data
