"""Tables of the documentation that are made from the code: settings of plans, columns, recipes, the map of rooms.

``python tests/docs/render.py`` rewrites them in README.md and docs/. Each stands between two comments:
``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from inspect import getdoc
from pathlib import Path
from typing import Any

from fieldmark.api.recipe_plans import recipes
from fieldmark.data.columns import SYNONYMS
from fieldmark.losses.specs import LOSSES
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import STAGES, Stage
from fieldmark.plans.common import TrainingSettings
from fieldmark.plans.recipe import RECIPES
from fieldmark.plans.settings import SettingInfo

SHELF = dict(RECIPES.items())

HOME = Path(__file__).parents[2]
ROOMS = (
    "cli api plans tasks stages pipeline quality training gallery stacking reporting downloads models losses images "
    "metrics decisions specimens data core"
)
"""From the doors down; the order of the import contracts."""

KINDS = {
    "folds": "PlainFolds StratifiedFolds IdentityFolds HumpbackSplit OpenSetSplit DisjointIdentities ByDate",
    "finders": "TableBoxes GrabCut FeatureNorm Agreed TrainedFinder",
    "crops": "FullFrame CropIfNeeded BoxCrop",
    "augmentations": "NoAugment ImetAugment ImaterialistAugment WhaleAugment",
    "weights": "PackageWeights FileWeights HubWeights RandomWeights",
    "heads": "SigmoidHead QuestionsHead OneVsRestHead CosineHead AffinityHead EmbeddingHead PairHead",
    "losses": (
        "Bce Focal SoftF Asymmetric QuestionSoftmax CrossEntropy Distilled OhemBce BatchHardTriplet Compactness "
        "LocalTriplet ArcFace CosFace SphereFace CombinedMargin Elastic Affinity PairBce PairTriplet"
    ),
    "samplers": "PlainSampler LogWeightSampler PkSampler TupleSampler AssignmentSampler",
    "solvers": "ExactAssignment NearestAssignment",
    "schedules": "Constant StepDown Plateau Cosine OneCycle",
    "votes": "ByLogits Best MeanTop Nearest SumAbove Centroid",
    "thresholds": "MaxMap TargetShare FalseMatchBudget Fixed",
    "probabilities": "Logistic Isotonic",
    "points": "Sift Akaze Xfeat Superpoint",
    "blends": "ByScore ByRank ByVote",
    "afterthoughts": "Swap Transposed",
    "beliefs": "ConfidentIdentity FewShot Agreement",
    "merging": "WeightedMean GeometricMean RankMean",
    "textmodels": "NGrams MiniLm",
    "noise": "Percentile Absolute RobustZ",
    "sureties": "MeanConfidence PlausibleConfidence",
    "amounts": "TopShare TopCount",
    "targets": "HardTargets SoftTargets",
    "thresholds": "Preset GlobalF2 GroupF2 LabelF2 Relative CountMatch",
}
"""Closed choices by ``kind``: the heading of plans.md that tells them, and their classes."""

PLACES = {
    "sureties": "guesses",
    "amounts": "guesses",
    "targets": "guesses",
    "solvers": "samplers",
    "beliefs": "pseudo_label_identities",
}
"""Headings under which several choices stand."""

LINKS = {
    "AnswerLayout": "[filled in by the stage](#heads)",
    "Net": "[a network](#networks)",
    "Backbone": "[a backbone](#networks)",
    "Preprocess": "[preprocessing](#preprocessing)",
    "Training": "[the training](#training)",
    "Phase": "[phase](#training)",
    "Vote": "[vote](#votes)",
    "LabelPseudoLabelRule": "[guesses](#guesses)",
    "Stacking": "[its settings](#stacking)",
    "LabelThreshold": "[threshold](#thresholds)",
    "TransferSearch": "[what is tried](#lend)",
    "Linear": "[its settings](#textmodels)",
    "BoxSource": "[a way to boxes](#crops)",
    "Align": "[landmarks](#landmarks-and-masks)",
    "Point": "[a landmark](#landmarks-and-masks)",
    "MaskChannel": "[a mask](#landmarks-and-masks)",
    "MarginByCount": "[one by photos](#margins)",
    "PerGroup": "[groups](#thresholds)",
    "Reciprocal": "[its settings](#votes)",
    "KeypointMatching": "[evidence](#recheck)",
    "IdentityStacking": "[its settings](#stack_identities)",
    "Tuning": "[a search](#stack_identities)",
    "IdentityPseudoLabelRule": "[its settings](#recruit)",
    **dict.fromkeys("Candidates Negatives TableColumns Relevance Trees".split(), "[settings](#stacking)"),  # noqa: SIM905
    **{
        name: f"[{word}](#{PLACES.get(heading, heading)})"
        for heading, word in {
            "folds": "folds",
            "finders": "a finder",
            "crops": "a crop",
            "augmentations": "an augmentation",
            "weights": "weights",
            "heads": "a head",
            "losses": "loss",
            "samplers": "a sampler",
            "solvers": "a solver",
            "schedules": "a schedule",
            "votes": "a way to score",
            "thresholds": "a threshold",
            "probabilities": "a curve",
            "points": "points",
            "blends": "a rule",
            "afterthoughts": "second thought",
            "beliefs": "a rule",
            "merging": "a rule",
            "textmodels": "a model",
            "noise": "a limit",
            "sureties": "a measure",
            "amounts": "an amount",
            "targets": "targets",
            "thresholds": "a rule",
        }.items()
        for name in KINDS[heading].split()
    },
}

MEANINGS = {
    "Split.folds": "Which photos judge.",
    "Backbone.name": "Any network of timm.",
    "Backbone.weights": "Where its pretrained weights come from.",
    "Backbone.in_channels": "Channels of the input: 3 for photos, 4 with a mask.",
    "Backbone.pool": "How the last feature map becomes one vector.",
    "Preprocess.height_px": "Height of the network's input.",
    "Preprocess.width_px": "Width of the network's input; flukes are about twice as wide as high.",
    "Preprocess.crop": "Which part of the photo is shown.",
    "Preprocess.mean": "Of each channel on the scale 0 to 1; subtracted.",
    "Preprocess.std": "Of each channel on the scale 0 to 1; divided by.",
    "Preprocess.interpolation": "How photos are resized.",
    "Preprocess.colour": "`grey`: colour is dropped, three equal channels remain.",
    "Preprocess.align": "Photos are moved so that their landmarks lie similar; null: they are not.",
    "Preprocess.mask": "A fourth channel that shows where the subject is; null: none.",
    "BoxSource.by": "Where boxes come from; `full` is the whole frame.",
    "BoxSource.weight": "How often training takes it, in proportion to the others.",
    "BoxSource.in_use": "Whether photos are looked at by it when the network is asked; several are averaged.",
    "Align.points": "The landmarks, three or more.",
    "Align.by": "Whose landmarks: the table's columns `x_NAME` and `y_NAME`, or those of a trained finder.",
    "Align.p": "Share of the samples that training with augmentation aligns.",
    "Align.jitter": "Training moves each landmark by up to this share of the target's sides.",
    "Align.in_use": "What the network is shown when it is asked; `both` are averaged.",
    "Point.name": "As in the columns of the table.",
    "Point.x": "Where the reference shape has it, as a share of the target's width.",
    "Point.y": "The same of its height.",
    "Point.mirror": "The landmark that it becomes in the mirrored photo; null: itself.",
    "MaskChannel.dropped": "Share of the samples whose mask training with augmentation leaves empty.",
    "MaskChannel.by": "Whose masks: the table's column `mask`, or a finder's.",
    "MarginByCount.coef": "The margin is `coef * photos ** power + floor`.",
    "MarginByCount.power": "At most 0: the more photos, the smaller.",
    "MarginByCount.floor": "What is asked of everybody.",
    "Training.betas": "Of Adam and AdamW.",
    "Training.weight_decay": "Pull of the weights towards 0.",
    "Vote.by": "How an identity is scored.",
    "Vote.weight": "Its weight among the votes.",
    "Stacking.candidates": "Which pairs of a photo and a label are judged.",
    "Stacking.negatives": "How many wrong pairs are learnt from.",
    "Stacking.features": "What is known of a pair.",
    "Stacking.trees": "The trees.",
    "LabelThreshold.at": "Labels with a higher probability are given.",
    "LabelThreshold.least": "The likeliest so many of the group are given in any case.",
    "LabelThreshold.most": "No more than so many of the group are given.",
    "Guesses.surety": "How sure the networks are of a photo.",
    "Guesses.amount": "How many of the surest photos join.",
    "Guesses.targets": "What is learnt from them.",
    "Guesses.most_per_label": "No label gets more photos than this.",
    "Guesses.cap_at": "What counts as a label there.",
}
"""What the docstrings of these classes leave to the reader."""


@cache
def schema() -> dict[str, Any]:
    """All settings of a plan: class name to JSON schema."""
    parts = {kind.__name__: kind.model_json_schema() for parts in (STAGES, LOSSES) for _, kind in parts.items()}
    return {**Plan.model_json_schema()["$defs"], **parts}


def plain(text: str) -> str:
    """A docstring's words as one line of Markdown, without roles and without numbers of our notes."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))
    text = re.sub(r"\s*\(T\d+\w?\)|, T\d+\w?(?=\))", "", text)
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def about(name: str) -> str:
    """What the class of that name is for: its docstring without the list of attributes and the source."""
    return plain(re.split(r"^(?:Attributes|Source):", schema()[name].get("description", ""), flags=re.MULTILINE)[0])


