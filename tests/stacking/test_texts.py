"""Text models: training, cross-fitting, empty texts, saving and loading."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from fieldmark.core.errors import FieldmarkError, RunError, ShapeError
from fieldmark.decisions.priors import shares
from fieldmark.decisions.questions import Questions
from fieldmark.stacking.linear import Weights
from fieldmark.stacking.ngrams import NGramFeatures
from fieldmark.stacking.specs import Linear, MiniLm, NGrams, TextModel
from fieldmark.stacking.texts import META, FittedTextModel, cross, learn_texts
from naughty_strings import NAUGHTY

QUESTION_OF = np.array([0, 0, 0, 1, 1, 2])
COLOURS, KINDS = ("red", "green", "blue"), ("dress", "shoe")
SMALL = NGrams()


def shop(n=600, seed=0):
    """Names with a colour and a kind; some with two colours, some empty, some unlabelled."""
    chance = np.random.default_rng(seed)
    texts, truth = [], np.zeros((n, 6), np.float32)
    for row in range(n):
        colour, kind = chance.integers(3), int(chance.random() < 0.3)
        words = [COLOURS[colour], KINDS[kind], str(chance.choice(["Nike", "Puma", "Acme"])), str(chance.integers(99))]
        truth[row, [colour, 3 + kind, 5]] = 1
        if row % 10 == 0:
            other = (colour + 1) % 3
            truth[row, other] = 1
            words.insert(1, COLOURS[other])
        texts.append("" if row % 13 == 0 else " ".join(words))
        if row % 7 == 0:
            truth[row, :3] = np.nan
    return texts, truth


def sums(proba):
    return np.add.reduceat(proba, [0, 3, 5], axis=1)


def test_learns_from_words_and_is_not_overconfident():
    texts, truth = shop()
    model = learn_texts(texts, truth, QUESTION_OF, by=SMALL, seed=1)
    proba = model.proba(["Gucci GREEN shoe", "a blue dress", "réd dress"])
    assert proba[:, :3].argmax(axis=1).tolist() == [1, 2, 0]
    assert proba[:, 3:5].argmax(axis=1).tolist() == [1, 0, 0]
    assert proba[0, 1] > 0.8
    assert (proba[:, :5] > 0).all()
    assert (proba[:, :5] < 1).all()
    assert (proba[:, 5] == 1).all()  # the only answer
    np.testing.assert_allclose(sums(proba), 1, atol=1e-6)
    assert proba.dtype == np.float32


def test_two_right_answers_share_the_probability():
    texts, truth = shop(1500)
    model = learn_texts(texts, truth, QUESTION_OF, by=SMALL, seed=1)
    proba = model.proba(["red green dress Nike"])[0, :3]
    assert proba[2] < 0.15
    assert min(proba[:2]) > 0.3


@pytest.mark.parametrize("text", ["", "   ", "\x00", "ξένος", "!!!"])
def test_a_text_without_known_words_gets_the_training_shares(text):
    texts, truth = shop()
    model = learn_texts(texts, truth, QUESTION_OF, by=SMALL, seed=1)
    np.testing.assert_allclose(model.proba([text])[0], shares(truth, QUESTION_OF, smooth=1), atol=1e-6)


def test_an_answer_that_was_never_correct_keeps_a_probability():
    texts, truth = shop()
    truth[:, 2] = np.where(np.isnan(truth[:, 2]), np.nan, 0)
    proba = learn_texts(texts, truth, QUESTION_OF, by=SMALL, seed=1).proba(["red dress", ""])
    assert (proba > 0).all()


def test_malicious_texts_are_processed():
    truth = shop(len(NAUGHTY))[1]
    hostile = [*NAUGHTY, "\ud800 lone", "x" * 10**6, "a b " * 10**5]
    model = learn_texts(NAUGHTY, truth, QUESTION_OF, by=SMALL, seed=1)
    proba = model.proba(hostile)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(sums(proba), 1, atol=1e-6)
    assert model.proba([]).shape == (0, 6)


def test_no_photo_is_predicted_by_a_model_trained_on_it_or_its_group():
    """Random answers, and one text for all photos of a group: only a model trained on it could predict them."""
    chance = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 3)
    truth = np.zeros((180, 6), np.float32)
    truth[np.arange(180), chance.integers(0, 3, 60)[group]] = 1
    texts = [f"only{one}word{one * 7919} thing{one}" for one in group]
    by = NGrams(linear=Linear(strength=1000.0, rounds=60))
    proba, models = cross(texts, truth, QUESTION_OF, group % 5, by=by, seed=1)
    known = models[0].proba(texts)
    right = truth[:, :3].argmax(axis=1)
    assert (known[:, :3].argmax(axis=1) == right)[group % 5 != 0].mean() > 0.95
    assert 0.2 < (proba[:, :3].argmax(axis=1) == right).mean() < 0.5
    leaked, _ = cross(texts, truth, QUESTION_OF, np.arange(180) % 3, by=by, seed=1)
    assert (leaked[:, :3].argmax(axis=1) == right).mean() > 0.9  # the leak of folds that split groups


def test_a_model_is_fitted_on_the_other_folds_only():
    texts, truth = shop(300)
    fold = np.arange(300) % 3
    fold[:30] = -1
    proba, models = cross(texts, truth, QUESTION_OF, fold, by=SMALL, seed=4)
    assert len(models) == 3
    assert np.isnan(proba[:30]).all()
    other = truth.copy()
    other[fold == 1] = np.roll(truth[fold == 1], 1, axis=0)
    changed = [f"{text} spoilt" if one == 1 else text for text, one in zip(texts, fold, strict=True)]
    _, changed_models = cross(changed, other, QUESTION_OF, fold, by=SMALL, seed=4)
    assert np.array_equal(changed_models[1].weights.of_side_feature, models[1].weights.of_side_feature)
    assert not np.array_equal(changed_models[0].proba(texts), models[0].proba(texts))
    held = np.flatnonzero(fold == 2)
    np.testing.assert_allclose(models[2].proba([texts[row] for row in held]), proba[held], atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_questions_are_independent():
    texts, truth = shop(200)
    one, two = (learn_texts(texts, truth, QUESTION_OF, by=SMALL, seed=3) for _ in range(2))
    assert np.array_equal(one.weights.of_side_feature, two.weights.of_side_feature)
    alone = learn_texts(texts, truth[:, :3], QUESTION_OF[:3], by=SMALL, seed=3)
    np.testing.assert_allclose(alone.weights.of_side_feature, one.weights.of_side_feature[:, :3], atol=1e-5)


def test_a_loaded_model_predicts_the_same(tmp_path):
    texts, truth = shop(200)
    for by, read in ((SMALL, texts), (MiniLm(), np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32))):
        model = learn_texts(read, truth, QUESTION_OF, by=by, seed=3)
        model.save(tmp_path)
        loaded = FittedTextModel.load(tmp_path)
        assert loaded.by == by
        assert np.array_equal(loaded.proba(read), model.proba(read))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_damage_is_refused(tmp_path):
    texts, truth = shop(50)
    learn_texts(texts, truth, QUESTION_OF, by=SMALL, seed=3).save(tmp_path)
    meta = json.loads((tmp_path / META).read_text())
    arrays = (tmp_path / "texts.safetensors").read_bytes()
    damages = [
        lambda: (tmp_path / "texts.safetensors").write_bytes(arrays[:-1] + bytes([arrays[-1] ^ 1])),
        (tmp_path / "texts.safetensors").unlink,
        lambda: (tmp_path / META).write_text(json.dumps(meta | {"by": {"kind": "pickle"}})),
        lambda: (tmp_path / META).write_text(json.dumps(meta | {"format": 99})),
    ]
    for damage in damages:
        (tmp_path / META).write_text(json.dumps(meta))
        (tmp_path / "texts.safetensors").write_bytes(arrays)
        assert FittedTextModel.load(tmp_path).by == SMALL
        damage()
        with pytest.raises(RunError) as raised:
            FittedTextModel.load(tmp_path)
        assert "run the stage that trains the text model again" in raised.value.fix


def test_models_train_on_embeddings_and_zeros_give_the_prior():
    chance = np.random.default_rng(0)
    _, truth = shop(600)
    seen = np.nan_to_num(truth[:, :5]) @ chance.normal(size=(5, 16)) + 0.3 * chance.normal(size=(600, 16))
    seen = (seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32)
    proba, models = cross(seen, truth, QUESTION_OF, np.arange(600) % 4, by=MiniLm(), seed=0)
    right = np.take_along_axis(np.nan_to_num(truth[:, :3]), proba[:, :3].argmax(axis=1)[:, None], axis=1)[:, 0]
    assert right[np.nansum(truth[:, :3], axis=1) > 0].mean() > 0.9
    np.testing.assert_allclose(models[0].proba(np.zeros((1, 16), np.float32))[0], models[0].weights.prior, atol=1e-6)


def test_several_correct_answers_divide_a_photo_and_unlabelled_photos_are_ignored():
    """Without side features the probabilities are the shares of correct answers; a photo is divided."""
    seen = np.ones((6, 1), np.float32)
    truth = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [1, 1], [np.nan, np.nan]], np.float32)
    questions = Questions.of(np.zeros(2, np.int64))
    learnt = Weights.learnt(seen, truth, questions, by=Linear(strength=1e4, rounds=500), seed=0)
    np.testing.assert_allclose(learnt.proba(seen[:1], questions), [[0.8, 0.2]], atol=0.01)


def test_a_word_that_occurs_only_with_one_answer_gets_weight_for_it():
    texts = ["plain red", "plain blue", "red thing", "blue thing"] * 10
    truth = np.array([[1, 0], [0, 1], [1, 0], [0, 1]] * 10, np.float32)
    model = learn_texts(texts, truth, np.zeros(2, int), by=NGrams(characters=None, words=(1, 1)), seed=0)
    assert model.features is not None
    assert model.features.terms == (("blue", "plain", "red", "thing"),)
    speaks = model.weights.of_side_feature[:, 1] - model.weights.of_side_feature[:, 0]
    assert speaks[0] > 1
    assert speaks[2] < -1
    assert abs(speaks[[1, 3]]).max() < speaks[0] / 10


def slow_side_features(text):
    """Character n-grams within words, then single words and pairs, by slow loops."""
    words = text.split()
    pieces = [f" {word} "[at : at + n] for word in words for n in (3, 4) for at in range(len(word) + 3 - n)]
    return pieces, words + [f"{one} {two}" for one, two in pairwise(words)]


def test_side_features_are_character_and_word_n_grams():
    by = NGrams(characters=(3, 4), words=(1, 2), least=1)
    texts = ["red dress", "red shoe", "blue dress dress"]
    features = NGramFeatures.of(texts, by)
    by_hand = [
        sorted({side_feature for text in texts for side_feature in slow_side_features(text)[kind]}) for kind in (0, 1)
    ]
    assert [list(kind) for kind in features.terms] == by_hand
    table = features.table(["Red DRÉSS", *texts]).toarray()
    np.testing.assert_array_equal(table[0], table[1])
    np.testing.assert_allclose((table**2).sum(axis=1), 1, atol=1e-5)
    n_pieces = len(features.terms[0])
    np.testing.assert_allclose((table[:, :n_pieces] ** 2).sum(axis=1), 0.5, atol=1e-5)
    # "shoe" is in one text and has more weight than "red", which is in two.
    shoe, red = (n_pieces + features.terms[1].index(word) for word in ("shoe", "red"))
    assert table[2, shoe] > table[2, red] > 0


def test_rare_side_features_are_left_out_and_memory_is_limited():
    by = NGrams(characters=None, words=(1, 1), least=2)
    assert NGramFeatures.of(["common word", "common thing", "common other"], by).terms == (("common",),)
    many = [f"{one % 50} {one % 40} {one % 30}x" for one in range(500)]
    assert len(NGramFeatures.of(many, by.model_copy(update={"most": 20}))) == 20
    for nothing in ([], ["", ""], ["all", "unlike"]):
        features = NGramFeatures.of(nothing, by)
        assert len(features) == 0
        assert features.table(["common", ""]).shape == (2, 0)


def test_settings_are_parsed_by_kind_and_refused_without_n_grams():
    read = TypeAdapter(TextModel).validate_json
    assert read('{"kind": "minilm", "max_tokens": 64}') == MiniLm(max_tokens=64)
    assert read('{"kind": "ngrams", "characters": null}') == NGrams(characters=None)
    for wrong in ('{"kind": "ngrams", "characters": null, "words": null}', '{"kind": "ngrams", "words": [3, 1]}'):
        with pytest.raises(ValidationError, match="shortest length first"):
            read(wrong)


def test_errors_say_what_to_do():
    texts, truth = shop(20)
    with pytest.raises(ShapeError) as raised:
        learn_texts(texts[:-1], truth, QUESTION_OF, by=SMALL, seed=0)
    assert 'pass ""' in raised.value.fix
    for read, by in ((np.zeros((20, 3), np.float32), SMALL), (texts, MiniLm()), ("one text", SMALL)):
        with pytest.raises(FieldmarkError) as raised:
            learn_texts(read, truth[: len(read)], QUESTION_OF, by=by, seed=0)
        assert "encode(texts)" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        learn_texts(np.full((20, 3), np.nan, np.float32), truth, QUESTION_OF, by=MiniLm(), seed=0)
    assert "encode(texts)" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        learn_texts(texts, np.full_like(truth, np.nan), QUESTION_OF, by=SMALL, seed=0)
    assert "labelled photos" in raised.value.fix
    for fold in (np.zeros(20, int), np.arange(20) % 2 * 2, np.arange(3)):
        with pytest.raises(FieldmarkError) as raised:
            cross(texts, truth, QUESTION_OF, fold, by=SMALL, seed=0)
        assert "0, 1, 2" in raised.value.fix
    model = learn_texts(np.zeros((20, 3), np.float32), truth, QUESTION_OF, by=MiniLm(), seed=0)
    with pytest.raises(ShapeError) as raised:
        model.proba(np.zeros((1, 4), np.float32))
    assert "same encoder" in raised.value.fix
