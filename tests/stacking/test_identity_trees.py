"""Trees that re-rank candidates: what they learn, cross-fitting, saving and loading."""

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
    """The first of five candidates is correct if its margin is large; neither number alone is enough."""
    chance = np.random.default_rng(seed)
    photo = np.repeat(np.arange(n_photos), n_each)
    table = chance.uniform(size=(len(photo), 3)).astype(np.float32)
    right = (table[:, 0] > 0.6) & (table[:, 1] > 0.6)
    return table, right, photo % 5


def test_the_trees_learn_the_interaction_of_two_numbers():
    table, right, part = candidates()
    grown = grow_identity_trees(table, right, part, names=NAMES, by=FEW)
    assert grown.proba[right].mean() > 0.8
    assert grown.proba[~right].mean() < 0.1
    assert {name for name, _ in grown.importance[:2]} == {"first", "gap"}
    assert sum(share for _, share in grown.importance) == pytest.approx(1)


def test_no_photo_is_predicted_by_trees_trained_on_it():
    """The correct candidates are random: only trees trained on a photo could predict them."""
    table, _, part = candidates()
    right = np.random.default_rng(1).uniform(size=len(table)) < 0.3
    grown = grow_identity_trees(table, right, part, names=NAMES, by=FEW)
    assert abs(grown.proba[right].mean() - grown.proba[~right].mean()) < 0.03
    everything = grown.trees.judge(table, NAMES)
    assert everything[right].mean() - everything[~right].mean() > 0.06


def test_probabilities_are_corrected_for_the_sampling_of_candidates():
    table, right, part = candidates(n_photos=1500)
    thinned = FEW.model_copy(update={"negatives": Negatives(per_positive=1.0)})
    grown = grow_identity_trees(table, right, part, names=NAMES, by=thinned)
    assert abs(grown.proba.mean() - right.mean()) < 0.02


def test_the_same_seed_gives_the_same_trees_also_after_loading(tmp_path):
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


def test_settings_are_searched_on_other_photos_and_reproducible():
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


def test_errors_say_what_to_do():
    table, right, part = candidates()
    with pytest.raises(ShapeError) as refusal:
        grow_identity_trees(table, right[:3], part, names=NAMES)
    assert "shape (candidate, column)" in refusal.value.fix
    with pytest.raises(FieldmarkError) as refusal:
        grow_identity_trees(table, np.zeros_like(right), part, names=NAMES)
    assert "more validation photos" in refusal.value.fix
