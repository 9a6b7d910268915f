"""Arrays as users have them (lists, numpy, torch, pandas, polars), converted where a public function begins."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np

from fieldmark.core.errors import FieldmarkError, ShapeError

Function = TypeVar("Function", bound=Callable[..., Any])
KINDS = {"bool": "truth values", "int": "whole numbers", "float": "numbers"}
ACCEPTED = "a list, a numpy array, a torch tensor, or a pandas or polars column"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What an annotation such as ``Float[np.ndarray, "query class"] | None`` asks of an argument.

    Attributes:
        is_tensor: A torch tensor; else a numpy array.
        kinds: ``bool``, ``int`` and ``float``, as far as they are allowed; empty: any type of number.
        dims: Names of the axes; empty: any number of axes.
        n_axes: How many axes; None: any number.
        others: What else is allowed: ``None``, a plain number, a function, a text, a sequence of any rows.
    """

    is_tensor: bool
    kinds: frozenset[str]
    dims: str
    n_axes: int | None
    others: tuple[Any, ...]

    def passes(self, value: Any) -> bool:
        """Whether the value is one of the allowed others, and stays as it is."""
        if value is None:
            return type(None) in self.others
        if isinstance(value, bool | int | float | np.generic):
            return bool({int, float} & set(self.others))
        if isinstance(value, str):
            return str in self.others
        return callable(value) and Callable in self.others and not hasattr(value, "shape")


def takes_arrays(function: Function) -> Function:
    """The function, which then takes lists, numpy arrays, torch tensors, and pandas or polars columns similar.

    The annotations say what it needs: an argument annotated ``Int[np.ndarray, " query"]`` is converted to a numpy array
    of whole numbers with one axis, one annotated ``Float[Tensor, "batch class"]`` to a tensor on the device of the
    other tensors. Tensors stay tensors, with their gradient, where a tensor is asked for.

    The function then raises, besides its own errors:
        ShapeError: An argument has another number of axes, or rows of different length.
        FieldmarkError: An argument is no array of numbers, or its numbers are of the wrong kind.
    """

    @wraps(function)
    def converting(*args: Any, **kwargs: Any) -> Any:
        signature, wanted = _wanted_by(function)
        bound = signature.bind(*args, **kwargs)
        given = {name: bound.arguments[name] for name in wanted if name in bound.arguments}
        by = function.__name__ if function.__name__ != "__init__" else function.__qualname__.partition(".")[0]
        tensors = [value for value in given.values() if _is_tensor(value)]
        for name, value in given.items():
            one = wanted[name]
            if not one.passes(value):
                bound.arguments[name] = _converted(value, one, tensors, name=name, by=by)
        return function(*bound.args, **bound.kwargs)

    return cast("Function", converting)


def converted(value: Any, to: Any, *, name: str, by: str) -> Any:
    """A value as the array that an annotation names; what ``takes_arrays`` does for each argument.

    Args:
        value: A list, array, tensor, or column.
        to: Such as ``Int[np.ndarray, " photo"]``.
        name: What the argument is called, for errors.
        by: The function that was called, for errors.

    Raises:
        ShapeError: It has another number of axes, or rows of different length.
        FieldmarkError: It is no array of numbers, or of another kind.
    """
    wanted = _of_hint(to)
    return value if wanted is None else _converted(value, wanted, [], name=name, by=by)


@cache
def _wanted_by(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, _Wanted]]:
    """The signature of a function, and what it needs of each argument that is an array."""
    found = {}
    for name, annotation in function.__annotations__.items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hint = get_type_hints(alone, globalns=function.__globals__)[name]
        except NameError:  # imported for type checkers only: no array
            continue
        if name != "return" and (one := _of_hint(hint)) is not None:
            found[name] = one
    return inspect.signature(function), found


