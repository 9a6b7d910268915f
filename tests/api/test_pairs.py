"""The function and the command ``match``."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from drawn_photos import seen_from, textured, turned
from fieldmark.api import functions
from fieldmark.cli.main import application, main
from fieldmark.core.errors import FieldmarkError, RunError
from fieldmark.gallery.specs import KeypointMatching, Sift

pytest.importorskip("cv2", reason="keypoints need OpenCV")


@pytest.fixture
def photos(tmp_path):
    for name, pixels in (("one", textured(0)), ("same", seen_from(textured(0), turned())), ("other", textured(1))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def test_photos_of_the_same_marks_match_and_others_do_not(photos):
    same = functions.match(photos / "one.png", photos / "same.png", by="sift")
    other = functions.match(photos / "one.png", photos / "other.png", by="sift")
    assert same.plausible
    assert same.n_inliers >= 30
    assert same.inlier_share == same.n_inliers / same.n_matches
    assert other.n_inliers == 0


def test_the_command_prints_counts_and_draws_lines(photos):
    out = photos / "lines.png"
    typed = ["match", str(photos / "one.png"), str(photos / "same.png"), "--by", "sift", "--out", str(out)]
    result = CliRunner().invoke(application, typed)
    found = functions.match(photos / "one.png", photos / "same.png", by="sift")
    assert result.exit_code == 0
    assert f"inliers:   {found.n_inliers:,} ({found.inlier_share:.0%} of the matches)" in result.output
    with Image.open(out) as drawn:
        pixels = np.asarray(drawn, int)
    assert np.ptp(pixels, axis=2).max() > 100  # the photos are grey, the lines are coloured
    assert main(typed) == 1


def test_all_settings_can_be_given(photos):
    few = functions.match(photos / "one.png", photos / "same.png", by=KeypointMatching(points=Sift(most=50)))
    assert max(few.n_points) <= 50


def test_errors_name_a_fix(photos):
    one = photos / "one.png"
    with pytest.raises(FieldmarkError) as caught:
        functions.match(one, one, by="shift")
    assert caught.value.fix == "did you mean 'sift'?"
    with pytest.raises(FieldmarkError) as caught:
        functions.match(one, one, out=photos / "lines.gif")
    assert "lines.png" in caught.value.fix
    with pytest.raises(RunError) as caught:
        functions.match(one, one, out=one)
    assert "--force" in caught.value.fix
