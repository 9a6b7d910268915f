"""Claim: the unchanged recipe ``reidentify`` identifies another species better than the training of other toolkits.

    OMP_NUM_THREADS=1 python benchmarks/species.py tune --runs runs/lions       settings of all, on the training part
    OMP_NUM_THREADS=1 python benchmarks/species.py test --runs runs/lions       three seeds on the test part
    OMP_NUM_THREADS=1 python benchmarks/species.py unknowns --runs runs/lions   a fifth of the lions as unknown
    python benchmarks/species.py table --runs runs/lions                        the tables of finished runs

``--only NAME ...`` selects rows by their names in the tables.

Lions (``liondata``): 740 crops of 94 individuals, with the published split of 585 training and 155 query photos, all of
known individuals. All methods get the same photos at 128 px, with the same six augmented versions and flips, for about
6,000 samples. They use the same backbone (EfficientNet-Lite0 of ImageNet) with its lower half frozen. They differ in
losses, sampler, optimiser, and ranking.

* ``reidentify`` holds out eight of the 585 photos for its decision; its gallery has all of them. ``fieldmark symmetry``
  on the training part decided that flips of lions count as the same individual ("same").
* pytorch-metric-learning: ``MetricLossOnly`` with ``MPerClassSampler`` (4 per lion, batches of 32), Adam and a cosine
  schedule; ArcFace with its defaults (28.6 degrees, scale 64), or triplets with the batch-hard miner. The result is the
  identity of the most similar photo.
* wildlife-tools (0.0.9): ``BasicTrainer`` with its ``ArcFaceLoss`` (0.5, 64), SGD with momentum and a cosine schedule,
  as in its documentation. The result is that of ``KnnClassifier(k=1)``: the identity of the photo with the largest
  cosine. The package requires another OpenCV and other packages that its trainer does not need, so install it with
  ``pip install --no-deps wildlife-tools``.

``tune`` uses a fifth of the training part to choose one of two learning rates of each other toolkit, and one of two
losses of ``reidentify``. All other settings of ``reidentify`` are its defaults, which were chosen on whales and on that
fifth (see the lab book).
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fieldmark.core.seeds import generator, hash_seed
from fieldmark.data.collection import Collection
from fieldmark.data.folds import assign
from fieldmark.data.reading import read
from fieldmark.data.specs import IdentityFolds, OpenSetSplit
from fieldmark.decisions.identities import from_embeddings
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import Best, Centroid
from fieldmark.images.specs import WhaleAugment
from fieldmark.metrics.intervals import interval, share_interval
from fieldmark.metrics.open_set import roc_auc
from fieldmark.metrics.ranking import average_precision
from fieldmark.models.network import Network, build, freeze
from fieldmark.models.specs import EmbeddingHead, Net
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.embeddings import Embeddings
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.networks import look
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.recipe import RECIPES
from fieldmark.plans.reidentify import SCALES
from fieldmark.plans.sizes import LOWER_LITE
from fieldmark.quality.regions.sources import label_source, photo_source
from fieldmark.stages.common.split import Split
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import ByLogits, Vote, identity_scores
from fieldmark.training.embed import embed_photos
from fieldmark.training.features import FeatureStore, body

SHELF = dict(RECIPES.items())

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "liondata"
EPOCHS, SIDE_PX, M, K = 11, 128, 4, 5
SMALL = SCALES["small"]
PREPROCESS = SMALL.preprocess.model_copy(update={"height_px": SIDE_PX, "width_px": SIDE_PX})
HOLDOUT = OpenSetSplit(n_known=8, n_unknown=0)
CPU = torch.device("cpu")


class Task(NamedTuple):
    """Training and query photos, with a folder for features of the frozen half."""

    teach: Collection
    ask: Collection
    folder: Path
    seed: int

    @property
    def features(self) -> Path:
        """Folder of features shared by all methods that are trained on these photos."""
        return self.folder.parent / "features"


OTHER_VOTES = {
    "centroids=false": (Vote(by=Best()), Vote(by=ByLogits(), weight=0.5)),
    "most similar photo": (Vote(by=Best()),),
    "head alone": (Vote(by=ByLogits()),),
}
"""Other rankings with the same networks."""
Scores = dict[str, np.ndarray]
"""Scores of each query photo and lion, for each ranking."""


def task(runs: Path, part: str, seed: int) -> Task:
    """Return the task of the part ``test``, or of ``validation 0`` ... within the training part."""
    photos = read(DATA / "labels.csv", unknown=None)
    given = photos.table["split"].to_numpy() == "train"
    teach, ask = photos.take(given), photos.take(~given)
    if part != "test":
        folds = IdentityFolds(n_folds=5)
        fold = assign(folds, classes=teach.classes, groups=teach.groups, dates=teach.dates, truth=None, seed=0)
        held_out = fold == int(part.removeprefix("validation "))
        teach, ask = teach.take(~held_out), teach.take(held_out)
    return Task(teach, ask, runs / part, seed)


def plan_of(*, holdout: OpenSetSplit = HOLDOUT, **options: Any) -> Plan:
    """Return the plan of the recipe for the same number of samples as the other methods, with another split."""
    options = {"horizontal_flip": "same_identity", "height_px": SIDE_PX, "width_px": SIDE_PX} | options
    epochs = EPOCHS // (1 if options["horizontal_flip"] == "none" else 2)  # an epoch has each photo and its flip
    plan = SHELF["reidentify"](effort=epochs / 22, **options)
    return plan.model_copy(update={"stages": (Split(name="split", folds=holdout), *plan.stages[1:])}).check()


def ours(at: Task, name: str, **options: Any) -> Scores:
    folder = at.folder / f"{name}, seed {at.seed}"
    execute(plan_of(**options), at.teach, folder, seed=at.seed, device="cpu", n_workers=1, features=at.features)
    application = applied(folder, at.ask)
    context, embed = application.context, application.context.plan.only(Embed)
    scores = ranked(application)
    (net,) = context.artifact(Models, embed.of).nets("cpu")
    gallery = context.artifact(Embeddings, embed.name).gallery(0, made_by=net.sha256)
    (outputs,) = look([net], at.ask, flip=True, n_identities=scores.shape[1], n_workers=1)
    assert np.allclose(outputs.embedding, application.value(embed.name).embedding[0], atol=1e-5)
    about = {"query": outputs.embedding, "gallery": gallery, "n_classes": scores.shape[1]}
    ways = {name: identity_scores(votes, proba=outputs.proba, **about) for name, votes in OTHER_VOTES.items()}
    return {"": scores} | ways


def applied(folder: Path, photos: Collection) -> Application:
    """Return the stages of a finished run, to be applied to photos."""
    return Application(Context.open(folder).computing(device="cpu", n_workers=1), photos)


def ranked(application: Application) -> np.ndarray:
    """Return the score of each individual for each photo, by the last ranking of the run."""
    found: RankedPhotos = application.value(application.context.plan.answering().name)
    return found.scores


class Pictures(torch.utils.data.Dataset):
    """Training data of ``reidentify``: augmented photos, half of them flipped, as outputs of the frozen lower half."""

    def __init__(self, network: Network, at: Task) -> None:
        freeze(network, LOWER_LITE)
        seed = hash_seed(at.seed, "net")
        source = label_source((at.teach,), PREPROCESS, augment=WhaleAugment(), versions=SMALL.versions, seed=seed)
        self.body = body(
            network, source, items=np.arange(2 * len(source)), features=FeatureStore(at.features), n_workers=1
        )
        self.labels, self.chance, self.drawn = at.teach.classes, generator(at.seed, "mirrored"), 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        self.drawn += 1
        item = number + len(self) * int(self.chance.integers(2))
        (features,) = self.body.source.batches(np.array([[item]]), epoch=self.drawn, n_workers=0)
        return features[0], int(self.labels[number])


class Learning(torch.nn.Module):
    """The trained upper part of the network as a separate module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # noqa: D102 - torch's
        return self.network.upper(len(LOWER_LITE))(features).embedding


