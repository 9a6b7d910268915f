"""Settings of trees searched by Optuna, on photos that they will not judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.seeds import generator
from fieldmark.stacking.specs import IdentityStacking, Trees, Tuning
from fieldmark.stacking.trees import answers, grow, planted, put_right, thin

if TYPE_CHECKING:
    import optuna


def tuned_trees(
    table: Float32[np.ndarray, "rival column"],
    right: Bool[np.ndarray, " rival"],
    part: Int[np.ndarray, " rival"],
    *,
    by: IdentityStacking,
    seed: int,
    n_threads: int = 1,
) -> Trees:
    """The settings under which one part is foretold best by the others; ``by.trees`` is the first that is tried.

    Args:
        table: Candidates of photos to learn from; those to be judged afterwards are not among them.
        right: Whether each is right.
        part: Part of each one's photo; the last one measures.
        by: Settings, with ``tuning``.
        seed: The same seed gives the same search.
        n_threads: Threads of LightGBM.

    Raises:
        FieldmarkError: Optuna is not installed, or ``by`` has no tuning.

    Source:
        Akiba et al. 2019, arXiv:1907.10902; tree-structured Parzen estimator.
    """
    try:
        import optuna
    except ImportError as error:
        raise FieldmarkError(
            "The search for settings needs Optuna.",
            got=error,
            fix="pip install 'fieldmark[train]', or leave out tuning.",
        ) from error
    if by.tuning is None:
        raise FieldmarkError("There is nothing to search.", got="tuning=None", fix="pass tuning=Tuning(n_trials=20).")
    measuring = part == part.max()
    kept, rate = thin(right[~measuring], by.negatives, generator(seed, "tuning"))
    food, truth = table[~measuring][kept], right[~measuring][kept]

    def loss(trial: optuna.Trial) -> float:
        text = grow(food, truth, by=_suggested(trial, by.trees), categorical=[], seed=seed, n_threads=n_threads)
        proba = put_right(answers(planted(text), table[measuring], n_threads=n_threads), rate)
        proba = np.clip(proba, 1e-6, 1 - 1e-6, dtype=np.float64)
        return float(-np.where(right[measuring], np.log(proba), np.log1p(-proba)).mean())

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
