"""Tables of several crystals, blended between the values at which they were solved.

Between nodes x_i, in any steps, the polynomial through the four nearest ones (through all where
there are fewer) has the weights and slopes

    w_i(x) = Π_{j≠i} (x − x_j)/(x_i − x_j),        dw_i/dx.

With several parameters the weights are products of those of each, and so they are with the
thickness, whose nodes are in equal steps.

Crystals of different cells share their grid coordinates ν: I_g is blended at one ν, and the
reciprocal basis, which says where that is, by the same polynomial.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.expand import Table, lattice_of
from hybridfit.pattern.jit import kernel
from hybridfit.pattern.pool import Pool

Array = NDArray[np.float64]
MOST_NODES = 4


def node_weights(nodes: Array, value: float) -> tuple[int, Array, Array]:
    """The first node of the polynomial at a value, its weights and their derivatives.

    Parameters
    ----------
    nodes : (n,) array, ascending
    value : float, within the nodes

    Returns
    -------
    first : int
    weights, slopes : (min(n, 4),) arrays
        For the nodes from the first one on; exactly 1 and 0 on a node.
    """
    count = min(len(nodes), MOST_NODES)
    below = int(np.searchsorted(nodes, value, side="right")) - 1
    first = int(np.clip(below - (count - 2) // 2, 0, len(nodes) - count))
    x = np.asarray(nodes[first : first + count], dtype=np.float64)
    weights, slopes = np.empty(count), np.empty(count)
    for i in range(count):
        others = np.delete(x, i)
        factors = (value - others) / (x[i] - others)
        weights[i] = factors.prod()
        slopes[i] = sum(np.delete(factors, j).prod() / (x[i] - others[j]) for j in range(count - 1))
    return first, weights, slopes


class Stack(NamedTuple):
    """Tables of several crystals that share their beams and the grid of their directions.

    Attributes
    ----------
    table : Table
        Of the first crystal.
    intensity : (value of the 1st parameter, …, thickness, beam, direction) float32
    nodes : name of each parameter to its values (n,)
    moving : names of the parameters that change the cell, in the order of nodes
    basis : (value of the 1st of these, …, 2, 2), mrad
    """

    table: Table
    intensity: NDArray[np.float32]
    nodes: Mapping[str, Array]
    moving: tuple[str, ...] = ()
    basis: Array | None = None

    def at(self, values: Mapping[str, float]) -> Table:
        """The table of the first crystal on the lattice that there is at the values."""
        if self.basis is None or not self.moving:
            return self.table
        basis = self.basis
        for name in self.moving:
            first, weights, _ = node_weights(self.nodes[name], values[name])
            basis = np.tensordot(weights, basis[first : first + len(weights)], axes=1)
        to_grid, beam_xy = lattice_of(basis, self.table.sampling, self.table.beam_n)
        return self.table._replace(to_grid=to_grid, beam_xy=beam_xy)

    def blend(
        self, thickness: float, values: Mapping[str, float], lanes: int = 2, pool: Pool | None = None
    ) -> NDArray[np.float32]:
        """(beam, direction, lanes) float32 with I and, of 2 lanes, ∂I/∂t, as `expand.at_thickness`."""
        times, at_t, along_t = self._thickness(thickness)
        parts = [node_weights(nodes, values[name]) for name, nodes in self.nodes.items()]
        weights = [w for _, w, _ in parts]
        both = [_products([*weights, lane]) for lane in (at_t, along_t)[:lanes]]
        return self._mixed(parts, times, np.stack(both), pool)

    def slope(
        self, thickness: float, values: Mapping[str, float], name: str, pool: Pool | None = None
    ) -> NDArray[np.float32]:
        """(beam, direction, 1) float32 with the derivative of I along a parameter, at fixed ν."""
        times, at_t, _ = self._thickness(thickness)
        parts = {key: node_weights(nodes, values[key]) for key, nodes in self.nodes.items()}
        weights = [slopes if key == name else w for key, (_, w, slopes) in parts.items()]
        return self._mixed(list(parts.values()), times, _products([*weights, at_t])[None], pool)

    def _thickness(self, thickness: float) -> tuple[int, Array, Array]:
        steps = np.arange(self.intensity.shape[-3], dtype=np.float64)
        first, weights, slopes = node_weights(
            steps, (thickness - self.table.thickness_first) / self.table.thickness_step
        )
        return first, weights, slopes / self.table.thickness_step

    def _mixed(
        self, parts: list[tuple[int, Array, Array]], first_time: int, weights: Array, pool: Pool | None
    ) -> NDArray[np.float32]:
        """Tables of all combinations of the nodes, times their weights (lanes, combination)."""
        shape = self.intensity.shape[:-3]
        ranges = [range(first, first + len(w)) for first, w, _ in parts]
        crystals = [np.ravel_multi_index(i, shape) for i in itertools.product(*ranges)] if shape else [0]
        flat = self.intensity.reshape(-1, *self.intensity.shape[-3:])
        each = weights.reshape(len(weights), len(crystals), MOST_NODES).astype(np.float32)
        used = np.flatnonzero((each != 0).sum(axis=(0, 2)))  # on a node there is only one
        crystal = np.array(crystals, dtype=np.int64)[used]
        chosen = np.ascontiguousarray(each[:, used])
        out = np.empty((len(self.table.beam_n), flat.shape[-1], len(chosen)), np.float32)

        def fill(begin: int, end: int) -> None:
            mix(flat, crystal, first_time, chosen, out, begin, end)

        (pool or Pool()).shares(fill, len(out))
        return out


@kernel
def mix(intensity, crystal, time, weights, out, begin, end):
    """out[b, d, lane] = Σ_ij weights[lane, i, j] · intensity[crystal[i], time + j, b, d], begin ≤ b < end."""
    lanes, directions = weights.shape[0], intensity.shape[3]
    row = np.empty(directions, np.float32)  # stays in the cache, and lets the sums be vector operations
    for b in range(begin, end):
        for lane in range(lanes):
            for i in range(crystal.size):
                at, w = intensity[crystal[i]], weights[lane, i]
                i0, i1, i2, i3 = at[time, b], at[time + 1, b], at[time + 2, b], at[time + 3, b]
                w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
                if i == 0:
                    for d in range(directions):
                        row[d] = w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]
                else:
                    for d in range(directions):
                        row[d] += w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]
            for d in range(directions):
                out[b, d, lane] = row[d]


def _products(weights: list[Array]) -> Array:
    """Outer product of weights, the last running fastest, as one row."""
    out = np.ones(1)
    for each in weights:
        out = np.multiply.outer(out, each).ravel()
    return out
