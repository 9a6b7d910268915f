"""How many unknown individuals of the whales' table are none, whether points find them, and what they do to the decision.

    python benchmarks/hidden_names.py --runs runs --of "reidentify, seed 1" "reidentify, evidence, seed 1"
    python benchmarks/hidden_names.py --runs runs --of "reidentify, evidence, seed 1" --issues

The contest of 2018/19 gave many photos of the playground (``humpback2018_100px``) another name a year later: its table
(``meta_humpback2019``) has hashes of its photos. A photo whose hash lies within 6 of 64 bits of one there is taken for
the same; a name of then is a name of now where a named photo is both. Names are later truth for judging only: no run
here learns from them, and nothing is chosen by them.

Then the pairs of names that ``fieldmark duplicates --run`` suggests. ``--issues`` lists issues about all unknown individuals, as
``fieldmark issues`` does; the first time it finds points for some minutes.
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
from fieldmark.stages.engine import open_run

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
from fieldmark.stages.identity.embed import Embed
from fieldmark.tasks.identification.measures import measure, measure_decision
from fieldmark.tasks.identification.report import Judged
from fieldmark.tasks.issues import LabelIssue, identity_issues

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
WITHIN = 6
NEW = "new_whale"
VERDICTS = ("right", "another name", "still new", "cannot be told")
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
    """What was said of the playground's photos a year later.

    Attributes:
        said: Name of then, or ``new_whale``, of each photo that was found again.
        names: For a name of then the names of now.
    """

    said: Mapping[str, str]
    names: Mapping[str, set[str]]

    @classmethod
    def of(cls, known: Collection) -> Later:
        """By the hashes of both contests."""
        told = dict(pl.read_csv(DATA / "meta_humpback2019" / "train.csv").iter_rows())
        table = pl.read_csv(DATA / "meta_humpback2019" / "phash_size.csv").filter(pl.col("Image").is_in(list(told)))
        there, then = np.array([int(one, 16) for one in table["phash"]], np.uint64), table["Image"].to_list()
        said = {}
        for image, mine in zip(known.images, hashes(known.paths).phash, strict=True):
            bits = np.bitwise_count(there ^ mine)
            nearest = int(bits.argmin())
            if bits[nearest] <= WITHIN:
                said[image] = told[then[nearest]]
        names: dict[str, set[str]] = defaultdict(set)
        for image, name in known.table.select("image", "identity").iter_rows():
            if name != NEW and said.get(image, NEW) != NEW:
                names[said[image]].add(name)
        return cls(said, names)

    def of_today(self, image: str) -> set[str] | None:
        """The names that the individual on a photo has today; none if it had none; None: nobody knows."""
        said = self.said.get(image)
        return None if said is None else self.names.get(said, set())

    def verdict(self, label_error_proba: LabelIssue) -> str:
        """What became of an unknown individual given a name; where the named photo beside it lost its own, nobody knows."""
        names = self.of_today(label_error_proba.image)
        if names is None or self.said.get(label_error_proba.beside) == NEW:
            return "cannot be told"
        if self.said[label_error_proba.image] == NEW:
            return "still new"
        return "right" if label_error_proba.label in names else "another name"


def counts(known: Collection, later: Later) -> None:
    """How many photos were found again, and what became of unknown individuals."""
    unknowns = [image for image, name in known.table.select("image", "identity").iter_rows() if name == NEW]
    again = [image for image in unknowns if image in later.said]
    named = [image for image in again if later.said[image] != NEW]
    today = [image for image in named if later.of_today(image)]
    several = [names for names in later.names.values() if len(names) > 1]
    print(f"{len(later.said):,} of {len(known):,} photos found again")
    print(f"{len(unknowns)} unknown individuals: {len(again)} found again, {len(named)} of them with a name")
    print(f"{len(today)} of these show an individual that has a name in today's table")
    print(f"{len(several)} individuals of then have several names today, {sum(map(len, several))} in all")


def decision(folder: Path, later: Later) -> None:
    """The measures of a run by the table, and by what was known later."""
    judged = Judged(open_run(folder))
    images = [judged.known.images[row] for row in judged.rows]
    column = {name: number for number, name in enumerate(judged.known.vocabulary.identities)}
    shown = {judged.known.table["identity"][row] for row in np.flatnonzero(judged.fold < 0).tolist()}
    truth, use = judged.truth.copy(), np.ones(len(judged.truth), np.bool_)
    hidden = right = 0
    for row in np.flatnonzero(judged.truth < 0).tolist():
        names = later.of_today(images[row])
        if names is None:
            use[row] = False
        elif candidates := [column[name] for name in sorted(names & shown)]:
            first = int(judged.scores[row].argmax())
            hidden, right = hidden + 1, right + (first in candidates)
            truth[row] = first if first in candidates else candidates[0]
    n = int((judged.truth < 0).sum())
    print(f"\n{folder.name}: {n} unknown individuals, {hidden} of them known individuals; first name right for {right}")
    print(
        "| truth | photos | unknown individuals | "
        + " | ".join(COLUMNS)
        + " |\n|---"
        + "|---" * (len(COLUMNS) + 2)
        + "|"
    )
    for name, of, at in (("the table", judged.truth, np.ones_like(use)), ("what was known later", truth, use)):
        scores, told, groups = judged.scores[at], of[at], judged.known.take(judged.rows[at]).groups
        threshold = fit_unknown_threshold(MaxMap(), scores, told, k=5).at
        sure = crossed_confidence(scores, told, groups=groups)
        rows = measure(scores, told, unknown_at=threshold, k=5)
        rows += measure_decision(scores, told, unknown=MaxMap(), sure=sure, groups=groups, k=5)
        value = {row.name: f"{row.value:.3f} ({row.low:.3f}-{row.high:.3f})" for row in rows}
        print(f"| {name} | {len(told)} | {int((told < 0).sum())} | " + " | ".join(value[one] for one in COLUMNS) + " |")


def issues(folder: Path, later: Later) -> None:
    """What became of the unknown individuals that a run issues."""
    opened = open_run(folder)
    seen = hashes(opened.known.paths).phash
    hash_of = dict(zip(opened.known.images, seen, strict=True))
    found = [one for one in identity_issues(opened, most=len(opened.known)) if one.kind == "unknown"]
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
            told = Counter(later.verdict(one) for one in part)
            cells = (len(part), *(told[one] for one in VERDICTS))
            print(f"| {what}, {low} to {min(high, 1.0)} | " + " | ".join(map(str, cells)) + " |")
    sure = {one.image for one in found if one.proba >= 0.5}
    table = opened.known.table.select("image", "identity").iter_rows()
    hidden = [image for image, name in table if name == NEW and later.of_today(image)]
    share = interval(np.array([image in sure for image in hidden], float))
    ends = f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})"
    print(f"of {len(hidden)} unknown individuals with a name, doubted from 0.5 on: {ends}")


def names(folder: Path, known: Collection, later: Later) -> None:
    """How many of the names that were one individual later ``fieldmark duplicates --run`` suggests."""
    true = {frozenset(pair) for several in later.names.values() for pair in combinations(sorted(several), 2)}
    told = {name for several in later.names.values() for name in several}
    found = duplicates(known, run=folder).suggested
    pairs = [(frozenset((one.first, one.second)), one.n_shared > 0) for one in found]
    print(f"\n{folder.name}: {len(pairs)} pairs of names suggested; {len(true)} pairs were one individual later")
    for way, shares in (("share a picture", True), ("look similar", False)):
        some = [pair for pair, shared in pairs if shared == shares]
        judged = [pair for pair in some if pair <= told]
        print(f"{way}: {len(some)}, of which {len(judged)} can be told, {sum(pair in true for pair in judged)} right")
    opened = open_run(folder)
    place = opened.run.stage(opened.plan.only(Embed).name) / "gallery0"
    gallery, rows = GalleryStore.open(place), np.load(place / EMBEDDING)
    of_named = np.flatnonzero(gallery.classes >= 0)
    similar = best_identities(rows[of_named], rows, gallery.classes, k=11, own=of_named).identities
    name = opened.known.vocabulary.identities
    for most in (1, 10):
        seen = {
            frozenset((name[own], name[other]))
            for own, others in zip(gallery.classes[of_named].tolist(), similar.tolist(), strict=True)
            for other in [one for one in others if one not in {own, -2}][:most]
        }
        print(f"among the {most} most similar other names of a photo: {len(seen & true)} of {len(true)} pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--of", nargs="*", default=[], help="finished runs of benchmarks/humpback.py")
    parser.add_argument("--issues", action="store_true", help="list what the runs doubt, too")
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
