"""The public modules: every function accepts lists, numpy arrays, tensors and columns."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from jaxtyping import Float

import fieldmark
from fieldmark import assignment, calibration, folds, losses, metrics, near_duplicates, samplers, thresholding
from fieldmark.core.arrays import converted
from fieldmark.core.errors import FieldmarkError, PlanError, ShapeError
from fieldmark.core.public import exports

MODULES = ("losses", "samplers", "folds", "metrics", "thresholding", "assignment", "calibration")
PHOTOS = ("keypoints", "near_duplicates")

LOGITS = [[2.0, -1.0, 0.5, 0.25], [0.0, 1.5, -0.5, 0.25], [0.5, 0.5, 1.0, -2.0], [1.0, -1.0, 0.0, 0.5]]
COSINES = [[20.0, -10.0, 5.0, 2.0], [0.0, 15.0, -5.0, 2.0], [5.0, 5.0, 10.0, -20.0], [10.0, -10.0, 0.0, 5.0]]
CLASSES = [0, 1, 0, -1]
TRUTH = [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
UNIT = [[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]]
STRIPES = [[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [1.0, 0.0]], [[0.8, 0.6], [0.0, 1.0]], [[0.0, 1.0], [0.6, 0.8]]]
PROBA = [[0.9, 0.4, 0.1, 0.6], [0.2, 0.8, 0.3, 0.1], [0.7, 0.3, 0.6, 0.2], [0.1, 0.2, 0.3, 0.9]]
LABELS = [[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
SCORES = [[0.9, 0.2], [0.3, 0.8], [0.4, 0.3], [0.7, 0.1], [0.2, 0.25], [0.1, 0.9]]
NAMES = [0, 1, -1, 0, -1, 1]


def compare(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first - second).abs().float() - 1


def arrays(**values: Any) -> dict[str, Any]:
    return values


CALLS: dict[Callable[..., Any], tuple[dict[str, Any], dict[str, Any]]] = {
    losses.affinity: (arrays(logits=LOGITS, classes=CLASSES), {}),
    losses.aligned_distance: (arrays(stripes=STRIPES), {}),
    losses.arcface: (arrays(logits=COSINES, classes=CLASSES, margin=[0.1, 0.2, 0.3, 0.4]), {"scale": 30.0}),
    losses.asymmetric: (arrays(logits=LOGITS, truth=TRUTH), {}),
    losses.batch_hard_triplet: (arrays(embedding=UNIT, classes=CLASSES), {}),
    losses.bce: (arrays(logits=LOGITS, truth=TRUTH), {}),
    losses.combined: (arrays(logits=COSINES, classes=CLASSES), {"scale": 30.0}),
    losses.compactness: (arrays(embedding=UNIT, classes=CLASSES), {}),
    losses.cosface: (arrays(logits=COSINES, classes=CLASSES), {"scale": 30.0, "margin": 0.2}),
    losses.cross_entropy: (arrays(logits=LOGITS, classes=CLASSES), {"smoothing": 0.1}),
    losses.distilled: (arrays(logits=LOGITS, classes=CLASSES, taught=PROBA), {}),
    losses.elastic: (arrays(logits=COSINES, classes=CLASSES), {"scale": 30.0, "std": 0.0, "chance": torch.Generator()}),
    losses.focal: (arrays(logits=LOGITS, truth=TRUTH), {"gamma": 2}),
    losses.local_triplet: (arrays(stripes=STRIPES, classes=CLASSES), {}),
    losses.margins_by_count: (arrays(counts=[1, 5, 20]), {}),
    losses.ohem_bce: (arrays(logits=LOGITS, classes=CLASSES), {"hardest": 2}),
    losses.one_hot: (arrays(classes=CLASSES), {"n_classes": 3}),
    losses.pair_bce: (arrays(classes=CLASSES), {"compare": compare, "pairs": "all"}),
    losses.pair_triplet: (arrays(classes=CLASSES), {"compare": compare}),
    losses.question_softmax: (arrays(logits=LOGITS, truth=TRUTH, question_of=[0, 0, 1, 1]), {}),
    losses.soft_f: (arrays(logits=LOGITS, truth=TRUTH), {}),
    losses.sphereface: (arrays(logits=COSINES, classes=CLASSES), {"scale": 30.0}),
    losses.centre_spread: (arrays(centres=UNIT), {}),
    metrics.average_precision: (arrays(ranked=[[0, 1], [1, -1], [-1, 0]], truth=[1, 1, 0]), {}),
    metrics.calibration_error: (arrays(proba=[0.9, 0.4, 0.6], right=[1, 0, 1]), {}),
    metrics.error_per_question: (arrays(answer=[[0, 2], [1, 3]], truth=LABELS[:2], question_of=[0, 0, 1, 1]), {}),
    metrics.f_beta: (arrays(answer=LABELS, truth=LABELS[::-1]), {"beta": 2}),
    metrics.f_beta_per_image: (arrays(answer=LABELS, truth=LABELS[::-1]), {}),
    metrics.false_match_rate: (arrays(answer=[4, -1, 4], truth=[-1, -1, 4]), {}),
    metrics.false_rejection_rate: (arrays(answer=[4, -1, 4], truth=[-1, 2, 4]), {}),
    metrics.grouped_share_interval: (arrays(yes=[1, 0, 1, 1], groups=[0, 0, 1, 1]), {}),
    metrics.interval: (arrays(of=[0.5, 1.0, 0.0, 1.0], groups=[0, 0, 1, 1]), {}),
    metrics.map_at_k: (arrays(ranked=[[3, -1], [7, 5]], truth=[-1, 7]), {}),
    metrics.missed_identification_rate: (arrays(ranked=[[3, -1], [-1, 7], [2, -1]], truth=[3, 7, -1]), {}),
    metrics.reliability: (arrays(proba=[0.9, 0.4, 0.6], right=[1, 0, 1]), {}),
    metrics.roc_auc: (arrays(score=[0.9, 0.4, 0.6], known=[1, 0, 1]), {}),
    metrics.top_k: (arrays(ranked=[[3, -1], [7, 5]], truth=[-1, 7]), {}),
    metrics.false_discovery_rate: (arrays(answer=[4, -1, 4], truth=[-1, -1, 4]), {}),
    samplers.log_weights: (arrays(classes=[0, 0, 1, -1]), {}),
    folds.assign: (arrays(classes=[0, 0, 1, 1, -1, -1], groups=[0, 1, 2, 3, 4, 5]), {"n_folds": 2}),
    folds.describe: (arrays(fold=[0, 1, 0, 1], classes=[0, 0, 1, -1]), {}),
    folds.deviation: (arrays(fold=[0, 1, 0, 1], truth=LABELS), {}),
    folds.least_deviation: (arrays(truth=LABELS), {"n_folds": 2}),
    folds.splits: (arrays(fold=[0, 1, 0, -1]), {}),
    thresholding.find_label_thresholds: (arrays(proba=PROBA, truth=LABELS), {}),
    thresholding.find_unknown_threshold: (arrays(scores=SCORES, truth=NAMES), {"k": 2}),
    thresholding.unknown_threshold_curve: (arrays(scores=SCORES, truth=NAMES, at=[0.3, 0.5]), {}),
    thresholding.cross_fitted_unknown_thresholds: (arrays(scores=SCORES, truth=NAMES), {"k": 2}),
    assignment.identity_scores: (arrays(query=UNIT, gallery=UNIT, gallery_classes=CLASSES), {"by": "mean_top", "m": 2}),
    assignment.nearest_identities: (arrays(query=UNIT, gallery=UNIT, gallery_classes=CLASSES, own=[0, 1, 2, 3]), {}),
    assignment.rank: (arrays(scores=SCORES, unknown_at=[0.5, 0.5, 0.5, 0.8, 0.1, 0.2]), {"k": 2}),
    assignment.transfer_labels: (
        arrays(query=UNIT, gallery=UNIT, truth=LABELS, query_groups=[0, 1, 2, 3], gallery_groups=[0, 1, 2, 3]),
        {"k": 2},
    ),
    assignment.post_process: (arrays(scores=[[0.9, 0.8], [0.9, 0.1], [0.85, 0.8]]), {"unknown_at": 0.1}),
    calibration.fit_confidence: (arrays(scores=SCORES, truth=NAMES), {}),
    calibration.cross_fitted_confidence: (arrays(scores=SCORES, truth=NAMES), {"method": "isotonic"}),
    calibration.class_shares: (arrays(truth=LABELS, question_of=[0, 0, 1, 1]), {}),
    calibration.estimate_class_shares: (arrays(proba=[[0.6, 0.4], [0.2, 0.8]], have=[0.5, 0.5]), {}),
    calibration.recalibrate: (arrays(proba=[[0.6, 0.4]], have=[0.5, 0.5], want=[0.2, 0.8]), {}),
    near_duplicates.near_pairs: (arrays(hashes=[0, 1, 2**40, 3]), {"within": 2}),
}
"""Every public function with array arguments: its arrays by name, and its other arguments."""
NO_ARRAYS = {
    losses.ramp,
    metrics.share_interval,
    near_duplicates.phash,
    near_duplicates.phashes,
    near_duplicates.groups,
}
TESTED_BELOW = {thresholding.apply_label_thresholds}


def column(values: Any) -> Any:
    """Return a polars column, or a frame for a matrix."""
    array = np.asarray(values)
    if array.ndim == 1:
        return pl.Series(values)
    return pl.DataFrame({str(at): one for at, one in enumerate(array.T)}) if array.ndim == 2 else array


FORMS: dict[str, Callable[[Any], Any]] = {
    "numpy": np.asarray,
    "float32": lambda values: np.asarray(values, np.float32) if max(np.ravel(values)) < 2**24 else np.asarray(values),
    "torch": torch.tensor,
    "polars": column,
    "tuple": tuple,
}


def plain(value: Any) -> Any:  # noqa: PLR0911 - one return for each type
    """Return a result as nested lists and numbers, for comparisons."""
    if isinstance(value, torch.Tensor):
        return plain(value.detach().numpy())
    if isinstance(value, np.ndarray):
        return np.round(value.astype(float), 5).tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple) or inspect.isgenerator(value):
        return [plain(one) for one in value]
    return round(value, 5) if isinstance(value, float) else value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function", CALLS, ids=lambda one: one.__name__)
def test_every_function_accepts_arrays_of_any_form(function: Callable[..., Any], form: str) -> None:
    given, others = CALLS[function]
    expected = plain(function(**given, **others))
    assert expected not in (None, [], {})
    converted = {name: FORMS[form](values) for name, values in given.items()}
    assert np.array_equal(np.array(str(plain(function(**converted, **others)))), np.array(str(expected))), (
        "the result differs"
    )


@pytest.mark.parametrize("wrong", ["text", None, {"a": 1}, object()], ids=["text", "none", "mapping", "object"])
@pytest.mark.parametrize("function", CALLS, ids=lambda one: one.__name__)
def test_every_function_refuses_values_without_numbers(function: Callable[..., Any], wrong: object) -> None:
    given, others = CALLS[function]
    for name in given:
        optional = inspect.signature(function).parameters[name].default is None
        if wrong is None and (optional or function is samplers.log_weights):
            continue
        with pytest.raises(FieldmarkError):
            function(**{**given, name: wrong}, **others)


def test_every_public_function_is_tested_here() -> None:
    modules = [getattr(fieldmark, name) for name in (*MODULES, "near_duplicates")]
    functions = {
        getattr(module, name)
        for module in modules
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    }
    repeated = {calibration.calibration_error, calibration.reliability}
    assert functions - repeated - NO_ARRAYS - TESTED_BELOW == set(CALLS)


def test_every_loss_of_the_package_is_public() -> None:
    """A function that takes logits, embeddings, stripes or pairs of a batch and returns a scalar is a loss."""
    package = Path(losses.__file__ or "").parent
    found = set()
    for path in package.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                arguments = {one.arg for one in node.args.args}
                is_scalar = ast.unparse(node.returns) == "Float[Tensor, '']"
                if is_scalar and arguments & {"logits", "embedding", "stripes", "compare", "centres"}:
                    found.add(node.name)
    assert len(found) > 15
    assert found - {"total"} <= set(losses.__all__)


@pytest.mark.parametrize("name", [*MODULES, *PHOTOS])
def test_dir_lists_all_names_of_a_public_module(name: str) -> None:
    module = getattr(fieldmark, name)
    assert isinstance(module, ModuleType)
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, one).__doc__ for one in module.__all__)
    with pytest.raises(AttributeError, match=f"module 'fieldmark.{name}' has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("name", ["losses", "metrics"])
def test_no_module_of_a_public_package_hides_a_function(name: str) -> None:
    """An imported submodule would replace a function of the same name."""
    module = getattr(fieldmark, name)
    beside = {path.stem for path in Path(module.__file__).parent.glob("*.py")}
    assert not beside & set(module.__all__)


@pytest.mark.parametrize("name", [*MODULES, *PHOTOS])
def test_every_public_function_documents_its_errors(name: str) -> None:
    module = getattr(fieldmark, name)
    refers = {"average_precision", "describe", "f_beta_per_image", "log_weights", "margins_by_count", "ramp"}
    refers |= {"reliability", "centre_spread", "top_k"}
    functions = [getattr(module, one) for one in module.__all__ if inspect.isfunction(getattr(module, one))]
    assert [
        one.__name__ for one in functions if one.__name__ not in refers and "Raises:" not in (one.__doc__ or "")
    ] == []


def test_gradients_pass_the_conversion_of_arrays() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    losses.focal(logits, TRUTH).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0


def test_arrays_take_the_type_of_the_tensors_of_a_call() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    assert losses.bce(logits, np.asarray(TRUTH, np.float32)).dtype == torch.float64
    assert losses.bce(LOGITS, TRUTH).dtype == torch.float32


def test_numbers_of_the_wrong_type_are_reported() -> None:
    with pytest.raises(FieldmarkError, match=r"false_match_rate\(\) needs whole numbers for answer") as caught:
        metrics.false_match_rate(pl.Series([1, None]), [1, -1])
    assert "1 of 2 missing" in str(caught.value)
    with pytest.raises(FieldmarkError, match=r"f_beta\(\) needs truth values for answer") as caught:
        metrics.f_beta([[0.3]], [[1]])
    assert "proba > 0.5" in caught.value.fix
    with pytest.raises(ShapeError, match=r"f_beta\(\) needs answer with 2 axes: \(image, label\)"):
        metrics.f_beta([0, 1], [0, 1])
    with pytest.raises(ShapeError, match="rows of equal length"):
        metrics.f_beta([[0, 1], [1]], [[0, 1], [1, 1]])


def test_rankings_may_have_different_lengths() -> None:
    assert metrics.map_at_k([[3], [5, 7]], [3, 7]) == 0.75
    assert metrics.map_at_k(pl.Series([[3], [5, 7]]), pl.Series([3, 7])) == 0.75


def test_folds_accept_names_and_missing_values() -> None:
    names = ["a", "a", "b", "b", "unknown", None]
    numbers = [0, 0, 1, 1, -1, -2]
    for given in (names, pl.Series(names)):
        assert folds.assign(classes=given, n_folds=2).tolist() == folds.assign(classes=numbers, n_folds=2).tolist()
    grouped = folds.assign("plain", groups=["x", "x", None, None, "y", "y"], n_folds=2)
    assert grouped[0] == grouped[1]
    assert grouped[4] == grouped[5]
    (training, validation), _ = folds.splits(grouped)
    assert sorted([*training, *validation]) == list(range(6))


def test_folds_by_date_accept_days_in_any_form() -> None:
    days = pl.Series(["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04"])
    for given in (days, days.to_list(), days.str.to_date(), days.str.to_date().to_numpy()):
        assert folds.assign("by_date", dates=given, share=0.25).tolist() == [-1, -1, -1, 0]
    with pytest.raises(FieldmarkError, match="needs days"):
        folds.assign("by_date", dates=["yesterday"])


@pytest.mark.parametrize("strategy", folds.STRATEGIES)
def test_every_strategy_has_a_name(strategy: str) -> None:
    classes = np.repeat(np.arange(8), 3).tolist() + [-1] * 6
    days = [f"2024-05-{1 + row:02}" for row in range(30)]
    dates = days if strategy == "by_date" else None
    fold = folds.assign(strategy, classes=classes, dates=dates)
    assert len(fold) == 30
    assert fold.max() >= 0


def test_an_unknown_setting_of_a_rule_gives_an_error_with_its_settings() -> None:
    with pytest.raises(PlanError) as caught:
        thresholding.find_label_thresholds(PROBA, rule="relative", tims=3)
    assert caught.value.fix == "the settings with their defaults are: times=7.0."
    with pytest.raises(FieldmarkError, match="no rule of that name") as near:
        thresholding.find_label_thresholds(PROBA, LABELS, rule="gobal_f2")
    assert near.value.fix == "did you mean 'global_f2'?"


def test_label_thresholds_by_group_are_found_and_applied() -> None:
    groups = ["culture", "culture", "tag", "tag"]
    found = thresholding.find_label_thresholds(PROBA, LABELS, rule="group_f2", label_groups=groups, limits=False)
    assert set(found.groups) == {"culture", "tag"}
    given = thresholding.apply_label_thresholds(found, pl.DataFrame(PROBA, orient="row"), label_groups=groups)
    assert given.tolist() == np.asarray(LABELS, bool).tolist()
    with pytest.raises(ShapeError, match="group name of every label"):
        thresholding.apply_label_thresholds(found, PROBA, label_groups=["culture"])


def test_a_name_that_a_module_does_not_export_is_no_attribute() -> None:
    attribute, names = exports("fieldmark.example", {"map_at_k": "fieldmark.metrics.ranking"}, own=("own",))
    assert names() == ["map_at_k", "own"]
    assert attribute("map_at_k")([[1]], [1], k=1) == 1
    with pytest.raises(AttributeError, match=r"'fieldmark.example' has no attribute 'top_k'"):
        attribute("top_k")


def test_whole_numbers_become_floats_where_floats_are_expected() -> None:
    assert converted([1, 2], Float[np.ndarray, " row"], name="row", by="test").dtype == np.float64
    assert converted(np.float32([1, 2]), Float[np.ndarray, " row"], name="row", by="test").dtype == np.float32


def test_an_identity_counts_as_found_only_before_unknown() -> None:
    assert metrics.missed_identification_rate([[3, -1]], [3], k=2) == 0
    assert metrics.missed_identification_rate([[-1, 3]], [3], k=2) == 1


def test_photos_without_a_group_are_separate_groups() -> None:
    assert sorted(folds.assign("plain", groups=[None] * 4, n_folds=2).tolist()) == [0, 0, 1, 1]


def test_labels_of_the_same_group_are_not_transferred() -> None:
    own = {"query_groups": [0, 1, 2, 3], "gallery_groups": [0, 1, 2, 3]}
    with_own = assignment.transfer_labels(UNIT, UNIT, np.eye(4), k=1)
    without = assignment.transfer_labels(UNIT, UNIT, np.eye(4), k=1, **own)
    assert (with_own.argmax(axis=1) == np.arange(4)).all()
    assert (without.argmax(axis=1) != np.arange(4)).all()
