"""A recipe: a function from a size and settings to a whole plan, which refuses settings without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar, get_args

from pydantic import ValidationError

from fieldmark.core.errors import PlanError, nearest, several
from fieldmark.core.registry import Registry
from fieldmark.core.spec import mistaken, parse
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.common import common
from fieldmark.plans.settings import SettingInfo, Settings, Value, as_typed, described
from fieldmark.plans.sizes import Size

SettingsT = TypeVar("SettingsT", bound=Settings)
SIZES: tuple[str, ...] = get_args(Size)


@dataclass(frozen=True)
class Recipe(Generic[SettingsT]):
    """A recipe as a callable value: ``recipe(size="toy", triplet=False)`` is a checked plan.

    Attributes:
        name: As typed.
        kind: The class of its settings.
        build: The plan of a size with settings, before the settings that all recipes share are applied.
        sizes: The sizes it has, the smallest first.
        size: The default size.
    """

    name: str
    kind: type[SettingsT]
    build: Callable[[str, SettingsT], Plan] = field(repr=False)
    sizes: tuple[str, ...] = SIZES
    size: str = "small"

    @property
    def __wrapped__(self) -> Callable[[str, SettingsT], Plan]:
        """The function itself, of which messages say where it comes from."""
        return self.build

    @cached_property
    def settings(self) -> Mapping[str, SettingInfo]:
        """The settings by name, in the order of their groups."""
        return described(self.kind, self.sizes)

    @property
    def about(self) -> str:
        """What it does, in one line."""
        return (self.build.__doc__ or "").strip().partition("\n")[0]

    def __call__(self, *, size: str | None = None, **given: Value) -> Plan:
        """The plan of a size with settings.

        Args:
            size: One of ``sizes``; None for the default.
            **given: Settings by name; text is read as a user types it.

        Raises:
            PlanError: There is no such size or setting, a value cannot be, or a setting has no effect.
        """
        size = self.size if size is None else size
        if size not in self.sizes:
            raise PlanError(f"The recipe '{self.name}' has no such size.", got=size, fix=nearest(size, self.sizes))
        settings = self._read(given)
        self._refuse_needy(size, settings)
        plan = self._made(size, settings)
        self._refuse_idle(size, settings, plan)
        return plan

    def _read(self, given: Mapping[str, Value]) -> SettingsT:
        strange = [one for one in given if one not in self.settings]
        if strange:
            problem = f"The recipe '{self.name}' has no such setting."
            raise PlanError(problem, got=several(strange), fix=nearest(strange[0], self.settings))
        values = {name: self.settings[name].understood(value) for name, value in given.items()}
        try:
            return self.kind(**values)
        except ValidationError as error:
            wrong = str(error.errors()[0]["loc"][0])
            raise self.settings[wrong].refusal(values[wrong]) from error

    def _made(self, size: str, settings: SettingsT) -> Plan:
        try:
            plan = common(self.build(size, settings), settings)
        except ValidationError as error:
            raise mistaken(error, name=self.name) from error
        plan.check()
        # A value put into a finished part has not been validated yet.
        return parse(Plan, plan.model_dump_json(), name=self.name)

    def _refuse_needy(self, size: str, settings: SettingsT) -> None:
        """Refuse settings that the values of others leave without effect, as they declare it."""
        values = settings.values_at(size)
        for name, value in settings.chosen().items():
            unmet = [one for one in self.settings[name].needs.items() if not _met(values[one[0]], one[1])]
            if unmet:
                others = ", ".join(_typed(other, values[other]) for other, _ in unmet)
                cure = " ".join(self._cure(other, wanted) for other, wanted in unmet)
                why = self.settings[name].why
                raise PlanError(
                    f"The setting '{name}' has no effect with {others}{': ' if why else ''}{why}.",
                    got=f"{_typed(name, value)} (recipe {self.name}, size {size})",
                    fix=f"add {cure}, or leave out {name}.",
                )

    def _cure(self, other: str, wanted: tuple[Any, ...]) -> str:
        return f"--size {wanted[0]}" if other == "size" else f"--set {_typed(other, wanted[0])}"

    def _refuse_idle(self, size: str, settings: SettingsT, plan: Plan) -> None:
        """Refuse settings without which the plan would be the same, unless the value is the one it has anyway."""
        chosen = settings.chosen()
        for name, value in chosen.items():
            if self._matters(size, settings, name, value, plan):
                continue
            why = self.settings[name].why or "the plan is the same without it"
            reason, fix = f"here: {why}", f"leave out {name}."
            for other in chosen:
                without = self._with(settings, other, self.settings[other].default)
                if other != name and self._has_effect(size, without, name, value):
                    reason, fix = f"with {_typed(other, chosen[other])}", f"leave out {name} or {other}."
                    break
            else:
                better = [one for one in self.sizes if one != size and self._has_effect(one, settings, name, value)]
                if better:
                    reason, fix = f"at size {size}", f"add --size {better[0]}, or leave out {name}."
            raise PlanError(
                f"The setting '{name}' has no effect {reason}.",
                got=f"{_typed(name, value)} (recipe {self.name}, size {size})",
                fix=fix,
            )

    def _matters(self, size: str, settings: SettingsT, name: str, value: Value, plan: Plan) -> bool:
        """Whether leaving it out, or another value, would make another plan."""
        mine = _answering(plan)
        default = self.settings[name].default
        others: Iterator[Value] = (one for one in (default, *self.settings[name].others()) if one != value)
        for place, other in enumerate(others):
            made = self._tried(size, self._with(settings, name, other))
            if made is not None and _answering(made) != mine:
                return True
            if place == 0 and made is None:  # without it the other settings cannot be
                return True
        return False

    def _has_effect(self, size: str, settings: SettingsT, name: str, value: Value) -> bool:
        settings = self._with(settings, name, value)
        made = self._tried(size, settings)
        if made is None:
            return False
        try:
            self._refuse_needy(size, settings)
        except PlanError:
            return False
        return self._matters(size, settings, name, value, made)

    def _with(self, settings: SettingsT, name: str, value: Value) -> SettingsT:
        return settings.model_copy(update={name: value})

    def _tried(self, size: str, settings: SettingsT) -> Plan | None:
        try:
            self.kind.model_validate(settings.model_dump())
            return self._made(size, settings)
        except (PlanError, ValidationError):
            return None


RECIPES: Registry[Recipe[Any]] = Registry("fieldmark.recipes", what="recipe", home="fieldmark.plans")
"""All recipes by name; those of other packages are listed under the entry-point group ``fieldmark.recipes``."""


def recipe(
    name: str, kind: type[SettingsT], *, sizes: tuple[str, ...] = SIZES, size: str = "small"
) -> Callable[[Callable[[str, SettingsT], Plan]], Recipe[SettingsT]]:
    """Decorator that makes a recipe of a function from a size and settings to a plan, known by its name.

    Args:
        name: As typed.
        kind: The class of its settings.
        sizes: The sizes it has.
        size: The default size.

    Raises:
        FieldmarkError: Another recipe has the name.
    """

    def made(build: Callable[[str, SettingsT], Plan]) -> Recipe[SettingsT]:
        one = Recipe(name, kind, build, sizes, size)
        RECIPES.add(name, one)
        return one

    return made


def _answering(plan: Plan) -> Plan:
    """The stages on which the plan's last stage depends."""
    return plan.up_to(plan.stages[-1].name)


def _met(value: Value, wanted: tuple[Any, ...]) -> bool:
    return value in wanted or (wanted[-1] is ... and bool(value))


def _typed(name: str, value: Value) -> str:
    return f"{name}={as_typed(value)}"