def _of_hint(hint: Any) -> _Wanted | None:
    """What an annotation asks for; None where it names no array."""
    parts = [hint] if get_origin(hint) is not None and _is_generic(hint) else list(get_args(hint)) or [hint]
    arrays = [part for part in parts if hasattr(part, "array_type") or part is np.ndarray]
    if not arrays:
        return None
    kinds = frozenset(kind for part in arrays for kind in KINDS if any(kind in one for one in _dtypes(part)))
    first = arrays[0]
    dims = getattr(first, "dim_str", "").strip()
    fixed = dims and getattr(first, "index_variadic", 0) is None
    return _Wanted(
        is_tensor=getattr(first, "array_type", np.ndarray) is not np.ndarray,
        kinds=kinds if all(hasattr(part, "array_type") for part in arrays) else frozenset(),
        dims=dims,
        n_axes=len(dims.split()) if fixed else None,
        others=tuple(get_origin(part) or part for part in parts if part not in arrays),
    )


def _is_generic(hint: Any) -> bool:
    """Whether it is ``list[...]`` or the like, not a union."""
    return get_origin(hint) not in {types.UnionType, typing.Union}


def _dtypes(part: Any) -> tuple[str, ...]:
    """The names of the number types of an annotation, unsigned ones left out (pixels and hashes stay as they are)."""
    return tuple(str(one) for one in getattr(part, "dtypes", ()) if not str(one).startswith("uint"))


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _converted(value: Any, wanted: _Wanted, tensors: Sequence[Any], *, name: str, by: str) -> Any:
    """The value as what is wanted."""
    if Sequence in wanted.others and (rows := _uneven(value, name=name, by=by)) is not None:
        return rows
    if not wanted.is_tensor:
        array = _kind(as_numpy(value, name=name, by=by), wanted, name=name, by=by)
    elif _is_tensor(value):
        array = _tensor_kind(value, wanted, name=name, by=by)
    else:
        array = _tensor(_kind(as_numpy(value, name=name, by=by), wanted, name=name, by=by), value, tensors)
    if wanted.n_axes is not None and array.ndim != wanted.n_axes:
        raise ShapeError(
            f"{by}() needs {name} with {wanted.n_axes} ax{'is' if wanted.n_axes == 1 else 'es'}: "
            f"({', '.join(wanted.dims.split())}).",
            got=f"{name} of shape {tuple(array.shape)}",
            fix="add or remove an axis, for example by reshape().",
        )
    return array


def _uneven(value: Any, *, name: str, by: str) -> list[np.ndarray] | None:
    """Rows of different lengths, each as an array; None if the value is anything else."""
    if not isinstance(value, Sequence) and not hasattr(value, "to_list"):
        return None
    rows = list(value)
    if isinstance(value, str) or len({len(row) if hasattr(row, "__len__") else -1 for row in rows} - {-1}) < 2:
        return None
    return [as_numpy(row, name=name, by=by) for row in rows]


def as_numpy(value: Any, *, name: str, by: str) -> np.ndarray:
    """A list, tensor, pandas or polars column or frame as a numpy array; arrays as they are.

    Args:
        value: What was given.
        name: What the argument is called, for errors.
        by: The function that was called, for errors.

    Raises:
        ShapeError: Rows differ in length.
        FieldmarkError: It is nothing that holds numbers.
    """
    if isinstance(value, np.ndarray):
        array = value
    elif _is_tensor(value):
        value = value.detach().cpu()
        array = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    elif hasattr(value, "to_numpy"):
        array = value.to_numpy()
        if array.dtype == object:  # a column of lists, or of numbers with missing ones
            return as_numpy(array.tolist(), name=name, by=by)
    elif isinstance(value, list | tuple | range):
        array = _of_rows(value, name=name, by=by)
    elif isinstance(value, bool | int | float | np.generic):
        array = np.asarray(value)
    else:
        array = np.empty(0, object)
    if array.dtype.kind not in "biufM":
        raise FieldmarkError(
            f"{by}() needs an array of numbers for {name}.",
            got=_described(value),
            fix=f"pass {ACCEPTED}, without missing values.",
        )
    return array


