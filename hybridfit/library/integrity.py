"""Checks of what a library file holds, made as it is read.

Each chunk of intensities or slopes, a block of directions at one thickness of one crystal, has a digest: a
multilinear hash of its 64-bit words u_ij, in rows of 4096,

    d = Σ_i v_i Σ_j w_j u_ij  +  w_0 n        (mod 2⁶⁴),

with fixed odd weights v, w and the number n of its bytes.  Any change of a single word changes d; any other
goes unnoticed once in 10¹⁸ times.  It is as fast as memory is read.  Everything else, the other variables and
all attributes, has one SHA-256 digest.

Source: Lemire & Kaser, "Strongly universal string hashing is fast", Comput. J. 57 (2014) 1624.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from hybridfit.errors import LibraryError
from hybridfit.library.contents import BULK
from hybridfit.library.memory import free_memory, in_words
from hybridfit.library.settings import BUILD

# of the file; the numbers in it have a version of their own (`build.VERSION`)
STORAGE = 5
READ = (2, 3, 4, STORAGE)  # files of 2 have no slopes, of 3 no diffuse table, of 4 one block of directions
BLOCKS = "{}_block"  # the dimension of digests that counts blocks
DIGESTS, CONTENTS = "intensity_digest", "contents"
WORDS = 4096  # in a row
Repair = Callable[[str], xr.Variable]
log = logging.getLogger("hybridfit")
_passing: ContextVar[bool] = ContextVar("passing", default=False)


@contextlib.contextmanager
def passing() -> Iterator[None]:
    """Chunks that are read meanwhile are looked at once: they are checked, and not kept."""
    before = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(before)


def _weights(seed: int, count: int) -> NDArray[np.uint64]:
    """Odd 64-bit numbers: SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray((z ^ (z >> np.uint64(31))) | np.uint64(1), np.uint64)


W = _weights(1, WORDS)


