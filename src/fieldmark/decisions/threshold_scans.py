"""The inner loops of the search for thresholds (numba).

F-beta of an image is counted in whole points, 2**36 to the full 1. Sums of points are exact: they come out the same in
any order of images, equal answers stay equal, and what single labels gain can be added up without drift.

A *cell* is one image and one label. ``found`` and ``given`` are the right and all labels that each image has been given
elsewhere. ``judge`` says how images are judged: how many labels each should have, beta squared, and the points of an
image without any right and any given label.

Two facts of F-beta carry all bounds: one more right label never lowers it, one more wrong label never raises it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

POINTS = 2**36


@njit(cache=True)
def points(image, found, given, judge):
    """Points of one image with so many right labels, and so many in all."""
    right, weight, empty = judge
    below = weight * right[image] + given
    if below == 0:
        return empty
    return np.int64((1 + weight) * found / below * POINTS + 0.5)


@njit(cache=True)
def total_points(found, given, judge):
    """Points of all images together."""
    amount = np.int64(0)
    for image in range(len(found)):
        amount += points(image, found[image], given[image], judge)
    return amount


# ---------------------------------------------------------------------------- one threshold for many labels


@njit(cache=True)
def best_prefix(scores, images, hits, missing, found, given, judge):
    """How many cells, taken from the first on, make the most points; equal scores go together.

    ``scores`` go down; ``images`` and ``hits`` are the image of each cell and whether its label is right; ``missing``
    is how many right labels each image has among all cells, those of lower scores included.

    Returns:
        The number of cells (of equally good numbers the smallest); the points they gain; and a ceiling that no longer
        prefix, into cells of lower scores, can exceed: as if only the right ones among those were given.
    """
    found, given, missing = found.copy(), given.copy(), missing.copy()
    amount, best, taken = np.int64(0), np.int64(0), 0
    for cell in range(len(scores)):
        image = images[cell]
        amount -= points(image, found[image], given[image], judge)
        found[image] += hits[cell]
        given[image] += 1
        missing[image] -= hits[cell]
        amount += points(image, found[image], given[image], judge)
        last_of_equals = cell + 1 == len(scores) or scores[cell + 1] != scores[cell]
        if last_of_equals and amount > best:
            best, taken = amount, cell + 1
    ceiling = amount + total_points(found + missing, given + missing, judge) - total_points(found, given, judge)
    return taken, best, ceiling


# ---------------------------------------------------------------------------- threshold, least and most of a group


@njit(cache=True)
def ladder(proba, truth, columns, n_rungs):
    """The highest scores of each image, best first, equal ones in the order of ``columns``; their truth and columns."""
    n_images = len(proba)
    scores = np.empty((n_images, n_rungs), np.float32)
    hits = np.empty((n_images, n_rungs), np.bool_)
    labels = np.empty((n_images, n_rungs), np.int32)
    for image in range(n_images):
        filled = 0
        for column in columns:
            score = proba[image, column]
            if filled == n_rungs and score <= scores[image, n_rungs - 1]:
                continue
            place = min(filled, n_rungs - 1)
            while place and scores[image, place - 1] < score:
                scores[image, place] = scores[image, place - 1]
                hits[image, place] = hits[image, place - 1]
                labels[image, place] = labels[image, place - 1]
                place -= 1
            scores[image, place] = score
            hits[image, place] = truth[image, column]
            labels[image, place] = column
            filled = min(filled + 1, n_rungs)
    return scores, hits, labels


@njit(cache=True)
def worth_of_rungs(hits, found, given, judge):
    """(image, rung) points of giving no label, the first, the first two ... of the ladder."""
    n_images, n_rungs = hits.shape
    worth = np.empty((n_images, n_rungs + 1), np.int64)
    for image in range(n_images):
        more = 0
        for rung in range(n_rungs + 1):
            worth[image, rung] = points(image, found[image] + more, given[image] + rung, judge)
            if rung < n_rungs:
                more += hits[image, rung]
    return worth


@njit(cache=True)
def best_limits(order, scores, worth, least_up_to):
    """The exact best threshold, least and most of one group.

    What the r-th label of an image gains does not depend on the limits: these only say whether it counts. So all limits
    are judged in one walk down the scores, by what each rung has gained so far. ``order`` are the cells of the ladder,
    highest score first; ``scores`` the ladder, flat; ``worth`` comes from ``worth_of_rungs``.

    Returns:
        How many cells of ``order`` are above the threshold, least, most. Of equal worth the highest threshold wins, then the
        smallest least, then the largest most.
    """
    n_rungs = worth.shape[1] - 1
    whole = np.zeros(n_rungs + 1, np.int64)  # what the first labels are worth if all images are given them
    for image in range(len(worth)):
        for rung in range(n_rungs + 1):
            whole[rung] += worth[image, rung]
    gain = np.zeros(n_rungs + 1, np.int64)
    best, choice = np.int64(-1), (0, 0, 0)
    for taken in range(len(order) + 1):
        if taken:
            image, rung = order[taken - 1] // n_rungs, order[taken - 1] % n_rungs + 1
            gain[rung] += worth[image, rung] - worth[image, rung - 1]
            if taken < len(order) and scores[order[taken]] == scores[order[taken - 1]]:
                continue
        for least in range(min(least_up_to, n_rungs) + 1):
            amount = whole[least]
            for most in range(least + 1, n_rungs + 1):
                amount += gain[most]
            for most in range(n_rungs, max(least, 1) - 1, -1):
                if amount > best:
                    best, choice = amount, (taken, least, most)
                amount -= gain[most]
    return choice


@njit(cache=True)
def pair_steps(one, two, found, given, judge):
    """Points of the labels of two groups, split by rung and by place among the levels of both groups.

    Entry ``[r, i, s, j]`` is what the r-th label of the one and the s-th of the other group bring *together*, beyond
    what each brings without the other, summed over the images where their scores have places i and j. Rung 0 is "none".
    ``one`` and ``two`` are each: hits of the ladder; how many levels each of its scores is above; how many there are.
    """
    hits_one, place_one, n_levels_one = one
    hits_two, place_two, n_levels_two = two
    rungs_one, rungs_two = hits_one.shape[1], hits_two.shape[1]
    steps = np.zeros((rungs_one + 1, n_levels_one + 1, rungs_two + 1, n_levels_two + 1), np.int64)
    before = np.empty(rungs_two + 1, np.int64)
    for image in range(len(hits_one)):
        before[:] = 0
        right_one = found[image]
        for r in range(rungs_one + 1):
            i = n_levels_one
            if r:
                i = place_one[image, r - 1]
                right_one += hits_one[image, r - 1]
            right_both = right_one
            left = np.int64(0)
            for s in range(rungs_two + 1):
                j = n_levels_two
                if s:
                    j = place_two[image, s - 1]
                    right_both += hits_two[image, s - 1]
                here = points(image, right_both, given[image] + r + s, judge)
                step = here - before[s]
                before[s] = here
                steps[r, i, s, j] += step - left
                left = step
    return steps


# ---------------------------------------------------------------------------- a threshold for each label


@njit(cache=True)
def give(images, hits, sign, found, given, judge, up, down):
    """Give these cells (``sign`` 1) or take them back (-1), each image at most once.

    ``up`` and ``down`` follow: what one more right and one more wrong label would change for each image.
    """
    for cell in range(len(images)):
        image = images[cell]
        given[image] += sign
        if hits[cell]:
            found[image] += sign
        now = points(image, found[image], given[image], judge)
        up[image] = points(image, found[image] + 1, given[image] + 1, judge) - now
        down[image] = points(image, found[image], given[image] + 1, judge) - now


@njit(cache=True)
def best_take(scores, images, hits, up, down):
    """``best_prefix`` for a single label, where no image comes twice: gains only add up.

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
