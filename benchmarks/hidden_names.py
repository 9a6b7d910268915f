"""Unknown individuals in the whale table that are in fact known: their number, their detection, and their effect.

    python benchmarks/hidden_names.py --runs runs --of "reidentify, seed 1" "reidentify, evidence, seed 1"
    python benchmarks/hidden_names.py --runs runs --of "reidentify, evidence, seed 1" --issues

The contest of 2018/19 gave many photos of the playground contest (``humpback2018_100px``) another identity a year
later. Its table (``meta_humpback2019``) has hashes of its photos. Two photos whose hashes differ in at most 6 of 64
bits count as the same photo. A later identity corresponds to a current one if they share a named photo. The later
identities are used for evaluation only: no run is trained on them, and nothing is chosen by them.

The script also evaluates the pairs of identities that ``fieldmark duplicates --run`` suggests. ``--issues`` evaluates
the label issues of unknown individuals, as ``fieldmark issues`` lists them; the first time, keypoint detection takes
some minutes.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.api.duplicates import duplicates
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.decisions.confidence import crossed_confidence
from fieldmark.decisions.specs import MaxMap
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.gallery.identities import best_identities
from fieldmark.gallery.store import EMBEDDING, GalleryStore
from fieldmark.images.hashes import hashes
from fieldmark.metrics.intervals import interval
from fieldmark.pipeline.context import Context
from fieldmark.stages.identity.embed import Embed
from fieldmark.tasks.identification.issues import identity_issues
from fieldmark.tasks.identification.measures import measure, measure_decision
from fieldmark.tasks.identification.validation import ValidatedPhotos
from fieldmark.tasks.issues import LabelIssue

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
WITHIN = 6
NEW = "new_whale"
VERDICTS = ("right", "another name", "still new", "not known")
BANDS = ((0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5))
COLUMNS = (
    "MAP@5",
    "top-1 of known",
    "AUC known/new",
    "FPIR, target 1 %",
    "TPIR at FPIR = 1 %",
    "FPIR, target 5 %",
    "TPIR at FPIR = 5 %",
    "AUC of right",
)


@dataclass(frozen=True)
class Later:
    """Identities of the playground's photos a year later.

    Attributes:
        later: Later identity, or ``new_whale``, of each photo in both contests.
        names: Current identities of each later identity.
    """

    later: Mapping[str, str]
    names: Mapping[str, set[str]]

    @classmethod
    def of(cls, known: Collection) -> Later:
        """Match the photos of both contests by their hashes."""
        labels = dict(pl.read_csv(DATA / "meta_humpback2019" / "train.csv").iter_rows())
        table = pl.read_csv(DATA / "meta_humpback2019" / "phash_size.csv").filter(pl.col("Image").is_in(list(labels)))
        there, then = np.array([int(one, 16) for one in table["phash"]], np.uint64), table["Image"].to_list()
        later = {}
        for image, mine in zip(known.images, hashes(known.paths).phash, strict=True):
            bits = np.bitwise_count(there ^ mine)
            nearest = int(bits.argmin())
            if bits[nearest] <= WITHIN:
                later[image] = labels[then[nearest]]
        names: dict[str, set[str]] = defaultdict(set)
        for image, name in known.table.select("image", "identity").iter_rows():
            if name != NEW and later.get(image, NEW) != NEW:
                names[later[image]].add(name)
        return cls(later, names)

    def of_today(self, image: str) -> set[str] | None:
        """Return the current identities of the individual on a photo; empty if it has none, None if not known."""
        name = self.later.get(image)
        return None if name is None else self.names.get(name, set())

    def verdict(self, issue: LabelIssue) -> str:
        """Return whether the name suggested for an unknown individual is right, by the later identities."""
        names = self.of_today(issue.image)
        if names is None or self.later.get(issue.beside) == NEW:
            return "not known"
        if self.later[issue.image] == NEW:
            return "still new"
        return "right" if issue.label in names else "another name"


def counts(known: Collection, later: Later) -> None:
    """Print the number of photos in both contests, and the later identities of unknown individuals."""
    unknowns = [image for image, name in known.table.select("image", "identity").iter_rows() if name == NEW]
    again = [image for image in unknowns if image in later.later]
    named = [image for image in again if later.later[image] != NEW]
    today = [image for image in named if later.of_today(image)]
    several = [names for names in later.names.values() if len(names) > 1]
    print(f"{len(later.later):,} of {len(known):,} photos are in both contests")
    print(f"{len(unknowns)} photos of unknown individuals: {len(again)} in both contests, {len(named)} named later")
    print(f"{len(today)} of these show an individual that has a name in the current table")
    print(f"{len(several)} later identities have several current names, {sum(map(len, several))} in all")


def decision(folder: Path, later: Later) -> None:
    """Print the metrics of a run by the table, and by the later identities."""
    scored = ValidatedPhotos(Context.open(folder))
    images = [scored.known.images[row] for row in scored.rows]
    column = {name: number for number, name in enumerate(scored.known.vocabulary.identities)}
    shown = {scored.known.table["identity"][row] for row in np.flatnonzero(scored.folds.fold < 0).tolist()}
    truth, use = scored.truth.copy(), np.ones(len(scored.truth), np.bool_)
    hidden = right = 0
    for row in np.flatnonzero(scored.truth < 0).tolist():
        names = later.of_today(images[row])
        if names is None:
            use[row] = False
        elif candidates := [column[name] for name in sorted(names & shown)]:
            first = int(scored.scores[row].argmax())
            hidden, right = hidden + 1, right + (first in candidates)
            truth[row] = first if first in candidates else candidates[0]
    n = int((scored.truth < 0).sum())
    print(f"\n{folder.name}: {n} unknown individuals, {hidden} of them known individuals; first name right for {right}")
    print(
        "| truth | photos | unknown individuals | "
        + " | ".join(COLUMNS)
        + " |\n|---"
        + "|---" * (len(COLUMNS) + 2)
        + "|"
    )
    for name, of, at in (("the table", scored.truth, np.ones_like(use)), ("later identities", truth, use)):
        scores, classes, groups = scored.scores[at], of[at], scored.known.take(scored.rows[at]).groups
        threshold = fit_unknown_threshold(MaxMap(), scores, classes, k=5).at
        confidence = crossed_confidence(scores, classes, groups=groups)
        rows = measure(scores, classes, unknown_at=threshold, k=5)
        rows += measure_decision(scores, classes, unknown=MaxMap(), confidence=confidence, groups=groups, k=5)
        value = {row.name: f"{row.value:.3f} ({row.low:.3f}-{row.high:.3f})" for row in rows}
        cells = " | ".join(value[one] for one in COLUMNS)
        print(f"| {name} | {len(classes)} | {int((classes < 0).sum())} | {cells} |")


def issues(folder: Path, later: Later) -> None:
    """Evaluate the label issues of unknown individuals that a run lists."""
    context = Context.open(folder)
    phash = hashes(context.known.paths).phash
    hash_of = dict(zip(context.known.images, phash, strict=True))
    found = [one for one in identity_issues(context, most=len(context.known)) if one.kind == "unknown"]
    print(f"\n{folder.name}: issues about unknown individuals\n")
    print("| probability | photos | " + " | ".join(VERDICTS) + " |\n|---|---" + "|---" * len(VERDICTS) + "|")
    for what, copies in (("copies of the photo beside", True), ("other photos", False)):
        for low, high in BANDS:
            part = [
                one
                for one in found
                if low <= one.proba < high
                and copies == (int(np.bitwise_count(hash_of[one.image] ^ hash_of[one.beside])) <= WITHIN)
            ]
            verdicts = Counter(later.verdict(one) for one in part)
            cells = (len(part), *(verdicts[one] for one in VERDICTS))
            print(f"| {what}, {low} to {min(high, 1.0)} | " + " | ".join(map(str, cells)) + " |")
    likely = {one.image for one in found if one.proba >= 0.5}
    table = context.known.table.select("image", "identity").iter_rows()
    hidden = [image for image, name in table if name == NEW and later.of_today(image)]
    share = interval(np.array([image in likely for image in hidden], float))
    ends = f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})"
    print(f"{len(hidden)} unknown individuals with a later name; share with a probability of at least 0.5: {ends}")


def names(folder: Path, known: Collection, later: Later) -> None:
    """Print how many pairs of names of one later individual ``fieldmark duplicates --run`` suggests."""
    true = {frozenset(pair) for several in later.names.values() for pair in combinations(sorted(several), 2)}
    matched = {name for several in later.names.values() for name in several}
    found = duplicates(known, run=folder).suggested
    pairs = [(frozenset((one.first, one.second)), one.n_shared > 0) for one in found]
    print(f"\n{folder.name}: {len(pairs)} pairs of names suggested; {len(true)} pairs were one individual later")
    for way, shares in (("share a photo", True), ("look similar", False)):
        some = [pair for pair, shared in pairs if shared == shares]
        checked = [pair for pair in some if pair <= matched]
        n_right = sum(pair in true for pair in checked)
        print(f"{way}: {len(some)}, of which {len(checked)} can be checked, {n_right} right")
    context = Context.open(folder)
    place = context.run.stage(context.plan.only(Embed).name) / "gallery0"
    gallery, rows = GalleryStore.open(place), np.load(place / EMBEDDING)
    of_named = np.flatnonzero(gallery.classes >= 0)
    similar = best_identities(rows[of_named], rows, gallery.classes, k=11, own=of_named).identities
    name = context.known.vocabulary.identities
    for most in (1, 10):
        nearest = {
            frozenset((name[own], name[other]))
            for own, others in zip(gallery.classes[of_named].tolist(), similar.tolist(), strict=True)
            for other in [one for one in others if one not in {own, -2}][:most]
        }
        print(f"among the {most} most similar other names of a photo: {len(nearest & true)} of {len(true)} pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--of", nargs="*", default=[], help="finished runs of benchmarks/humpback.py")
    parser.add_argument("--issues", action="store_true", help="also evaluate the label issues of the runs")
    options = parser.parse_args()
    known = read(DATA / "humpback2018_100px" / "labels.csv", unknown=NEW)
    later = Later.of(known)
    counts(known, later)
    for name in options.of:
        decision(options.runs / name, later)
        names(options.runs / name, known, later)
        if options.issues:
            issues(options.runs / name, later)


if __name__ == "__main__":
    main()