def _of_rows(value: Sequence[Any], *, name: str, by: str) -> np.ndarray:
    """An array from a list, whose items may be arrays, tensors or columns."""
    rows = [as_numpy(one, name=name, by=by) if _is_tensor(one) or hasattr(one, "to_numpy") else one for one in value]
    try:
        return np.asarray(rows)
    except ValueError as error:
        lengths = sorted({len(row) if hasattr(row, "__len__") else 1 for row in rows})
        raise ShapeError(
            f"{by}() needs {name} as rows of one length.",
            got=f"{len(rows)} rows of {', '.join(map(str, lengths[:5]))} numbers",
            fix="pass one number for each column in every row.",
        ) from error


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}".removeprefix("builtins.")
    text = f"{kind}" if shape is None else f"{kind} {tuple(shape)} of {dtype}"
    return text if hasattr(value, "shape") else f"{text}: {str(value)[:60]}"


def _kind(array: np.ndarray, wanted: _Wanted, *, name: str, by: str) -> np.ndarray:
    """The array with numbers of an allowed kind."""
    have = {"b": "bool", "i": "int", "u": "int", "f": "float"}.get(array.dtype.kind)
    if not wanted.kinds or have in wanted.kinds:
        return array
    if have is not None and "float" in wanted.kinds:
        return array.astype(np.float64)
    if have == "bool" and "int" in wanted.kinds:
        return array.astype(np.int64)
    if have == "float" and "int" in wanted.kinds and _whole(array):
        return array.astype(np.int64)
    if have is not None and "bool" in wanted.kinds and bool(((array == 0) | (array == 1)).all()):
        return array.astype(bool)
    raise _wrong_kind(array, wanted, name=name, by=by)


def _whole(array: np.ndarray) -> bool:
    return bool((np.isfinite(array) & (array == np.rint(array))).all())


def _wrong_kind(array: Any, wanted: _Wanted, *, name: str, by: str) -> FieldmarkError:
    if "int" in wanted.kinds:
        fix = "pass whole numbers (-1 for unknown individuals), without missing values."
    else:
        fix = "pass booleans or 0 and 1, for example proba > 0.5." if "bool" in wanted.kinds else "pass numbers."
    allowed = " or ".join(KINDS[kind] for kind in KINDS if kind in wanted.kinds)
    got = str(array.dtype)
    if array.dtype.kind == "f" and np.isnan(array).any():
        got += f", {int(np.isnan(array).sum())} of {array.size} missing"
    elif array.size and array.dtype.kind != "M":
        got += f" from {array.min()} to {array.max()}"
    return FieldmarkError(f"{by}() needs {allowed} for {name}.", got=got, fix=fix)


def _torch() -> Any:
    """The library of tensors, which is loaded by now: the function's module names its types."""
    return sys.modules["torch"]


def _tensor(array: np.ndarray, value: Any, tensors: Sequence[Any]) -> Any:
    """A tensor of the array, like the other tensors of the call."""
    torch = _torch()
    tensor = torch.from_numpy(np.array(array))
    like = next((one for one in tensors if one.is_floating_point()), None)
    if tensor.is_floating_point() and (like is not None or not hasattr(value, "dtype")):
        tensor = tensor.to(torch.get_default_dtype() if like is None else like.dtype)
    return tensor.to(tensors[0].device) if tensors else tensor


def _tensor_kind(tensor: Any, wanted: _Wanted, *, name: str, by: str) -> Any:
    """The tensor itself where its numbers are of an allowed kind; else converted as arrays are."""
    torch = _torch()
    have = "float" if tensor.is_floating_point() else "bool" if tensor.dtype == torch.bool else "int"
    if not wanted.kinds or have in wanted.kinds:
        return tensor
    if "float" in wanted.kinds:
        return tensor.to(torch.get_default_dtype())
    converted = _kind(tensor.detach().cpu().float().numpy(), wanted, name=name, by=by)
    return torch.from_numpy(converted).to(tensor.device)
