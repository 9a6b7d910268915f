"""What a shop of drawn garments has in stock, what is asked of each, and the words that it is sold by.

Frequencies fall: the first of a list of answers is the most frequent. What the table says is the truth with cells left
empty and answers mistaken in known numbers, so that whatever copes with either can be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy.random import Generator

from fieldmark.core import seeds
from fieldmark.specimens.cloth import COLOURS
from fieldmark.specimens.garments import MAKERS, Garment

_COLOURS = tuple(COLOURS)
ASKED: dict[str, dict[str, tuple[str, ...]]] = {
    "shoe": {
        "colour": _COLOURS,
        "gender": ("women", "men"),
        "heel type": ("flat", "block", "stiletto", "wedge"),
        "toe shape": ("round", "pointed", "open"),
    },
    "pants": {
        "colour": _COLOURS,
        "pattern": ("plain", "striped", "checked"),
        "fit": ("straight", "skinny", "wide", "flared"),
        "length": ("long", "short", "cropped"),
    },
    "outerwear": {
        "colour": _COLOURS,
        "gender": ("women", "men"),
        "material": ("wool", "denim", "quilted", "leather"),
        "closure type": ("buttons", "zip", "toggles"),
    },
    "dress": {
        "colour": _COLOURS,
        "pattern": ("plain", "dotted", "striped", "checked"),
        "length": ("knee", "maxi", "mini"),
        "sleeve length": ("short", "sleeveless", "long"),
    },
}
"""What is asked of each category, with the answers, the most frequent first; questions share some of them."""
QUESTIONS: dict[str, tuple[str, ...]] = {
    f"{category}:{asked}": answers for category, attributes in ASKED.items() for asked, answers in attributes.items()
}
"""The questions by the names of their columns, ``category:attribute`` as in the contest."""
CATEGORY = "category"
TAIL = 5.0
"""How many times as frequent the first of a list of answers is as the last."""
TWO_COLOURS = 0.15
"""Share of the garments that are of two colours, both of which are right."""
PHOTOS_OF_ONE = ((1, 0.5), (2, 0.3), (3, 0.2))
"""How many photos a product has, with the share of the products that have so many."""

NOUNS = {
    "shoe": ("shoes", "footwear", "shoe"),
    "pants": ("pants", "trousers"),
    "outerwear": ("jacket", "coat"),
    "dress": ("dress", "gown"),
}
"""What each category is called in the names of products."""
SYNONYMS = {"red": "scarlet", "blue": "navy", "beige": "sand", "brown": "chestnut", "grey": "charcoal", "pink": "rose"}
NAMES = ("Aurora", "Bellamy", "Cleo", "Dahlia", "Ellis", "Fjord", "Gala", "Harper", "Iris", "Juno", "Kit", "Luna")
MENTIONED = 0.5
"""Chance that a product's name says what is asked of it, for each question."""
FOLDERS = {"shoe": "shoes", "pants": "pants", "outerwear": "outerwear", "dress": "dresses"}

Truth = Mapping[str, tuple[str, ...]]
"""The right answers to questions by their columns' names."""


@dataclass(frozen=True)
class Product:
    """Something in stock.

    Attributes:
        garment: What it looks like.
        name: What it is sold by; partly tells what it is.
        slug: The same for addresses, in small letters with dashes.
        leaks: Whether the addresses of its photos are made of the slug.
    """

    garment: Garment
    name: str
    slug: str
    leaks: bool

    @property
    def truth(self) -> dict[str, tuple[str, ...]]:
        """The right answers to all questions that apply, the category first."""
        category = self.garment.category
        attributes = {f"{category}:{asked}": answers for asked, answers in self.garment.answers.items()}
        return {CATEGORY: (category,), **attributes}


def stock(n_products: int, *, share_leaky: float, seed: int, part: str) -> list[Product]:
    """The products of one part of a shop.

    Args:
        n_products: How many.
        share_leaky: Share of them whose addresses tell what they are.
        seed: The shop.
        part: Another part, other products.
    """
    chance = seeds.generator(seed, "stock", part)
    leaky = np.zeros(n_products, bool)
    leaky[chance.permutation(n_products)[: round(share_leaky * n_products)]] = True
    products = []
    for number in range(n_products):
        chance = seeds.generator(seed, "product", part, number)
        category = _drawn(tuple(MAKERS), chance)
        garment = Garment(category, _answers(category, chance), seeds.hash_seed(seed, "garment", part, number))
        name, slug = _words(garment, chance)
        products.append(Product(garment, name, slug, bool(leaky[number])))
    return products