def network_of(at: Task, dim: int | None = None) -> Network:
    return build(Net(neck="none", head=EmbeddingHead(dim=dim)), n_classes=1, seed=hash_seed(at.seed, "peer"))


def scores_of(network: Network, at: Task) -> Scores:
    """Return scores by the most similar photo, as in all other toolkits, and by the ranking of ``reidentify``."""
    views = [
        _whole(embed_photos(network, photo_source(photos, PREPROCESS), device=CPU, flip=True, n_workers=1).embedding)
        for photos in (at.ask, at.teach)
    ]
    classes, n_classes = at.teach.classes, len(at.teach.vocabulary.identities)
    query, gallery = views[0][0], views[1][0]
    both = [np.concatenate([*view], axis=1) / np.sqrt(2) for view in views]
    nearest = from_embeddings(query, gallery, classes, n_classes=n_classes)
    _check(nearest, query, gallery, at)
    return {"": nearest, "centroids, mirrored too": from_embeddings(*both, classes, n_classes=n_classes, by=Centroid())}


def _whole(embedding: np.ndarray) -> np.ndarray:
    """Replace embeddings of zeros (of a network with dead features) by one constant direction."""
    empty = np.linalg.norm(embedding, axis=-1, keepdims=True) < 0.5
    return np.where(empty, np.float32(embedding.shape[-1] ** -0.5), embedding)


