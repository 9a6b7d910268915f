"""Trees over candidates: what they learn, what they may not have seen, and that they come back whole."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, RunError, ShapeError
from fieldmark.stacking.identity_trees import IdentityTrees, grow_identity_trees
from fieldmark.stacking.specs import IdentityStacking, Negatives, Trees, Tuning

NAMES = ("first", "gap", "chance")
FEW = IdentityStacking(
    trees=Trees(n_rounds=30, learning_rate=0.2, num_leaves=7, min_data_in_leaf=5),
    negatives=Negatives(per_positive=None),
)


def candidates(n_photos=300, n_each=5, seed=0):
    """The first of five candidates is right where its gap is wide: neither number alone says so."""
    chance = np.random.default_rng(seed)
    photo = np.repeat(np.arange(n_photos), n_each)
    table = chance.uniform(size=(len(photo), 3)).astype(np.float32)
    right = (table[:, 0] > 0.6) & (table[:, 1] > 0.6)
    return table, right, photo % 5


def test_the_trees_find_what_two_numbers_say_together():
    table, right, part = candidates()
    grown = grow_identity_trees(table, right, part, names=NAMES, by=FEW)
    assert grown.proba[right].mean() > 0.8
    assert grown.proba[~right].mean() < 0.1
    assert {name for name, _ in grown.importance[:2]} == {"first", "gap"}
    assert sum(share for _, share in grown.importance) == pytest.approx(1)


def test_no_photo_is_judged_by_trees_that_have_seen_it():
    """What is right is drawn by lot: trees that had seen a photo would know, others cannot."""
    table, _, part = candidates()
    right = np.random.default_rng(1).uniform(size=len(table)) < 0.3
    grown = grow_identity_trees(table, right, part, names=NAMES, by=FEW)
    assert abs(grown.proba[right].mean() - grown.proba[~right].mean()) < 0.03
    everything = grown.trees.judge(table, NAMES)
    assert everything[right].mean() - everything[~right].mean() > 0.06


def test_probabilities_are_put_right_for_the_thinned_candidates():
    table, right, part = candidates(n_photos=1500)
    thinned = FEW.model_copy(update={"negatives": Negatives(per_positive=1.0)})
    grown = grow_identity_trees(table, right, part, names=NAMES, by=thinned)
    assert abs(grown.proba.mean() - right.mean()) < 0.02


def test_same_seed_same_trees_and_they_come_back_from_a_folder(tmp_path):
    table, right, part = candidates()
    one, other = (grow_identity_trees(table, right, part, names=NAMES, by=FEW, seed=4) for _ in range(2))
    assert one.trees == other.trees
    one.trees.save(tmp_path)
    again = IdentityTrees.load(tmp_path)
    assert again == one.trees
    assert (again.judge(table, NAMES) == one.trees.judge(table, NAMES)).all()


def test_damage_is_found_and_other_columns_are_refused(tmp_path):
    table, right, part = candidates()
    trees = grow_identity_trees(table, right, part, names=NAMES, by=FEW).trees
    trees.save(tmp_path)
    with pytest.raises(ShapeError) as refusal:
        trees.judge(table[:, :2], NAMES[:2])
    assert "first, gap, chance" in refusal.value.fix
    (tmp_path / "part-1.txt").write_text("tree", encoding="utf-8")
    with pytest.raises(RunError) as damaged:
        IdentityTrees.load(tmp_path)
    assert "part-1.txt" in str(damaged.value.got)
    assert "again" in damaged.value.fix
    (tmp_path / "identity_trees.json").write_text("[]", encoding="utf-8")
    with pytest.raises(RunError) as nothing:
        IdentityTrees.load(tmp_path)
    assert "again" in nothing.value.fix


def test_settings_are_searched_on_other_photos_and_the_same_way_twice():
    pytest.importorskip("optuna")
    from fieldmark.stacking.tuned_trees import tuned_trees

    table, right, part = candidates()
    bad = Trees(n_rounds=30, learning_rate=0.011, num_leaves=4, min_data_in_leaf=300)
    by = FEW.model_copy(update={"trees": bad, "tuning": Tuning(n_trials=5)})
    found = tuned_trees(table, right, part, by=by, seed=2)
    assert found == tuned_trees(table, right, part, by=by, seed=2)
    assert found.learning_rate > bad.learning_rate
    assert found.n_rounds == bad.n_rounds
    plain = grow_identity_trees(table, right, part, names=NAMES, by=FEW.model_copy(update={"trees": bad}))
    better = grow_identity_trees(table, right, part, names=NAMES, by=by)
    assert better.proba[right].mean() > plain.proba[right].mean() + 0.05
    with pytest.raises(FieldmarkError) as refusal:
        tuned_trees(table, right, part, by=FEW, seed=0)
    assert "Tuning(n_trials=20)" in refusal.value.fix


def test_refusals_say_what_to_do():
    table, right, part = candidates()
    with pytest.raises(ShapeError) as refusal:
        grow_identity_trees(table, right[:3], part, names=NAMES)
    assert "one name a column" in refusal.value.fix
    with pytest.raises(FieldmarkError) as refusal:
        grow_identity_trees(table, np.zeros_like(right), part, names=NAMES)
    assert "more validation photos" in refusal.value.fix
