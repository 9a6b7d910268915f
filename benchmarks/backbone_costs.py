"""Write the table of computational costs of the backbones of all recipes, at every size.

    python benchmarks/backbone_costs.py

The script writes `src/fieldmark/models/costs.json`, which `fieldmark plan` reads, so that it does not need torch. Run
the script after a change of a recipe's backbone; a test fails until then.
"""

from __future__ import annotations

import json
from typing import get_args

from fieldmark.models.costs import TABLE
from fieldmark.models.counting import count
from fieldmark.plans.downloads_needed import backbones
from fieldmark.plans.recipe import RECIPES
from fieldmark.plans.sizes import Size

SHELF = dict(RECIPES.items())


def main() -> None:
    names = {one.name for recipe in SHELF.values() for size in get_args(Size) for one in backbones(recipe(size=size))}
    rows = {name: count(name).model_dump(mode="json") for name in sorted(names)}
    lines = [f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    TABLE.write_text('{"backbones": {\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
    print(f"{len(rows)} backbones: {TABLE}")


if __name__ == "__main__":
    main()
