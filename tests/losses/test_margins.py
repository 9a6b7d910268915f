"""Margins: the papers' equations in slow loops, margin 0, cosines at 1 and -1, comparison with another library."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.margins import arcface, combined, cosface, elastic, margins_by_count, ramp
from fieldmark.losses.softmax import cross_entropy
from fieldmark.losses.specs import MarginByCount

SCALE = 30.0
CLASSES = torch.tensor([0, 2, -1, 4, 2, 5])


def cosines(seed: int, batch: int = 6, n_classes: int = 6) -> torch.Tensor:
    """Cosines of all sizes, also near 1 and -1."""
    drawn = torch.rand(batch, n_classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * drawn - 1).sign() * (1 - (1 - (2 * drawn - 1).abs()) ** 2) * 0.9999


def slow(cosine: torch.Tensor, classes: torch.Tensor, rule, *, flip_identity: bool = False) -> float:
    """Softmax cross-entropy, one exponential at a time, with ``rule`` of the true class's angle."""
    total, n_known, n_columns = 0.0, 0, cosine.shape[1]
    for number, (row, own) in enumerate(zip(cosine.tolist(), classes.tolist(), strict=True)):
        if own == -1:
            continue
        n_known += 1
        mirror = (own + n_columns // 2) % n_columns if flip_identity else None
        scores = {
            column: SCALE * (rule(math.acos(value), number) if column == own else value)
            for column, value in enumerate(row)
            if column != mirror
        }
        total += math.log(sum(math.exp(score - scores[own]) for score in scores.values()))
    return total / max(1, n_known)


def arc_rule(margin: float):
    def rule(angle: float, _number: int) -> float:
        if angle + margin <= math.pi:
            return math.cos(angle + margin)
        return math.cos(angle) - margin * math.sin(margin)

    return rule


def psi_rule(times: float, plus: float, minus: float):
    def rule(angle: float, _number: int) -> float:
        angle, dropped = times * angle + plus, 0.0
        while angle > math.pi:  # each half circle continues the last one, reflected
            angle, dropped = angle - math.pi, dropped + 2
        return math.cos(angle) - dropped - minus

    return rule


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([0.0, 0.2, 0.5, 1.2, 3.0]), st.booleans())
def test_arcface_is_the_papers_loop(seed: int, margin: float, flip: bool) -> None:
    cosine = cosines(seed)
    found = arcface(SCALE * cosine, CLASSES, scale=SCALE, margin=margin, flip_identity=flip)
    assert found.item() == pytest.approx(slow(cosine, CLASSES, arc_rule(margin), flip_identity=flip), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([1.0, 1.35, 4.0]), st.sampled_from([0.0, 0.4]), st.sampled_from([0, 0.15]))
def test_combined_is_the_papers_loop(seed: int, times: float, plus: float, minus: float) -> None:
    cosine = cosines(seed)
    found = combined(SCALE * cosine, CLASSES, scale=SCALE, times=times, plus=plus, minus=minus)
    assert found.item() == pytest.approx(slow(cosine, CLASSES, psi_rule(times, plus, minus)), rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 9999))