def digest_of(chunk: NDArray[Any]) -> int:
    """The digest of a chunk."""
    flat = np.ascontiguousarray(chunk, dtype=chunk.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    rows, rest = divmod(flat.size, 8 * WORDS)
    last = np.zeros(8 * WORDS, np.uint8)
    last[:rest] = flat[flat.size - rest :]
    sums = np.append(flat[: rows * 8 * WORDS].view("<u8").reshape(rows, WORDS) @ W, last.view("<u8") @ W)
    with np.errstate(over="ignore"):
        return int((sums * _weights(2, rows + 1)).sum() + W[0] * np.uint64(flat.nbytes))


def digests_of(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Those of intensities or slopes (…, beam, direction), with all directions in one block: (…, 1)."""
    shape = values.shape[:-2]
    return np.array([digest_of(values[i]) for i in np.ndindex(shape)], np.uint64).reshape(*shape, 1)


def blocks_of(count: int, block: int) -> list[slice]:
    """The blocks that directions are kept in."""
    return [slice(first, min(first + block, count)) for first in range(0, count, block)]


def contents_digest(dataset: xr.Dataset) -> str:
    """The digest of everything but the intensities and slopes themselves."""
    out = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        about = (name, variable.dims, variable.dtype.str, variable.shape, _plain(variable.attrs))
        out.update(json.dumps(about, sort_keys=True).encode())
        if name not in BULK:
            out.update(np.ascontiguousarray(variable.values).tobytes())
    attrs = {key: value for key, value in dataset.attrs.items() if key != CONTENTS}
    out.update(json.dumps(_plain(attrs), sort_keys=True).encode())
    return out.hexdigest()


def _plain(attrs: Any) -> dict[str, Any]:
    """Attributes as they are before and after a file."""
    out = {}
    for key, value in attrs.items():
        plain = np.asarray(value).tolist()
        out[str(key)] = plain[0] if isinstance(plain, list) and len(plain) == 1 else plain
    return out


def digests_name(name: str) -> str:
    """The variable with the digests of another."""
    return f"{name}_digest"


def sealed(dataset: xr.Dataset, known: Mapping[str, NDArray[np.uint64]] | None = None) -> xr.Dataset:
    """A dataset with its digests, to be written; values with known digests are not looked at."""
    known, out = known or {}, dataset
    for name in BULK:
        if name not in dataset.variables:
            continue
        variable = dataset.variables[name]
        found = known.get(name)
        if found is None:
            found = digests_of(variable.values)
        out = out.assign({digests_name(name): ((*variable.dims[:-2], BLOCKS.format(name)), found)})
    out = out.assign_attrs(storage=STORAGE)
    return out.assign_attrs({CONTENTS: contents_digest(out)})


def unsealed(dataset: xr.Dataset, path: Path, repair: Repair | None = None) -> xr.Dataset:
    """A dataset that was read, without its digests: its chunks are checked against them when they are read.

    Parameters
    ----------
    dataset : xarray.Dataset, as it is in the file
    path : Path
    repair : callable, optional
        Gives the variable of a name anew where it is damaged.

    Raises
    ------
    LibraryError
        Something else than the intensities and slopes is damaged.
    """
    if contents_digest(dataset) != dataset.attrs[CONTENTS]:
        raise LibraryError(damaged(path))
    out = dataset
    for name in BULK:
        if name not in dataset.variables:
            continue
        source = dataset.variables[name]
        digests = dataset.variables[digests_name(name)]
        if digests.ndim == source.ndim - 2:  # a file of storage 4, with all directions in one block
            digests = xr.Variable((*digests.dims, BLOCKS.format(name)), digests.values[..., None])
        array = CheckedArray(source, digests, path, None if repair is None else partial(repair, name))
        lazy: Any = indexing.LazilyIndexedArray(array)
        kept = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))
        checked = xr.Variable(source.dims, kept, source.attrs, source.encoding)
        out = out.drop_vars(digests_name(name)).assign({name: checked})
    for attribute in ("storage", CONTENTS):
        del out.attrs[attribute]
    out.encoding = dict(dataset.encoding)
    out.set_close(dataset.close)
    return out


def damaged(path: Path, what: str = "") -> str:
    """The line that says so."""
    return (
        f"{path} is damaged{what and ' '}{what}; copy it anew, or build it again with "
        f"`hybridfit library build RECIPE -o {path}`"
    )


class CheckedArray(BackendArray):
    """Intensities or slopes in a file, of which whole chunks are read, checked, and kept.

    Chunks that are asked for one after the other are read once; all at once, they are given away.  Nobody is
    to write into them.

    Parameters
    ----------
    source : xarray.Variable (…, beam, direction)
    digests : xarray.Variable (…, block)
        How many directions are in a block follows from their number, and from the chunks of the source.
    path : Path
    repair : callable, optional
        Gives the variable anew.
    """

    def __init__(
        self,
        source: xr.Variable,
        digests: xr.Variable,
        path: Path,
        repair: Callable[[], xr.Variable] | None,
    ) -> None:
        self.shape, self.dtype = source.shape, source.dtype
        self._source = source
        self._digests: xr.Variable | None = digests
        self._path, self._repair = path, repair
        self._blocks = blocks_of(self.shape[-1], _block_size(source))
        if digests.shape != (*self.shape[:-2], len(self._blocks)):
            raise LibraryError(damaged(path, f"(it has {digests.shape} digests)"))
        self._lock = threading.Lock()
        self._kept: NDArray[Any] | None = (
            None  # room for all chunks, of which pages without any take no memory
        )
        self._there = np.zeros(digests.shape, bool)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept."""
        return {**self.__dict__, "_lock": None, "_kept": None, "_there": np.zeros(self._there.shape, bool)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """What xarray asks for."""
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        *outer, beams, directions = key
        numbers = np.atleast_1d(np.arange(self.shape[-1])[directions])
        used = np.unique(numbers // max(1, self._blocks[0].stop))
        with self._lock:
            if len(used) == len(self._blocks):
                values = self._chunks(tuple(outer), slice(0, len(used)))[..., directions]
            else:
                runs = _neighbours(used) or [slice(0, 0)]
                parts = [self._chunks(tuple(outer), run) for run in runs]
                there = np.concatenate([np.arange(self.shape[-1])[self._directions(run)] for run in runs])
                found = np.concatenate(parts, axis=-1)[..., np.searchsorted(there, numbers)]
                values = found[..., 0] if isinstance(directions, int | np.integer) else found
        behind = () if isinstance(directions, int | np.integer) else (slice(None),)
        return np.asarray(values[(..., beams, *behind)])

    def _chunks(self, outer: tuple[Any, ...], run: slice) -> NDArray[Any]:
        """Whole chunks of a run of blocks, read if they are not there yet."""
        wanted = np.zeros(self._there.shape, bool)
        keys = (*outer, run)
        wanted[np.ix_(*(np.atleast_1d(np.arange(n)[k]) for n, k in zip(wanted.shape, keys, strict=True)))] = (
            True
        )
        if (wanted.all() and self._kept is None) or (_passing.get() and not self._there[wanted].all()):
            return self._sound(outer, run)
        if self._kept is None:
            try:
                self._kept = np.empty(self.shape, self.dtype)
            except MemoryError:  # where memory that is not used counts, too
                return self._sound(outer, run)
        for block in np.arange(len(self._blocks))[run].tolist():
            part = self._blocks[block]
            for some in runs_of((wanted & ~self._there)[..., block]):
                self._kept[(*some, slice(None), part)] = self._sound(some, slice(block, block + 1))
                self._there[(*some, block)] = True
        out: NDArray[Any] = self._kept[..., self._directions(run)]
        for axis in reversed(range(len(outer))):  # one by one: arrays among them would be broadcast
            out = out[(slice(None),) * axis + (outer[axis],)]
        return out

    def _directions(self, run: slice) -> slice:
        """Those of a run of blocks."""
        parts = self._blocks[run]
        return slice(parts[0].start, parts[-1].stop) if parts else slice(0, 0)

    def _sound(self, outer: tuple[Any, ...], run: slice) -> NDArray[Any]:
        """Chunks as they are in the file, or were built again."""
        try:
            return self._checked(outer, run)
        except _Damaged as error:
            if self._repair is None:
                raise LibraryError(str(error)) from None
            log.warning("%s is damaged; building it again", self._path)
            self._source, self._digests = self._repair(), None
            return self._checked(outer, run)

    def _checked(self, outer: tuple[Any, ...], run: slice) -> NDArray[Any]:
        chunks = self._source[(*outer, slice(None), self._directions(run))]
        needed, free = float(chunks.nbytes), BUILD.memory_share * free_memory()
        if needed > free:
            raise LibraryError(
                f"{self._path} needs {in_words(needed)} of memory and {in_words(free)} are free; close other "
                "programs, or build a library of fewer thicknesses or a smaller semi_angle_max"
            )
        try:
            values = chunks.values
        except (OSError, RuntimeError, ValueError) as error:
            raise _Damaged(damaged(self._path, f"({error})")) from None
        if self._digests is not None and values.size:
            expected = self._digests[(*outer, run)].values.reshape(-1, len(self._blocks[run]))
            first = self._directions(run).start
            parts = [slice(part.start - first, part.stop - first) for part in self._blocks[run]]
            for chunk, known in zip(values.reshape(-1, *values.shape[-2:]), expected, strict=True):
                if any(digest_of(chunk[:, part]) != int(d) for part, d in zip(parts, known, strict=True)):
                    raise _Damaged(damaged(self._path))
        return np.asarray(values)


def _neighbours(numbers: NDArray[np.intp]) -> list[slice]:
    """Runs of increasing numbers that follow each other."""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def _block_size(source: xr.Variable) -> int:
    """Directions in a chunk of a variable of a file."""
    sizes = source.encoding.get("chunksizes") or source.shape
    return max(1, min(int(sizes[-1]), source.shape[-1]))


def runs_of(wanted: NDArray[np.bool_]) -> list[tuple[Any, ...]]:
    """Where neighbours along the last axis are wanted: the indices of the other axes, and a range of it."""
    steps = np.diff(np.pad(wanted, [(0, 0)] * (wanted.ndim - 1) + [(1, 1)]).astype(np.int8), axis=-1)
    starts, ends = np.argwhere(steps > 0).tolist(), np.argwhere(steps < 0)[:, -1].tolist()
    return [(*crystal, slice(first, end)) for (*crystal, first), end in zip(starts, ends, strict=True)]


class _Damaged(LibraryError):
    """Intensities that are not those that were written."""