def _drawn(answers: Sequence[str], chance: Generator) -> str:
    """One of some answers, the earlier the likelier."""
    shares = TAIL ** -(np.arange(len(answers)) / max(1, len(answers) - 1))
    return answers[int(chance.choice(len(answers), p=shares / shares.sum()))]


def _answers(category: str, chance: Generator) -> dict[str, tuple[str, ...]]:
    """What is true of a garment; men's shoes have no thin heels and no open toes."""
    found: dict[str, tuple[str, ...]] = {
        asked: (_drawn(answers, chance),) for asked, answers in ASKED[category].items()
    }
    if chance.random() < TWO_COLOURS:
        others = [colour for colour in COLOURS if colour not in found["colour"]]
        found["colour"] = (*found["colour"], _drawn(others, chance))
    if category == "shoe" and found["gender"] == ("men",):
        found["heel type"] = (_drawn(("flat", "block"), chance),)
        found["toe shape"] = (_drawn(("round", "pointed"), chance),)
    return found


def _words(garment: Garment, chance: Generator) -> tuple[str, str]:
    """The name of a product and the slug of its addresses; each mentions some of what is asked, never wrongly."""
    noun = NOUNS[garment.category][int(chance.integers(len(NOUNS[garment.category])))]
    proper = NAMES[int(chance.integers(len(NAMES)))]
    told = [
        answer if chance.random() < 0.7 else SYNONYMS.get(answer, answer)
        for answers in garment.answers.values()
        for answer in answers
    ]
    named = [word for word in told if chance.random() < MENTIONED]
    name = " ".join([proper, *named, *([noun] if chance.random() < 0.85 else [])])
    slug = "-".join([*(word for word in told if chance.random() < 0.75), noun])
    return name, slug.replace(" ", "-")


def address(product: Product, *, name: str, of_product: int) -> str:
    """Where a photo of a product lies: told by the slug, or by nothing but the photo's name.

    Args:
        product: The product.
        name: The photo's name.
        of_product: The number of the photo among those of the product.
    """
    if product.leaks:
        folder = FOLDERS[product.garment.category]
        return f"http://shop.example/im/{folder}/{product.slug}-{name[:3]}{of_product}.jpg"
    return f"http://cdn.example/{name[:2]}/{name}.jpg"


@dataclass(frozen=True)
class Told:
    """What the table says of one photo.

    Attributes:
        answers: To each question that is told; the others are empty cells.
        wrong: The questions whose answers are mistaken.
    """

    answers: Truth
    wrong: tuple[str, ...]


def told(truths: Sequence[Truth], *, share_untold: float, share_wrong: float, seed: int) -> list[Told]:
    """What somebody filled in: some cells left empty, and of the others some mistaken; the category is always right.

    As many cells are empty and wrong as the shares say, to the nearest whole number. A mistaken answer is another one
    of the same question; of two right answers both are lost.

    Args:
        truths: The right answers of each photo.
        share_untold: Share of the cells that are left empty.
        share_wrong: Share of the filled cells that are wrong.
        seed: Another seed, other mistakes.

    Source:
        Ours.
    """
    chance = seeds.generator(seed, "told")
    cells = [(photo, question) for photo, truth in enumerate(truths) for question in truth if question != CATEGORY]
    order = chance.permutation(len(cells))
    n_untold = round(share_untold * len(cells))
    n_wrong = round(share_wrong * (len(cells) - n_untold))
    untold, wrong = (
        _by_photo([cells[at] for at in part], len(truths))
        for part in (order[:n_untold], order[n_untold : n_untold + n_wrong])
    )
    found = []
    for photo, truth in enumerate(truths):
        answers = {question: right for question, right in truth.items() if question not in untold[photo]}
        for question in wrong[photo]:
            others = [answer for answer in QUESTIONS[question] if answer not in truth[question]]
            answers[question] = (others[int(chance.integers(len(others)))],)
        found.append(Told(answers, tuple(wrong[photo])))
    return found


def _by_photo(cells: Sequence[tuple[int, str]], n_photos: int) -> list[list[str]]:
    """The questions of some cells, photo by photo, in the order of ``QUESTIONS``."""
    place = {question: number for number, question in enumerate(QUESTIONS)}
    found: list[list[str]] = [[] for _ in range(n_photos)]
    for photo, question in cells:
        found[photo].append(question)
    return [sorted(questions, key=place.__getitem__) for questions in found]


def photos_of(n_photos: int, *, seed: int, part: str) -> Int64[np.ndarray, " photo"]:
    """The product on each photo of one part, numbered from 0."""
    photos, shares = np.array(PHOTOS_OF_ONE).T
    each = seeds.generator(seed, "photos", part).choice(photos.astype(np.int64), n_photos, p=shares)
    return np.repeat(np.arange(n_photos), each)[:n_photos]
