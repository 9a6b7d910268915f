"""Search for tree settings with Optuna, on photos that the trees will not predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.seeds import generator
from fieldmark.stacking.specs import IdentityStacking, Trees, Tuning
from fieldmark.stacking.trees import corrected, load_booster, predict_cells, sample_negatives, train_trees

if TYPE_CHECKING:
    import optuna


def tuned_trees(
    table: Float32[np.ndarray, "candidate column"],
    right: Bool[np.ndarray, " candidate"],
    part: Int[np.ndarray, " candidate"],
    *,
    by: IdentityStacking,
    seed: int,
    n_threads: int = 1,
) -> Trees:
    """Search for the settings with the best predictions of one part by the others; ``by.trees`` is tried first.

    Args:
        table: Candidates of training photos; the photos to be predicted later are not among them.
        right: Whether each candidate is correct.
        part: Part of each candidate's photo; the last part is used for evaluation.
        by: Settings, with ``tuning``.
        seed: Random seed; the same seed gives the same search.
        n_threads: Number of LightGBM threads.

    Raises:
        FieldmarkError: Optuna is not installed, or ``by`` has no tuning.

    Source:
        Akiba et al. 2019, arXiv:1907.10902; tree-structured Parzen estimator.
    """
    try:
        import optuna
    except ImportError as error:
        raise FieldmarkError(
            "The setting 'tuning' needs Optuna, which is not installed.",
            got=error,
            fix="run `pip install 'fieldmark[train]'`, or leave out tuning.",
        ) from error
    if by.tuning is None:
        raise FieldmarkError("tuning is not set.", got="tuning=None", fix="pass tuning=Tuning(n_trials=20).")
    evaluated = part == part.max()
    kept, rate = sample_negatives(right[~evaluated], by.negatives, generator(seed, "tuning"))
    training, truth = table[~evaluated][kept], right[~evaluated][kept]

    def loss(trial: optuna.Trial) -> float:
        text = train_trees(
            training, truth, by=_suggested(trial, by.trees), categorical=[], seed=seed, n_threads=n_threads
        )
        proba = corrected(predict_cells(load_booster(text), table[evaluated], n_threads=n_threads), rate)
        proba = np.clip(proba, 1e-6, 1 - 1e-6, dtype=np.float64)
        return float(-np.where(right[evaluated], np.log(proba), np.log1p(-proba)).mean())

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed % 2**31))
        start = by.trees
        study.enqueue_trial(
            {name: getattr(start, name) for name in ("learning_rate", "num_leaves", "min_data_in_leaf", "lambda_l2")},
            skip_if_exists=True,
        )
        study.optimize(loss, n_trials=_trials(by.tuning))
    finally:
        optuna.logging.set_verbosity(before)
    return _suggested(study.best_trial, by.trees)


def _trials(tuning: Tuning) -> int:
    return tuning.n_trials


def _suggested(trial: optuna.Trial | optuna.trial.FrozenTrial, start: Trees) -> Trees:
    return start.model_copy(
        update={
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 4, 63),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 300, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 30.0, log=True),
        }
    )