def test_cosface_is_the_papers_loop(seed: int) -> None:
    cosine = cosines(seed)
    found = cosface(SCALE * cosine, CLASSES, scale=SCALE, margin=0.35)
    assert found.item() == pytest.approx(slow(cosine, CLASSES, lambda angle, _: math.cos(angle) - 0.35), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("flip", [False, True])
def test_no_margin_is_cross_entropy(smoothing: float, flip: bool) -> None:
    logits, options = SCALE * cosines(1), {"smoothing": smoothing, "flip_identity": flip}
    expected = cross_entropy(logits, CLASSES, **options).item()
    chance = torch.Generator().manual_seed(0)
    for found in (
        arcface(logits, CLASSES, scale=SCALE, margin=0.0, **options),
        cosface(logits, CLASSES, scale=SCALE, margin=0.0, **options),
        combined(logits, CLASSES, scale=SCALE, times=1.0, plus=0.0, minus=0.0, **options),
        elastic(logits, CLASSES, scale=SCALE, margin=0.0, std=0.0, chance=chance, **options),
    ):
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_combined_has_the_others_as_its_parts() -> None:
    logits = SCALE * cosines(3).clamp(min=-0.5)  # below the angle from which the rules differ
    options = {"scale": SCALE}
    parts = combined(logits, CLASSES, times=1.0, plus=0.5, minus=0.0, **options)
    assert parts.item() == pytest.approx(arcface(logits, CLASSES, margin=0.5, **options).item(), rel=1e-6)
    parts = combined(logits, CLASSES, times=1.0, plus=0.0, minus=0.3, **options)
    assert parts.item() == pytest.approx(cosface(logits, CLASSES, margin=0.3, **options).item(), rel=1e-6)


def test_a_larger_margin_never_costs_less() -> None:
    """Also where the angle with its margin exceeds pi and the plain cosine would increase again."""
    angles = torch.linspace(0, math.pi, 400, dtype=torch.float64)
    logits = torch.stack([SCALE * torch.cos(angles), torch.zeros(400)], dim=1)
    zero = torch.zeros(400, dtype=torch.long)
    for loss in (
        lambda z: arcface(z, zero[:1], scale=SCALE, margin=0.5),
        lambda z: combined(z, zero[:1], scale=SCALE, times=4.0, plus=0.4, minus=0.15),
        lambda z: combined(z, zero[:1], scale=SCALE, times=1.35, plus=0.0, minus=0.0),
    ):
        costs = torch.stack([loss(logits[[i]]) for i in range(400)])
        assert (costs.diff() >= -1e-4).all()


@pytest.mark.parametrize("edge", [1.0, -1.0, 1.0000001, -1.0000001, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_the_edges_and_at_200(edge: float, dtype: torch.dtype) -> None:
    for scale in (30.0, 200.0):
        logits = (scale * torch.tensor([[edge, -edge, 1.0, -1.0]] * 4)).to(dtype).requires_grad_()
        classes, chance = torch.tensor([0, 1, 2, -1]), torch.Generator().manual_seed(0)
        value = (
            arcface(logits, classes, scale=scale, margin=0.5, flip_identity=True)
            + cosface(logits, classes, scale=scale, smoothing=0.1, flip_identity=True)
            + combined(logits, classes, scale=scale, times=4.0)
            + elastic(logits, classes, scale=scale, chance=chance)
        )
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert not logits.grad[3].any()  # an unknown individual has no gradient


def test_gradients_through_unit_vectors_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(5)
    feature = torch.randn(4, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    directions = torch.nn.functional.normalize(torch.randn(6, 8, generator=generator, dtype=torch.float64), dim=1)
    classes = torch.tensor([0, 1, 5, 3])

    def value(feature: torch.Tensor) -> torch.Tensor:
        logits = SCALE * torch.nn.functional.normalize(feature, dim=1) @ directions.T
        return arcface(logits, classes, scale=SCALE) + combined(logits, classes, scale=SCALE, times=1.35)

    assert torch.autograd.gradcheck(value, (feature,))


def test_the_mirror_of_the_own_class_gets_no_gradient_and_all_others_do() -> None:
    logits = (SCALE * cosines(2)).requires_grad_()
    arcface(logits, CLASSES, scale=SCALE, flip_identity=True).backward()
    assert logits.grad is not None
    mirror = torch.tensor([3, 5, -9, 1, 5, 2])
    for row, (own, duplicate) in enumerate(zip(CLASSES.tolist(), mirror.tolist(), strict=True)):
        moved = logits.grad[row] != 0
        expected = torch.tensor([own != -1 and column != duplicate for column in range(6)])
        assert torch.equal(moved, expected)


def test_margins_of_single_images() -> None:
    cosine, margins = cosines(4), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.0])
    found = arcface(SCALE * cosine, CLASSES, scale=SCALE, margin=margins)
    expected = slow(cosine, CLASSES, lambda angle, row: arc_rule(margins[row].item())(angle, row))
    assert found.item() == pytest.approx(expected, rel=1e-5)
    found = cosface(SCALE * cosine, CLASSES, scale=SCALE, margin=margins)
    expected = slow(cosine, CLASSES, lambda angle, row: math.cos(angle) - margins[row].item())
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_rare_classes_get_larger_margins() -> None:
    margins = margins_by_count(torch.tensor([0, 1, 2, 73]), MarginByCount())
    assert margins.tolist() == pytest.approx(
        [0.32126, 0.32126, 0.27126 * 2**-0.364399 + 0.05, 0.27126 * 73**-0.364399 + 0.05], rel=1e-5
    )
    flat = margins_by_count(torch.tensor([1, 50]), MarginByCount(coef=0.3, power=0.0, floor=0.1))
    assert flat.tolist() == pytest.approx([0.4, 0.4])


def test_the_warm_up_starts_at_a_fifth_and_ends_at_1() -> None:
    assert [ramp(done, 0.5) for done in (0.0, 0.125, 0.25, 0.5, 0.9)] == pytest.approx([0.2, 0.4, 0.6, 1.0, 1.0])
    assert ramp(0.0, 0.0) == 1.0


@pytest.mark.parametrize("form", ["arc", "cos"])
def test_elastic_margins_are_drawn_about_their_mean_and_repeat(form: str) -> None:
    logits, classes = SCALE * cosines(0, 500), torch.arange(500) % 6
    same = [
        elastic(logits, classes, scale=SCALE, chance=torch.Generator().manual_seed(seed), form=form).item()
        for seed in (1, 1, 2)
    ]
    assert same[0] == same[1] != same[2]
    loss = arcface if form == "arc" else cosface
    assert same[0] == pytest.approx(loss(logits, classes, scale=SCALE, margin=0.3).item(), rel=0.02)


def test_all_unknown_cost_nothing() -> None:
    logits = (SCALE * cosines(0)).requires_grad_()
    value = arcface(logits, torch.full((6,), -1), scale=SCALE)
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()  # type: ignore[union-attr]


def test_another_library_agrees() -> None:
    """pytorch-metric-learning stores the centres in the loss and takes degrees; with both matched, values are equal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        losses = pytest.importorskip("pytorch_metric_learning.losses", reason="needs the extra 'bench'")
    generator = torch.Generator().manual_seed(7)
    feature = torch.nn.functional.normalize(torch.randn(32, 16, generator=generator), dim=1)
    classes = torch.arange(32) % 6
    for theirs, ours in (
        (losses.ArcFaceLoss(6, 16, margin=math.degrees(0.5), scale=SCALE), arcface),
        (losses.CosFaceLoss(6, 16, margin=0.35, scale=SCALE), cosface),
    ):
        directions = torch.nn.functional.normalize(theirs.W.detach().T, dim=1)
        found = ours(SCALE * feature @ directions.T, classes, scale=SCALE)
        assert found.item() == pytest.approx(theirs(feature, classes).item(), rel=1e-4)
        with pytest.raises(IndexError):  # ours leaves out unknown individuals
            theirs(feature, torch.full((32,), -1))


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (lambda z: arcface(z, CLASSES, scale=0.0), "scale of the cosine head"),
        (lambda z: arcface(z, CLASSES, scale=30, margin=-0.1), "0 to 3.14"),
        (lambda z: arcface(z, CLASSES, scale=30, margin=math.nan), "0 to 3.14"),
        (lambda z: cosface(z, CLASSES, scale=30, margin=torch.zeros(5)), "one for each image"),
        (lambda z: combined(z, CLASSES, scale=30, times=0.5), "times >= 1"),
        (lambda z: elastic(z, CLASSES, scale=30, std=-1, chance=torch.Generator()), "std = 0.025"),
    ],
)
def test_impossible_margins_are_refused(call, fix: str) -> None:
    with pytest.raises(FieldmarkError) as refused:
        call(SCALE * cosines(0))
    assert fix in refused.value.fix


def test_a_class_without_mirror_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        arcface(SCALE * cosines(0, n_classes=5), torch.zeros(6).long(), scale=SCALE, flip_identity=True)
    assert "twice as many classes" in refused.value.fix
