"""The weighted sum: parts, names, errors; one-hot rows."""

from __future__ import annotations

import pytest
import torch

from fieldmark.core.errors import PlanError, ShapeError
from fieldmark.losses.asymmetry import asymmetric
from fieldmark.losses.binary import bce
from fieldmark.losses.focusing import focal
from fieldmark.losses.inputs import one_hot
from fieldmark.losses.ohem import ohem_bce
from fieldmark.losses.soft_measures import soft_f
from fieldmark.losses.softmax import cross_entropy
from fieldmark.losses.specs import Asymmetric, BatchHardTriplet, Bce, CrossEntropy, Focal, OhemBce, SoftF
from fieldmark.losses.total import of_each, total
from fieldmark.losses.triplet import batch_hard_triplet

CLASSES = torch.tensor([0, 2, -1, 2])


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.fixture
def embedding() -> torch.Tensor:
    drawn = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(drawn, dim=1).requires_grad_()


def test_the_sum_is_weighted_and_the_parts_are_not(logits: torch.Tensor, embedding: torch.Tensor) -> None:
    losses = (OhemBce(hardest=2, weight=0.5), BatchHardTriplet(margin=0.4, weight=3.0), CrossEntropy(smoothing=0.1))
    value, parts = total(losses, embedding=embedding, logits=logits, classes=CLASSES)
    assert torch.equal(parts["ohem_bce"], ohem_bce(logits, CLASSES, hardest=2))
    assert torch.equal(parts["triplet"], batch_hard_triplet(embedding, CLASSES, margin=0.4))
    assert torch.equal(parts["cross_entropy"], cross_entropy(logits, CLASSES, smoothing=0.1))
    assert torch.allclose(value, 0.5 * parts["ohem_bce"] + 3 * parts["triplet"] + parts["cross_entropy"])
    assert not any(part.requires_grad for part in parts.values())
    value.backward()
    assert logits.grad is not None
    assert embedding.grad is not None


def test_losses_on_labels_take_classes_as_one_hot_rows_unless_truth_is_given(logits: torch.Tensor) -> None:
    truth = torch.tensor([[1.0, 1, 0]] * 4)
    _, from_classes = total((Bce(), Focal(gamma=1.0)), logits=logits, classes=CLASSES)
    _, from_truth = total((Bce(), Focal(gamma=1.0)), logits=logits, classes=CLASSES, truth=truth)
    assert torch.equal(from_classes["bce"], bce(logits, one_hot(CLASSES, 3)))
    assert torch.equal(from_truth["bce"], bce(logits, truth))
    assert torch.equal(from_truth["focal"], focal(logits, truth, gamma=1.0))


def test_two_losses_of_a_kind_have_two_names(logits: torch.Tensor) -> None:
    _, parts = total((Focal(), Focal(gamma=1.0), Focal(gamma=0.0)), logits=logits, classes=CLASSES)
    assert list(parts) == ["focal", "focal 2", "focal 3"]
    assert len({part.item() for part in parts.values()}) == 3


def test_all_missing_inputs_are_reported_at_once(embedding: torch.Tensor) -> None:
    with pytest.raises(PlanError) as refused:
        total((OhemBce(), Focal(), BatchHardTriplet()), embedding=embedding)
    message = str(refused.value)
    assert "ohem_bce lacks classes and logits" in message
    assert "focal lacks logits and truth or classes and logits" in message
    assert "triplet lacks classes" in message
    assert "a head with logits" in refused.value.fix
    assert "leave out ohem_bce, focal, triplet" in refused.value.fix


def test_a_missing_embedding_is_named(logits: torch.Tensor) -> None:
    with pytest.raises(PlanError) as refused:
        total((BatchHardTriplet(),), logits=logits, classes=CLASSES)
    assert "pass the network's embedding" in refused.value.fix


def test_no_loss_is_refused() -> None:
    with pytest.raises(PlanError) as refused:
        total(())
    assert '{kind = "focal"}' in refused.value.fix


def test_an_unknown_is_a_row_of_zeros() -> None:
    assert one_hot(CLASSES, 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]]


def test_a_class_without_column_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        one_hot(torch.tensor([3]), 3)
    assert "more classes" in refused.value.fix


ON_LABELS = (Bce(weight=0.5), Focal(), SoftF(weight=3.0), Asymmetric())


def test_each_loss_on_labels_is_taken_by_its_settings(logits: torch.Tensor) -> None:
    truth = torch.tensor([[1.0, 1, 0], [0, 0.3, 0], [0, 0, 0], [0.5, 1, 1]])
    losses = (SoftF(beta=1.0, weight=2.0), Asymmetric(gamma_yes=2.0, gamma_no=1.0, clip=0.1))
    value, parts = total(losses, logits=logits, truth=truth)
    assert torch.equal(parts["soft_f"], soft_f(logits, truth, beta=1.0))
    assert torch.equal(parts["asymmetric"], asymmetric(logits, truth, gamma_yes=2.0, gamma_no=1.0, clip=0.1))
    assert torch.allclose(value, 2 * parts["soft_f"] + parts["asymmetric"])


def test_the_loss_of_each_image_is_that_of_a_batch_of_one(logits: torch.Tensor) -> None:
    truth = torch.tensor([[1.0, 1, 0], [0, 0.3, 0], [0, 0, 0], [0.5, 1, 1]])
    found = of_each(ON_LABELS, logits=logits, truth=truth)
    slow = [total(ON_LABELS, logits=logits[[i]], truth=truth[[i]])[0].item() for i in range(4)]
    assert found.tolist() == pytest.approx(slow, rel=1e-5)
    assert not found.requires_grad
    assert found.mean().item() == pytest.approx(total(ON_LABELS, logits=logits, truth=truth)[0].item(), rel=1e-5)


def test_losses_that_compare_images_have_no_value_per_image(logits: torch.Tensor) -> None:
    with pytest.raises(PlanError) as refused:
        of_each((Bce(), BatchHardTriplet()), logits=logits, truth=torch.zeros(4, 3))
    assert "bce, focal, soft_f or asymmetric" in refused.value.fix