def _check(nearest: np.ndarray, query: np.ndarray, gallery: np.ndarray, at: Task) -> None:
    """Check that the accuracy calculator of pytorch-metric-learning gives the same value."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    calculator = AccuracyCalculator(
        include=("precision_at_1",), k=1, knn_func=CustomKNN(CosineSimilarity()), device=CPU
    )
    truth, known = torch.from_numpy(at.ask.classes.copy()), torch.from_numpy(at.teach.classes.copy())
    theirs = calculator.get_accuracy(torch.from_numpy(query), truth, torch.from_numpy(gallery), known)["precision_at_1"]
    assert abs(theirs - (nearest.argmax(axis=1) == at.ask.classes).mean()) < 0.5 / len(query)


def frozen(at: Task, name: str) -> Scores:
    del name
    return scores_of(network_of(at), at)


def metric_learning(
    at: Task, name: str, *, loss: str, lr: float, batch: int = 32, dim: int | None = None, **options: Any
) -> Scores:
    """Return the scores after training with pytorch-metric-learning."""
    from pytorch_metric_learning import losses, miners, samplers, trainers
    from pytorch_metric_learning.utils import common_functions

    del name
    _seed(at.seed)
    common_functions.NUMPY_RANDOM = np.random.RandomState(at.seed)  # the library's own
    network = network_of(at, dim)
    learning, pictures = Learning(network), Pictures(network, at)
    n_classes, width = len(at.teach.vocabulary.identities), dim or network.width
    sampler = samplers.MPerClassSampler(pictures.labels, m=M, batch_size=batch, length_before_new_iter=len(pictures))
    n_updates = EPOCHS * (len(sampler) // batch)
    trained = [weights for weights in learning.parameters() if weights.requires_grad]
    optimisers = {"trunk_optimizer": torch.optim.Adam(trained, lr=lr, weight_decay=1e-4)}
    if loss == "arcface":
        minimised = losses.ArcFaceLoss(n_classes, width, **options)
        optimisers["metric_loss_optimizer"] = torch.optim.Adam(minimised.parameters(), lr=10 * lr)
        mining = {}
    else:
        minimised, mining = losses.TripletMarginLoss(**options), {"tuple_miner": miners.BatchHardMiner()}
    schedules = {
        f"{one.removesuffix('_optimizer')}_scheduler_by_iteration": torch.optim.lr_scheduler.CosineAnnealingLR(
            optimiser, n_updates
        )
        for one, optimiser in optimisers.items()
    }
    trainer = trainers.MetricLossOnly(
        {"trunk": learning},
        optimisers,
        batch,
        {"metric_loss": minimised},
        pictures,
        mining_funcs=mining,
        sampler=sampler,
        lr_schedulers=schedules,
        dataloader_num_workers=0,
        data_device=CPU,
    )
    trainer.train(num_epochs=EPOCHS)
    return scores_of(network.eval(), at)


def wildlife(at: Task, name: str, *, lr: float, batch: int = 32) -> Scores:
    """Return the scores after training with wildlife-tools."""
    from wildlife_tools.train import ArcFaceLoss, BasicTrainer

    del name
    _seed(at.seed)
    network = network_of(at)
    learning, pictures = Learning(network), Pictures(network, at)
    objective = ArcFaceLoss(len(at.teach.vocabulary.identities), network.width, margin=0.5, scale=64)
    trained = [one for one in itertools.chain(learning.parameters(), objective.parameters()) if one.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=EPOCHS, eta_min=lr * 1e-3)
    trainer = BasicTrainer(
        pictures, learning, objective, optimiser, EPOCHS, schedule, device="cpu", batch_size=batch, num_workers=0
    )
    trainer.train()
    return scores_of(network.eval(), at)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)  # both libraries shuffle by the global generators


def cpu(function: Callable[[], Scores]) -> tuple[Scores, float]:
    began = time.process_time()
    return function(), time.process_time() - began


class Way(NamedTuple):
    """A method of training and ranking, with its options."""

    by: Callable[..., Scores]
    options: dict[str, Any]


PML, WT = "pytorch-metric-learning", "wildlife-tools"
FAMILIES = {
    "frozen backbone": {"frozen backbone": Way(frozen, {})},
    "reidentify": {
        "reidentify, questions": Way(ours, {}),
        "reidentify, arcface": Way(ours, {"loss": "arcface"}),
    },
    f"{PML}, arcface": {
        f"{PML}, arcface, lr {lr:g}": Way(metric_learning, {"loss": "arcface", "lr": lr}) for lr in (1e-3, 3e-4)
    },
    f"{PML}, triplet": {
        f"{PML}, triplet, lr {lr:g}": Way(metric_learning, {"loss": "triplet", "lr": lr}) for lr in (3e-4, 1e-4)
    },
    WT: {f"{WT}, lr {lr:g}": Way(wildlife, {"lr": lr}) for lr in (3e-2, 1e-2)},
}
CANDIDATES = {name: way for ways in FAMILIES.values() for name, way in ways.items()}


def chosen(runs: Path, folds: list[int]) -> dict[str, Way]:
    """Return the method with the best MAP@5 of each family, on validation folds finished by all its candidates."""
    found = {}
    for ways in FAMILIES.values():
        worth = dict.fromkeys(ways, 0.0)
        for fold in folds:
            files = [runs / f"validation {fold}" / f"{name}, seed 1.npz" for name in ways]
            if all(path.exists() for path in files):
                for name, path in zip(ways, files, strict=True):
                    saved = np.load(path)
                    worth[name] += evaluated(saved["as shipped"], saved["truth"])[2].mean()
        best = max(worth, key=worth.__getitem__)
        found[best] = ways[best]
    return found


def run(runs: Path, part: str, name: str, way: Way, seed: int) -> None:
    path = runs / part / f"{name}, seed {seed}.npz"
    if path.exists():
        return
    at = task(runs, part, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    scores, took = cpu(lambda: way.by(at, name, **way.options))
    np.savez(path, truth=at.ask.classes, took=took, **{key or "as shipped": value for key, value in scores.items()})
    print(part, name, f"seed {seed}: {took:.0f} CPU-s", flush=True)
    for key, value in scores.items():
        print("   ", key, " ".join(f"{one:.3f}" for one in evaluated(value, at.ask.classes).mean(axis=1)), flush=True)


def evaluated(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return for each photo: right at rank 1, right within rank 5, average precision at 5."""
    answers = rank(scores, unknown_at=None, k=K)
    precision = average_precision(answers, truth, k=K)
    return np.stack([precision == 1, precision > 0, precision])


