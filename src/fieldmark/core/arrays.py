"""Conversion of arguments: public functions accept lists, numpy arrays, tensors, and pandas or polars columns."""

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
    """Requirements that an annotation such as ``Float[np.ndarray, "query class"] | None`` sets for an argument.

    Attributes:
        is_tensor: Whether the function needs a torch tensor (True) or a numpy array (False).
        kinds: Allowed number types among ``bool``, ``int`` and ``float``; empty: any type of number.
        dims: Names of the axes; empty: any number of axes.
        n_axes: Number of axes; None: any number.
        others: Other allowed types: ``None``, a plain number, a function, a text, or a sequence of rows.
    """

    is_tensor: bool
    kinds: frozenset[str]
    dims: str
    n_axes: int | None
    others: tuple[Any, ...]

    def passes(self, value: Any) -> bool:
        """Return whether the value is of one of the other allowed types and needs no conversion."""
        if value is None:
            return type(None) in self.others
        if isinstance(value, bool | int | float | np.generic):
            return bool({int, float} & set(self.others))
        if isinstance(value, str):
            return str in self.others
        return callable(value) and Callable in self.others and not hasattr(value, "shape")


def takes_arrays(function: Function) -> Function:
    """Decorate a function so that it also accepts lists, numpy arrays, torch tensors, and pandas or polars columns.

    The annotations define the conversion. An argument annotated ``Int[np.ndarray, " query"]`` becomes a numpy array of
    whole numbers with one axis. An argument annotated ``Float[Tensor, "batch class"]`` becomes a tensor on the device
    of the other tensors. Where the function needs a tensor, tensors stay tensors and keep their gradient.

    In addition to its own errors, the decorated function raises:
        ShapeError: An argument has a wrong number of axes, or rows of different lengths.
        FieldmarkError: An argument is not an array of numbers, or has a wrong type of number.
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
    """Convert a value to the array type of an annotation, as ``takes_arrays`` does for each argument.

    Args:
        value: A list, array, tensor or column.
        to: The annotation, for example ``Int[np.ndarray, " photo"]``.
        name: Name of the argument, for error messages.
        by: Name of the called function, for error messages.

    Raises:
        ShapeError: The value has a wrong number of axes, or rows of different lengths.
        FieldmarkError: The value is not an array of numbers, or has a wrong type of number.
    """
    wanted = _of_hint(to)
    return value if wanted is None else _converted(value, wanted, [], name=name, by=by)


@cache
def _wanted_by(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, _Wanted]]:
    """The signature of a function, and the requirements for each of its array arguments."""
    found = {}
    for name, annotation in function.__annotations__.items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hint = get_type_hints(alone, globalns=function.__globals__)[name]
        except NameError:  # a name imported for type checkers only: not an array
            continue
        if name != "return" and (one := _of_hint(hint)) is not None:
            found[name] = one
    return inspect.signature(function), found


def _of_hint(hint: Any) -> _Wanted | None:
    """The requirements of an annotation; None if it contains no array type."""
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
    """Whether an annotation is a generic type such as ``list[...]``, not a union."""
    return get_origin(hint) not in {types.UnionType, typing.Union}


def _dtypes(part: Any) -> tuple[str, ...]:
    """Names of the number types of an annotation, without unsigned ones: pixels and hashes are not converted."""
    return tuple(str(one) for one in getattr(part, "dtypes", ()) if not str(one).startswith("uint"))


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _converted(value: Any, wanted: _Wanted, tensors: Sequence[Any], *, name: str, by: str) -> Any:
    """The value, converted to meet the requirements."""
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
            fix="add or remove an axis, for example with reshape().",
        )
    return array


def _uneven(value: Any, *, name: str, by: str) -> list[np.ndarray] | None:
    """Rows of different lengths, each as an array; None for any other value."""
    if not isinstance(value, Sequence) and not hasattr(value, "to_list"):
        return None
    rows = list(value)
    if isinstance(value, str) or len({len(row) if hasattr(row, "__len__") else -1 for row in rows} - {-1}) < 2:
        return None
    return [as_numpy(row, name=name, by=by) for row in rows]


def as_numpy(value: Any, *, name: str, by: str) -> np.ndarray:
    """Convert a list, tensor, or pandas or polars column or frame to a numpy array. Arrays are returned unchanged.

    Args:
        value: The value of the argument.
        name: Name of the argument, for error messages.
        by: Name of the called function, for error messages.

    Raises:
        ShapeError: The rows differ in length.
        FieldmarkError: The value holds no numbers.
    """
    if isinstance(value, np.ndarray):
        array = value
    elif _is_tensor(value):
        value = value.detach().cpu()
        array = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    elif hasattr(value, "to_numpy"):
        array = value.to_numpy()
        if array.dtype == object:  # a column of lists, or numbers with missing values
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
            f"{by}() needs rows of equal length for {name}.",
            got=f"{len(rows)} rows of {', '.join(map(str, lengths[:5]))} numbers",
            fix="pass one number per column in every row.",
        ) from error


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}".removeprefix("builtins.")
    text = f"{kind}" if shape is None else f"{kind} {tuple(shape)} of {dtype}"
    return text if hasattr(value, "shape") else f"{text}: {str(value)[:60]}"


def _kind(array: np.ndarray, wanted: _Wanted, *, name: str, by: str) -> np.ndarray:
    """The array, converted to an allowed type of number."""
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
    """The torch module. It is already loaded, because the annotations of the function use its types."""
    return sys.modules["torch"]


def _tensor(array: np.ndarray, value: Any, tensors: Sequence[Any]) -> Any:
    """A tensor with the values of the array, on the device and with the type of the other tensors of the call."""
    torch = _torch()
    tensor = torch.from_numpy(np.array(array))
    like = next((one for one in tensors if one.is_floating_point()), None)
    if tensor.is_floating_point() and (like is not None or not hasattr(value, "dtype")):
        tensor = tensor.to(torch.get_default_dtype() if like is None else like.dtype)
    return tensor.to(tensors[0].device) if tensors else tensor


def _tensor_kind(tensor: Any, wanted: _Wanted, *, name: str, by: str) -> Any:
    """The tensor, unchanged if its type of number is allowed, else converted by the rules for arrays."""
    torch = _torch()
    have = "float" if tensor.is_floating_point() else "bool" if tensor.dtype == torch.bool else "int"
    if not wanted.kinds or have in wanted.kinds:
        return tensor
    if "float" in wanted.kinds:
        return tensor.to(torch.get_default_dtype())
    converted = _kind(tensor.detach().cpu().float().numpy(), wanted, name=name, by=by)
    return torch.from_numpy(converted).to(tensor.device)
