"""Inner loops of the threshold search, compiled with numba.

F-beta of an image is counted in integer points; 2**36 is an F of 1. Sums of points are exact. They do not depend on the
order of images, equal answers stay equal, and gains of single labels can be added without rounding error.

A *cell* is one image and one label. ``found`` and ``given`` are the numbers of correct labels and of all labels that
each image gets from other groups. ``scoring`` holds the number of correct labels of each image, beta squared, and the
points of an image without any correct and any given label.

All bounds follow from two properties of F-beta: one more correct label never lowers it, and one more wrong label never
raises it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

POINTS = 2**36


@njit(cache=True)
def points(image, found, given, scoring):
    """Return the points of one image with ``found`` correct labels and ``given`` labels in total."""
    right, weight, empty = scoring
    divisor = weight * right[image] + given
    if divisor == 0:
        return empty
    return np.int64((1 + weight) * found / divisor * POINTS + 0.5)


@njit(cache=True)
def total_points(found, given, scoring):
    """Return the points of all images together."""
    amount = np.int64(0)
    for image in range(len(found)):
        amount += points(image, found[image], given[image], scoring)
    return amount


# ---------------------------------------------------------------------------- one threshold for many labels


@njit(cache=True)
def best_prefix(scores, images, hits, missing, found, given, scoring):
    """Return how many cells, from the first on, give the most points; cells of equal score stay together.

    ``scores`` are descending. ``images`` and ``hits`` are the image of each cell and whether its label is correct.
    ``missing`` is the number of correct labels of each image among all cells, including those of lower scores.

    Returns:
        The number of cells (the smallest on a tie); the points they gain; and an upper bound for all longer prefixes
        with cells of lower scores. The bound counts only the correct ones among those.
    """
    found, given, missing = found.copy(), given.copy(), missing.copy()
    amount, best, taken = np.int64(0), np.int64(0), 0
    for cell in range(len(scores)):
        image = images[cell]
        amount -= points(image, found[image], given[image], scoring)
        found[image] += hits[cell]
        given[image] += 1
        missing[image] -= hits[cell]
        amount += points(image, found[image], given[image], scoring)
        last_of_equals = cell + 1 == len(scores) or scores[cell + 1] != scores[cell]
        if last_of_equals and amount > best:
            best, taken = amount, cell + 1
    ceiling = amount + total_points(found + missing, given + missing, scoring) - total_points(found, given, scoring)
    return taken, best, ceiling


# ---------------------------------------------------------------------------- threshold, least and most of a group


@njit(cache=True)
def top_scores(proba, truth, columns, n_ranks):
    """Return the highest scores of each image, best first, with truth and columns; ties in order of ``columns``."""
    n_images = len(proba)
    scores = np.empty((n_images, n_ranks), np.float32)
    hits = np.empty((n_images, n_ranks), np.bool_)
    labels = np.empty((n_images, n_ranks), np.int32)
    for image in range(n_images):
        filled = 0
        for column in columns:
            score = proba[image, column]
            if filled == n_ranks and score <= scores[image, n_ranks - 1]:
                continue
            place = min(filled, n_ranks - 1)
            while place and scores[image, place - 1] < score:
                scores[image, place] = scores[image, place - 1]
                hits[image, place] = hits[image, place - 1]
                labels[image, place] = labels[image, place - 1]
                place -= 1
            scores[image, place] = score
            hits[image, place] = truth[image, column]
            labels[image, place] = column
            filled = min(filled + 1, n_ranks)
    return scores, hits, labels


@njit(cache=True)
def worth_of_ranks(hits, found, given, scoring):
    """Return (image, rank) points for giving no label, the first label, the first two ... of an image."""
    n_images, n_ranks = hits.shape
    worth = np.empty((n_images, n_ranks + 1), np.int64)
    for image in range(n_images):
        more = 0
        for rank in range(n_ranks + 1):
            worth[image, rank] = points(image, found[image] + more, given[image] + rank, scoring)
            if rank < n_ranks:
                more += hits[image, rank]
    return worth


@njit(cache=True)
def best_limits(order, scores, worth, least_up_to):
    """Return the exact best threshold, least and most of one group.

    The gain of the r-th label of an image does not depend on the limits; they only decide whether it counts. So all
    limits are evaluated in one pass down the scores, from the gain of each rank so far. ``order`` are the cells,
    highest score first; ``scores`` the flattened top scores; ``worth`` comes from ``worth_of_ranks``.

    Returns:
        The number of cells of ``order`` above the threshold, least, most. On a tie, the highest threshold is chosen,
        then the smallest least, then the largest most.
    """
    n_ranks = worth.shape[1] - 1
    whole = np.zeros(n_ranks + 1, np.int64)  # points of the first labels if all images are given them
    for image in range(len(worth)):
        for rank in range(n_ranks + 1):
            whole[rank] += worth[image, rank]
    gain = np.zeros(n_ranks + 1, np.int64)
    best, choice = np.int64(-1), (0, 0, 0)
    for taken in range(len(order) + 1):
        if taken:
            image, rank = order[taken - 1] // n_ranks, order[taken - 1] % n_ranks + 1
            gain[rank] += worth[image, rank] - worth[image, rank - 1]
            if taken < len(order) and scores[order[taken]] == scores[order[taken - 1]]:
                continue
        for least in range(min(least_up_to, n_ranks) + 1):
            amount = whole[least]
            for most in range(least + 1, n_ranks + 1):
                amount += gain[most]
            for most in range(n_ranks, max(least, 1) - 1, -1):
                if amount > best:
                    best, choice = amount, (taken, least, most)
                amount -= gain[most]
    return choice


@njit(cache=True)
def pair_steps(one, two, found, given, scoring):
    """Return the points of the labels of two groups, split by rank and by level in both groups.

    Entry ``[r, i, s, j]`` is the joint gain of the r-th label of the first group and the s-th of the second, beyond the
    gain of each without the other. It is summed over the images whose scores have places i and j. Rank 0 is "none".
    ``one`` and ``two`` are each: hits of the top scores; the number of levels each score is above; the number of
    levels.
    """
    hits_one, place_one, n_levels_one = one
    hits_two, place_two, n_levels_two = two
    ranks_one, ranks_two = hits_one.shape[1], hits_two.shape[1]
    steps = np.zeros((ranks_one + 1, n_levels_one + 1, ranks_two + 1, n_levels_two + 1), np.int64)
    before = np.empty(ranks_two + 1, np.int64)
    for image in range(len(hits_one)):
        before[:] = 0
        right_one = found[image]
        for r in range(ranks_one + 1):
            i = n_levels_one
            if r:
                i = place_one[image, r - 1]
                right_one += hits_one[image, r - 1]
            right_both = right_one
            left = np.int64(0)
            for s in range(ranks_two + 1):
                j = n_levels_two
                if s:
                    j = place_two[image, s - 1]
                    right_both += hits_two[image, s - 1]
                here = points(image, right_both, given[image] + r + s, scoring)
                step = here - before[s]
                before[s] = here
                steps[r, i, s, j] += step - left
                left = step
    return steps


# ---------------------------------------------------------------------------- a threshold for each label


@njit(cache=True)
def give(images, hits, sign, found, given, scoring, up, down):
    """Give these cells (``sign`` 1) or remove them (-1), each image at most once.

    ``up`` and ``down`` are updated: the change for each image by one more correct and one more wrong label.
    """
    for cell in range(len(images)):
        image = images[cell]
        given[image] += sign
        if hits[cell]:
            found[image] += sign
        now = points(image, found[image], given[image], scoring)
        up[image] = points(image, found[image] + 1, given[image] + 1, scoring) - now
        down[image] = points(image, found[image], given[image] + 1, scoring) - now


@njit(cache=True)
def best_take(scores, images, hits, up, down):
    """Run ``best_prefix`` for a single label: no image occurs twice, so gains only add up.

    Returns:
        The number of cells, the points they gain, and the points all cells gain.
    """
    amount, best, taken = np.int64(0), np.int64(0), 0
    for cell in range(len(scores)):
        amount += up[images[cell]] if hits[cell] else down[images[cell]]
        last_of_equals = cell + 1 == len(scores) or scores[cell + 1] != scores[cell]
        if last_of_equals and amount > best:
            best, taken = amount, cell + 1
    return taken, best, amount
