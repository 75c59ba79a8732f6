"""Files of tensors: a .safetensors whose metadata says what it is and carries a digest of everything.

Weights (`weights`) and checkpoints (`state`) are such files.  Reading is strict, and takes memory last:

    header → format and version → fields → names, shapes and types → tensors → digest → finite

so that a damaged, foreign or absurd file is refused with a reason before it costs anything.
Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import save

from hybridfit.errors import InputError
from hybridfit.io import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

KEY = "hybridfit"  # of the metadata
LARGEST_HEADER = 16 << 20  # bytes; the history of a long training takes some 0.1 MB


class Kind(NamedTuple):
    """A kind of file: its format and version, what it is called in messages, and the remedy."""

    format: str
    version: int
    noun: str
    remedy: str


class Shape(NamedTuple):
    """What a tensor of a file has to be; of an axis of size −1 the size is free, up to 65536."""

    size: tuple[int, ...]
    dtype: str = "F32"

    def fits(self, size: tuple[int, ...], dtype: str) -> bool:
        """Whether a tensor is one."""
        if dtype != self.dtype or len(size) != len(self.size):
            return False
        return all(n == m or (m == -1 and n <= 65536) for n, m in zip(size, self.size, strict=True))


class Unusable(ValueError):
    """Why a file cannot be used: the words in the brackets of the message."""


def write_tensors(
    path: str | Path, kind: Kind, about: Mapping[str, Any], tensors: Mapping[str, NDArray[Any] | Tensor]
) -> None:
    """Write a file: whole, or not at all.

    Parameters
    ----------
    path : str or path
    kind : Kind
    about : mapping
        What goes to JSON: plain values only.
    tensors : mapping of name to array or tensor

    Raises
    ------
    InputError
        A number among the tensors is not finite; what was at the path before stays there.
    """
    plain = {name: _as_array(value) for name, value in tensors.items()}
    bad = not_finite(plain)
    if bad:
        raise InputError(
            f"{path} is not written: {bad} holds numbers that are not finite; train anew, with another --seed"
        )
    text = json.dumps(dict(about))
    whole = {
        "format": kind.format,
        "version": kind.version,
        "digest": digest_of(json.loads(text), plain),
        "about": json.loads(text),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(plain, metadata={KEY: json.dumps(whole)}))


def _as_array(value: NDArray[Any] | Tensor) -> NDArray[Any]:
    """An array, or a tensor wherever it is, as an array in order."""
    if not isinstance(value, np.ndarray):
        value = value.numpy(force=True)
    return np.asarray(value, order="C")


def not_finite(tensors: Mapping[str, NDArray[Any]]) -> str:
    """The name of the first tensor with a number that is not finite; "" where there is none."""
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return name
    return ""


class TensorFile:
    """A file of tensors that is being read; use it in a `with`, within which errors become an InputError.

    Parameters
    ----------
    path : str or path
    kind : Kind

    Raises
    ------
    InputError
        The file is damaged, not of this kind, or of another version.
    """

    def __init__(self, path: str | Path, kind: Kind) -> None:
        self.path, self.kind = Path(path), kind
        self._file: Any = None
        self._digest: Any = None
        self.about: dict[str, Any] = {}

    def __enter__(self) -> TensorFile:
        try:
            self._open()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._file = None
        if isinstance(error, Unusable | safetensors.SafetensorError | OSError | RecursionError):
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise InputError(
                f"{self.path} cannot be read as {self.kind.noun} ({reason}); {self.kind.remedy}"
            ) from None

    def _open(self) -> None:
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if file.read(1) != b"{":
                raise Unusable("it does not begin as a .safetensors file does")
        if length > LARGEST_HEADER:
            raise Unusable(f"its header claims {length / 1e6:.0f} MB")
        self._file = safetensors.safe_open(str(self.path), framework="np")
        try:
            whole = json.loads((self._file.metadata() or {}).get(KEY, "{}"))
        except (ValueError, RecursionError) as error:
            raise Unusable(f"its metadata is no JSON: {error}") from None
        if not isinstance(whole, dict) or whole.get("format") != self.kind.format:
            raise InputError(f"{self.path} holds no {self.kind.format}; {self.kind.remedy}")
        if whole.get("version") != self.kind.version:
            raise InputError(
                f"{self.path} has {self.kind.format} format {_short(whole.get('version'))}, this hybridfit "
                f"reads format {self.kind.version}; {self.kind.remedy}"
            )
        self._digest, about = whole.get("digest"), whole.get("about")
        if not isinstance(about, dict):
            raise Unusable("it does not say what it is")
        self.about = about

    def field(self, name: str, kind: TypeAdapter[Any]) -> Any:
        """A field of the metadata, checked and made into what it describes."""
        if name not in self.about:
            raise Unusable(f"{name} is missing")
        return checked(name, self.about[name], kind)

    def tensors(self, shapes: Mapping[str, Shape]) -> dict[str, NDArray[Any]]:
        """The tensors of the file, once their names, shapes and types are as expected."""
        names = set(self._file.keys())
        for name in sorted(names ^ shapes.keys()):
            raise Unusable(f"tensor {name[:60]} is {'missing' if name in shapes else 'one too many'}")
        for name, shape in shapes.items():
            there = self._file.get_slice(name)
            size, dtype = tuple(there.get_shape()), there.get_dtype()
            if not shape.fits(size, dtype):
                raise Unusable(f"tensor {name} is {dtype} {size}, not {shape.dtype} {shape.size}")
        # a copy: what the file is mapped to would change, or go, with the file
        values = {name: np.array(self._file.get_tensor(name)) for name in shapes}
        if self._digest != digest_of(self.about, values):
            raise Unusable("its contents are not those that were written: the digest differs")
        bad = not_finite(values)
        if bad:
            raise Unusable(f"tensor {bad} holds numbers that are not finite")
        return values


def checked(name: str, value: Any, kind: TypeAdapter[Any]) -> Any:
    """A value of the metadata made into a dataclass or a plain type; `Unusable` names what is wrong."""
    try:
        return kind.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([name, *map(str, first["loc"])])
        given = "" if first["type"] == "missing" else f" = {_short(first['input'])}"
        raise Unusable(f"{place}{given}: {first['msg'].removeprefix('Value error, ')}") from None


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | str | bool | None) else type(value).__name__
    return text[:40]


def digest_of(about: Any, tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of all metadata, and of the names, shapes and numbers of all tensors."""
    out = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name]
        out.update(f"{name} {values.dtype.str} {values.shape}".encode())
        out.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return out.hexdigest()