@cache
def meanings(name: str) -> dict[str, str]:
    """Field to meaning, from the docstring's list of attributes and :data:`MEANINGS`; a stage has its base's, too."""
    found: dict[str, str] = {}
    for told in (*(getdoc(base) or "" for base in reversed(bases(name))), schema()[name].get("description", "")):
        listed = told.partition("Attributes:")[2]
        for field, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, flags=re.MULTILINE):
            found[field] = plain(text)
    by_hand = {key.partition(".")[2]: text for key, text in MEANINGS.items() if key.startswith(f"{name}.")}
    return {**by_hand, **found}


@cache
def bases(name: str) -> tuple[type[Stage], ...]:
    """The classes of settings that a stage shares with others, the nearest first."""
    kinds_of = {kind.__name__: kind for _, kind in STAGES.items()}
    above = kinds_of[name].__mro__[1:] if name in kinds_of else ()
    return tuple(kind for kind in above if isinstance(kind, type) and issubclass(kind, Stage) and kind is not Stage)


def takes(field: dict[str, Any]) -> str:  # noqa: PLR0911 - one kind of field, one way out
    """What a setting takes, in words, from its JSON schema."""
    if "$ref" in field:
        return LINKS[field["$ref"].rpartition("/")[2]]
    if field.get("title") in LINKS and "properties" in field:
        return LINKS[field["title"]]
    if "oneOf" in field:
        return takes(field["oneOf"][0])
    if "anyOf" in field:
        return ", or ".join("`null`" if one.get("type") == "null" else takes(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "prefixItems" in field:
        return f"{len(field['prefixItems'])} x {takes(field['prefixItems'][0])}"
    if "items" in field:
        return f"list of {takes(field['items'])}"
    if field.get("type") == "object":
        return f"{takes(field['additionalProperties'])} for each group"
    return {"boolean": "`true`, `false`", "string": "text"}.get(field["type"]) or _number(field)


def _number(field: dict[str, Any]) -> str:
    word = "whole number" if field["type"] == "integer" else "number"
    least, most = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f"{word} {least:g} to {most:g}"
    limits = [f"at least {least:g}"] if least is not None else []
    limits += [f"above {above:g}"] if above is not None else []
    limits += [f"below {below:g}"] if below is not None else []
    limits += [f"at most {most:g}"] if most is not None else []
    return " ".join([word, " and ".join(limits)]).strip()


def default(name: str, field: str) -> str:
    """What holds if a setting is left out."""
    if field in schema()[name].get("required", ()):
        return "**needed**"
    value = schema()[name]["properties"][field].get("default")
    if value is None:
        return "`null`"
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    if isinstance(value, dict):
        return f"`{value['kind']}`" if "kind" in value else _told(name, field, value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        kinds_told = [one.get("kind") or one.get("by", {}).get("kind") for one in value]
        return ", ".join(f"`{kind}`" for kind in kinds_told) if all(kinds_told) else "its own"
    return f"`{json.dumps(value)}`"


def _told(name: str, field: str, value: dict[str, Any]) -> str:
    """A table of groups as it is typed; settings of their own are told where they stand."""
    return f"`{json.dumps(value)}`" if schema()[name]["properties"][field].get("type") == "object" else "its own"


def fields(name: str) -> list[str]:
    """The settings of a class, its own before those it shares with others, without the word that names it."""
    shared = [field for base in bases(name) for field in base.model_fields if field != "name"]
    found = [field for field in schema()[name]["properties"] if field not in {"kind"}]
    return sorted(found, key=shared.__contains__)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def settings(name: str) -> str:
    """Every setting of one class."""
    rows = []
    for field in fields(name):
        meaning = meanings(name).get(field, "Its name in the run folder." if field == "name" else "")
        rows.append((f"`{field}`", takes(schema()[name]["properties"][field]), default(name, field), meaning))
    return table(("setting", "takes", "if left out", "meaning"), rows)


def kinds(heading: str) -> str:
    """Every kind of one choice, with its settings."""
    rows = []
    for name in KINDS[heading].split():
        kind = schema()[name]["properties"]["kind"]["const"]
        told = [
            f"`{field}`: {takes(schema()[name]['properties'][field])} ({default(name, field)}){_meaning(name, field)}"
            for field in fields(name)
        ]
        rows.append((f"`{kind}`", about(name), "<br>".join(told) or "none"))
    return table(("kind", "what it does", "settings (default)"), rows)


def _meaning(name: str, field: str) -> str:
    """What the docstring says of a setting, behind what it takes."""
    meaning = meanings(name).get(field)
    return f": {meaning}" if meaning else ""


def shelf() -> str:
    """Every recipe, with its sizes."""
    rows = []
    for one in recipes():
        sizes = ", ".join(f"`{size}`" + (" (default)" if size == one.size else "") for size in one.sizes)
        rows.append((f"[`{one.name}`](#{one.name})", plain(one.about), sizes))
    return table(("recipe", "what it does", "sizes"), rows)


def settings_of(name: str) -> str:
    """The settings of a recipe by group, without those that every recipe has."""
    return _by_group(one for one in SHELF[name].settings.values() if one.name not in TrainingSettings.model_fields)


def shared_settings() -> str:
    """The settings that every recipe has that trains networks."""
    return _by_group(one for one in SHELF["tags-plain"].settings.values() if one.name in TrainingSettings.model_fields)


def _by_group(found: Iterable[SettingInfo]) -> str:
    rows = [
        (one.group, f"`{one.name}`", _coded(one.otherwise), plain(one.takes), plain(f"{one.about} {one.condition}"))
        for one in found
    ]
    return table(("group", "setting", "if left out", "takes", "what it does"), rows)


def _coded(text: str) -> str:
    return text if " " in text or text == "empty" else f"`{text}`"


def columns() -> str:
    """Our columns, and the names by which a table's own are recognised."""
    return table(("column", "recognised by"), ((f"`{ours}`", ", ".join(names)) for ours, names in SYNONYMS.items()))


def rooms() -> str:
    """The captions of all rooms, from the doors down."""
    package = HOME / "src" / "fieldmark"
    found = {path.parent.name: path for path in package.glob("*/__init__.py")}
    order = [*(room for room in ROOMS.split() if room in found), *sorted(set(found) - set(ROOMS.split()))]
    captions = ((room, ast.get_docstring(ast.parse(found[room].read_text(encoding="utf-8"))) or "") for room in order)
    return table(("room", "what it holds"), ((f"`{room}`", plain(caption)) for room, caption in captions))


PARTS = (
    "Net Backbone Preprocess BoxSource Align Point MaskChannel MarginByCount Training Phase Vote Reciprocal PerGroup "
    "Evidence IdentityStacking Tuning Recruits Guesses Threshold Stacking Candidates Negatives TableColumns Relevance "
    "Trees "
    "Lending Linear AnswerLayout"
)

SECTIONS: dict[str, Callable[[], str]] = {
    "rooms": rooms,
    "recipes": shelf,
    "shared settings": shared_settings,
    **{f"recipe {name}": partial(settings_of, name) for name in SHELF},
    "columns": columns,
    **{
        f"settings {name}": partial(settings, name)
        for name in [*(kind.__name__ for _, kind in STAGES.items()), *PARTS.split()]
    },
    **{f"kinds {heading}": partial(kinds, heading) for heading in KINDS},
}
"""Everything that is made from the code, by the name in its comments."""

_SECTION = re.compile(r"<!-- begin (?P<name>[^>]+?) -->\n(?P<text>.*?)<!-- end (?P=name) -->", re.DOTALL)


def sections(text: str) -> dict[str, str]:
    """The made parts of a page: name to what stands there now."""
    return {found["name"]: found["text"].strip() for found in _SECTION.finditer(text)}


def renewed(text: str) -> str:
    """A page with every part that is made here made anew."""

    def made(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- begin {name} -->\n\n{SECTIONS[name]()}\n\n<!-- end {name} -->" if name in SECTIONS else found[0]

    return _SECTION.sub(made, text)


def main() -> None:
    """Rewrite the made parts of every page that has some."""
    for page in (HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))):
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"renewed: {page.relative_to(HOME)}\n")


if __name__ == "__main__":
    main()
