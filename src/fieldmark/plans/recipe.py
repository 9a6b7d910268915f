"""Recipes: functions that return a complete plan for a size and settings, and refuse settings without effect."""

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
    """A callable that returns a checked plan: ``recipe(size="toy", triplet=False)``.

    Attributes:
        name: Name of the recipe, as typed.
        kind: Class of its settings.
        build: Function from a size and settings to a plan. Shared settings are applied to its result.
        sizes: Available sizes, the smallest first.
        size: Default size.
    """

    name: str
    kind: type[SettingsT]
    build: Callable[[str, SettingsT], Plan] = field(repr=False)
    sizes: tuple[str, ...] = SIZES
    size: str = "small"

    @property
    def __wrapped__(self) -> Callable[[str, SettingsT], Plan]:
        """The decorated function; error messages name its module."""
        return self.build

    @cached_property
    def settings(self) -> Mapping[str, SettingInfo]:
        """The settings by name, sorted by group."""
        return described(self.kind, self.sizes)

    @property
    def about(self) -> str:
        """Description of the recipe in one line."""
        return (self.build.__doc__ or "").strip().partition("\n")[0]

    def __call__(self, *, size: str | None = None, **given: Value) -> Plan:
        """Return the plan for a size and settings.

        Args:
            size: One of ``sizes``; None for the default size.
            **given: Settings by name. Text is parsed as a user types it.

        Raises:
            PlanError: The size or a setting does not exist, a value is not allowed, or a setting has no effect.
        """
        size = self.size if size is None else size
        if size not in self.sizes:
            raise PlanError(f"The recipe '{self.name}' has no such size.", got=size, fix=nearest(size, self.sizes))
        settings = self._read(given)
        self._check_needs(size, settings)
        plan = self._made(size, settings)
        self._check_effects(size, settings, plan)
        return plan

    def _read(self, given: Mapping[str, Value]) -> SettingsT:
        undefined = [one for one in given if one not in self.settings]
        if undefined:
            problem = f"The recipe '{self.name}' has no such setting."
            raise PlanError(problem, got=several(undefined), fix=nearest(undefined[0], self.settings))
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
        # model_copy() does not validate changed values, so the plan is parsed once more.
        return parse(Plan, plan.model_dump_json(), name=self.name)

    def _check_needs(self, size: str, settings: SettingsT) -> None:
        """Raise PlanError for settings whose declared dependence (``needs``) is not met."""
        values = settings.values_at(size)
        for name, value in settings.chosen().items():
            unmet = [one for one in self.settings[name].needs.items() if not _met(values[one[0]], one[1])]
            if unmet:
                others = ", ".join(_typed(other, values[other]) for other, _ in unmet)
                options = " ".join(self._option(other, wanted) for other, wanted in unmet)
                why = self.settings[name].why
                raise PlanError(
                    f"The setting '{name}' has no effect with {others}{': ' if why else ''}{why}.",
                    got=f"{_typed(name, value)} (recipe {self.name}, size {size})",
                    fix=f"add {options}, or leave out {name}.",
                )

    def _option(self, other: str, wanted: tuple[Any, ...]) -> str:
        return f"--size {wanted[0]}" if other == "size" else f"--set {_typed(other, wanted[0])}"

    def _check_effects(self, size: str, settings: SettingsT, plan: Plan) -> None:
        """Raise PlanError for settings that do not change the plan, unless the value equals the default of the size."""
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
        """Return whether leaving the setting out, or another value, results in a different plan."""
        mine = _needed_stages(plan)
        default = self.settings[name].default
        others: Iterator[Value] = (one for one in (default, *self.settings[name].others()) if one != value)
        for place, other in enumerate(others):
            made = self._tried(size, self._with(settings, name, other))
            if made is not None and _needed_stages(made) != mine:
                return True
            if place == 0 and made is None:  # the other settings are invalid without this one
                return True
        return False

    def _has_effect(self, size: str, settings: SettingsT, name: str, value: Value) -> bool:
        settings = self._with(settings, name, value)
        made = self._tried(size, settings)
        if made is None:
            return False
        try:
            self._check_needs(size, settings)
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
"""All recipes by name. Other packages add recipes through the entry-point group ``fieldmark.recipes``."""


def recipe(
    name: str, kind: type[SettingsT], *, sizes: tuple[str, ...] = SIZES, size: str = "small"
) -> Callable[[Callable[[str, SettingsT], Plan]], Recipe[SettingsT]]:
    """Return a decorator that registers a function from a size and settings to a plan as a recipe.

    Args:
        name: Name of the recipe, as typed.
        kind: Class of its settings.
        sizes: Available sizes.
        size: Default size.

    Raises:
        FieldmarkError: Another recipe has the same name.
    """

    def made(build: Callable[[str, SettingsT], Plan]) -> Recipe[SettingsT]:
        one = Recipe(name, kind, build, sizes, size)
        RECIPES.add(name, one)
        return one

    return made


def _needed_stages(plan: Plan) -> Plan:
    """Return the plan with only those stages on which its last stage depends."""
    return plan.up_to(plan.stages[-1].name)


def _met(value: Value, wanted: tuple[Any, ...]) -> bool:
    return value in wanted or (wanted[-1] is ... and bool(value))


def _typed(name: str, value: Value) -> str:
    return f"{name}={as_typed(value)}"