def unknowns(runs: Path, seed: int, **options: Any) -> None:
    """Evaluate the recipe, with its own split and decision, with a fifth of the lions as unknown individuals."""
    photos = read(DATA / "labels.csv", unknown=None)
    names = np.array(photos.vocabulary.identities)
    # The text is a part of the seed: another text draws other lions and changes the published numbers.
    unknown = np.isin(photos.classes, generator(0, "strangers").permutation(len(names))[: len(names) // 5])
    given = photos.table["split"].to_numpy() == "train"
    teach = Collection.of(photos.table.filter(given & ~unknown), root=photos.root, unknown=None)
    ask = photos.take(unknown | ~given)
    folder = runs / f"unknowns, seed {seed}"
    plan = plan_of(holdout=OpenSetSplit(), **options)
    execute(plan, teach, folder, seed=seed, device="cpu", n_workers=1, features=runs / "features")
    application = applied(folder, ask)
    scores, final = ranked(application), application.context.plan.final()
    unknown_at = application.context.artifact(Ranking, final.name).decision.threshold.at
    known, first = ~unknown[unknown | ~given], scores.max(axis=1)
    auc = interval(lambda rows: roc_auc(first[rows], known[rows]), n_queries=len(known))
    print(f"seed {seed}: AUC {auc}; {known.sum()} photos of known lions, {(~known).sum()} of unknown individuals")
    for what, at in (
        ("threshold of the run", unknown_at),
        ("threshold at FNIR = 10 %", np.quantile(first[known], 0.1)),
    ):
        found = share_interval(int((first[~known] < at).sum()), int((~known).sum()))
        print(f"  {what}: {found} of the unknown individuals detected, FNIR {(first[known] < at).mean():.3f}")


def table(runs: Path, part: str, seeds: list[int], names: list[str]) -> None:
    """Print means over seeds with intervals over photos and the range of seeds, then paired gains of our methods."""
    rows: dict[str, np.ndarray] = {}
    for name in names:
        files = [path for seed in seeds if (path := runs / part / f"{name}, seed {seed}.npz").exists()]
        found = [np.load(path) for path in files]
        for way in [key for key in (found[0] if found else ()) if key not in {"truth", "took"}]:
            label = name if way == "as shipped" else f"{name}: {way}"
            rows[label] = np.stack([evaluated(one[way], one["truth"]) for one in found])
    print(f"\n{part}\n\n| | seeds | top-1 | top-5 | MAP@5 |\n|---|---|---|---|---|")
    for name, values in rows.items():
        cells = []
        for number in np.moveaxis(values, 1, 0):
            of_seeds = number.mean(axis=1)
            cells.append(f"{interval(number.mean(axis=0))}, seeds {of_seeds.min():.3f}-{of_seeds.max():.3f}")
        print(f"| {name} | {len(values)} | " + " | ".join(cells) + " |")
    for mine in [name for name in rows if name.startswith("reidentify") and ":" not in name]:
        print(f"\n| gain of {mine} over | top-1 | top-5 | MAP@5 |\n|---|---|---|---|")
        for name, values in rows.items():
            if name != mine:
                more = rows[mine].mean(axis=0) - values.mean(axis=0)
                print(f"| {name} | " + " | ".join(str(interval(one)) for one in more) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tune", "test", "unknowns", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--folds", type=int, nargs="*", default=[0], help="folds of the training part for tuning")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--only", nargs="*", help="names of the rows to make (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = lambda ways: {name: way for name, way in ways.items() if not options.only or name in options.only}  # noqa: E731
    if options.what == "tune":
        for fold, (name, way) in itertools.product(options.folds, wanted(CANDIDATES).items()):
            run(options.runs, f"validation {fold}", name, way, 1)
    if options.what == "test":
        for seed, (name, way) in itertools.product(options.seeds, wanted(chosen(options.runs, options.folds)).items()):
            run(options.runs, "test", name, way, seed)
    if options.what == "unknowns":
        best = next(way for way in chosen(options.runs, options.folds).values() if way.by is ours)
        for seed in options.seeds:
            unknowns(options.runs, seed, **best.options)
    if options.what in {"tune", "table"}:
        for fold in options.folds:
            table(options.runs, f"validation {fold}", [1], list(CANDIDATES))
    if options.what in {"test", "table"}:
        table(options.runs, "test", options.seeds, list(chosen(options.runs, options.folds)))


if __name__ == "__main__":
    main()
