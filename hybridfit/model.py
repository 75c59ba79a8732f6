"""The forward model: parameters → image and its derivatives.

    image = f · [mean(blur(P(k(fine pixel)))) + P_d(k(pixel))] + Σ_j b_j B_j(k(pixel)) + fixed(t)

A pixel averages over its area.  P is evaluated at s × s points of every pixel, the centres of the
fine pixels that it is divided into; their mean is taken after the blur (`pattern.raster`).  What a
fine pixel averages over widens the pattern by a variance of 1/12 of it squared; the edge of the
model's aperture has a part of that, w²/28 for an edge of width w.  The blur is a convolution with
a kernel of the variance that is missing (fine pixels squared),

    v = (blur · fine pixels per mrad)² + 1/12 − w²/28.

P is composed from a library table (`pattern.compose`), k(pixel) is the camera geometry
(`pattern.camera`), P_d the thermal diffuse part where the library has one (`pattern.diffuse`, too
smooth to be blurred or divided), B_j the background (`pattern.background`).  f and b_j are linear: the
model delivers the columns that they multiply, and whoever fits profiles them out.  What the averaged area
holds besides one flat crystal (vacuum, a spread of thickness or tilt) is in P (`pattern.averaging`); the
diffuse part, which spreads hardly change, is that of the mean thickness and tilt, times the filled share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.library import BEYOND_DISC, Library
from hybridfit.library.planes import one_of
from hybridfit.library.slopes import Slopes
from hybridfit.pattern import background as bg
from hybridfit.pattern.averaging import SPREADS, bare_disc, over_thickness, over_tilt
from hybridfit.pattern.blend import Stack
from hybridfit.pattern.blur import sigma_of_variance
from hybridfit.pattern.camera import Camera, chain, to_angles
from hybridfit.pattern.columns import Columns, Composed
from hybridfit.pattern.compose import compose
from hybridfit.pattern.diffuse import Image
from hybridfit.pattern.diffuse_near import NearDiffuse
from hybridfit.pattern.energy import by_angles
from hybridfit.pattern.expand import Table, at_thickness, unfold, workspace
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.raster import Raster, divisions
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

CAMERA = Camera._fields
PARAMETERS = ("thickness", "tilt_x", "tilt_y", *CAMERA, "semi_angle", "blur")
AVERAGING = ("vacuum", *SPREADS)  # what else the averaged area may hold: parameters that are 0 if not given
FITTED_BEYOND_DISC = BEYOND_DISC  # mrad around the direct disc that are compared
PIXEL_VARIANCE = 1 / 12  # px²
EDGE_VARIANCE = 1 / 28  # of the aperture's edge, over its width squared
FINE_PIXEL, SEMI_ANGLE_ROOM = MODEL.fine_pixel, MODEL.semi_angle_room  # what fits go by, too


class ForwardModel:
    """Images of one library on one region of a camera.

    Parameters
    ----------
    library : Library
        Usually a window; it must cover every thickness and tilt asked for.  Between the values of its
        structural parameters it is blended.
    mask : (rows, cols) bool array
        Pixels that are compared.
    camera : Camera
        Where the pattern is in the frame, roughly: fixes the region that is composed.
    semi_angle : float, mrad, nominal
    background : one of `pattern.background.NAMES`
    per_nm : float
        Background per nm of thickness, for "uniform-per-nm" (frame units).
    origin : (col, row) in the frame of the centre of mask[0, 0] (px)
    pixel : width of a pixel of the mask in pixels of the frame, when it was binned
    fine_pixel : float, mrad, the widest that fine pixels may be
    pool : Pool of threads that share the work on an image, optional

    Attributes
    ----------
    parameters : tuple of str
        What `evaluate` takes: PARAMETERS, then the structural parameters of the library.  Those of AVERAGING
        are 0 unless they are given.
    thickness_range : (float, float), nm, of the library
    table : Table, that patterns are composed from

    Notes
    -----
    Camera parameters always refer to the pixels of the frame.

    Raises
    ------
    InputError, LibraryError
        There is no such background; or a structural parameter of the library is discrete.
    """

    def __init__(
        self,
        library: Library,
        mask: NDArray[np.bool_],
        camera: Camera,
        *,
        semi_angle: float,
        background: str = "radial",
        per_nm: float = 0.0,
        origin: tuple[float, float] = (0.0, 0.0),
        pixel: float = 1.0,
        fine_pixel: float = MODEL.fine_pixel,
        pool: Pool | None = None,
    ) -> None:
        bg.check(background)
        self.mask = mask
        self.background = background
        self.per_nm = per_nm if background == "uniform-per-nm" else 0.0
        self.semi_angle = semi_angle
        self.oversampling = divisions(pixel / camera.scale, fine_pixel)
        self._fine = pixel / self.oversampling  # px of the frame
        # the edge of the aperture is as soft as the library's grid, or as fine pixels if they are wider
        self.half_edge = max(library.step, MODEL.edge_width * self._fine / camera.scale) / 2
        self.n_pixels = int(mask.sum())
        make = partial(
            Raster,
            mask,
            (camera.centre_x, camera.centre_y),
            (semi_angle + FITTED_BEYOND_DISC) * camera.scale,
            MODEL.padding * camera.scale,
            origin=origin,
            pixel=pixel,
        )
        self.raster = raster = make(oversampling=self.oversampling)
        self.undivided, self.pixel = make, pixel
        distance = np.hypot(raster.col - camera.centre_x, raster.row - camera.centre_y)
        # room for a scale and a centre that a fit may move
        self._k_max = 1.03 * float(distance.max(initial=0.0)) / camera.scale + 0.5
        radius = semi_angle * (1 + MODEL.semi_angle_room) + self.half_edge
        self._stack: Stack | None = None
        if library.structure:
            self._stack = library.stack(k_max=self._k_max, semi_angle=radius)
            self.table = self._stack.table
        else:
            self.table = library.table(k_max=self._k_max, semi_angle=radius)
        self.thickness_range = library.thickness_range
        self._reach = library.tilt_max + library.semi_angle_max
        self.diffuse = library.diffuse
        self._near = None if self.diffuse is None else NearDiffuse(self.diffuse)
        self.slopes = partial(library.slopes, k_max=self._k_max, semi_angle=radius)
        self._energy_kv = float(library.dataset.attrs["energy_kv"])
        self._last: tuple[dict[str, float], Composed] | None = None
        self.parameters = (*PARAMETERS, *library.structure)
        self._pool = pool or Pool()
        self._radius = radius

    def evaluate(self, values: Mapping[str, float], names: Sequence[str] = ()) -> Columns:
        """Columns of the model, and their derivatives along the parameters in names.

        Parameters
        ----------
        values : mapping
            All of `parameters`: nm, mrad, px, px/mrad, degrees, units of the library.
        names : sequence of str
            Parameters whose derivatives are wanted; none by default.
        """
        t = values["thickness"]
        k, partials, camera, averaging = self._composed_at(values, 2 if len(names) else 1)
        sigma, sigma_slopes = self.kernel_of(values["blur"], camera.scale)
        structural = self._structural(k, values, names)
        k_fit = to_angles(self.raster.pixel_col, self.raster.pixel_row, camera)
        components, along_x, along_y = bg.basis(self.background, k_fit, self.semi_angle)
        columns = np.empty((1 + len(components), self.n_pixels))
        columns[1:] = components
        fixed = self.per_nm * t
        if not len(names):
            columns[0] = self.raster.record(partials[0], sigma)
            if self.diffuse is not None:
                columns[0] += self._diffuse_at(k_fit, values).value
            return Columns(columns, fixed)
        direct = {
            **dict.fromkeys(SPREADS, np.zeros(k.shape[1])),
            "thickness": partials[5],
            "tilt_x": partials[3],
            "tilt_y": partials[4],
            "semi_angle": partials[6],
        }
        camera_slopes = chain(k, partials[1] + partials[3], partials[2] + partials[4], camera)
        direct.update(zip(CAMERA, camera_slopes, strict=True))
        direct |= {**structural, **averaging}
        if "vacuum" in names:
            disc = bare_disc(k, values["semi_angle"], self.half_edge, 1)[0]
            direct["vacuum"] = (disc - partials[0]) / (1 - values.get("vacuum", 0.0))
        slopes = np.empty((len(names), self.n_pixels))
        columns[0] = self.raster.record(partials[0], sigma)
        widens = set(names) & set(sigma_slopes)
        by_sigma = self.raster.record_slope(partials[0], sigma) if widens else np.zeros(self.n_pixels)
        others = [i for i, name in enumerate(names) if name != "blur"]

        def recorded(begin: int, end: int) -> None:
            some = others[begin:end]
            if images := [np.float32(direct[names[i]]) for i in some]:
                slopes[some] = self.raster.record_rows(np.stack(images), sigma, (0.0, 0.0))

        self._pool.shares(recorded, len(others))
        for i, name in enumerate(names):
            if name == "blur":
                slopes[i] = by_sigma * sigma_slopes[name]
            elif name == "scale":
                slopes[i] += by_sigma * sigma_slopes[name]
        if self.diffuse is not None:
            found = self._diffuse_at(k_fit, values)
            columns[0] += found.value
            along = found.slopes(chain(k_fit, found.slopes_k[0], found.slopes_k[1], camera), CAMERA)
            along["vacuum"] = -found.value / (1 - values.get("vacuum", 0.0))
            for i, name in enumerate(names):
                if name in along:
                    slopes[i] += along[name]
        background = (k_fit, along_x, along_y)
        return Columns(columns, fixed, tuple(names), slopes, self.per_nm, background, camera)

    def pattern(self, values: Mapping[str, float]) -> Array:
        """(n,): the pattern's column at values that nobody goes on from."""
        return self.evaluate(values).columns[0]

    def tilt_bends(self, values: Mapping[str, float]) -> Array:
        """(3, n): ∂²/∂τx², ∂²/∂τx∂τy and ∂²/∂τy² of the pattern's column without its smooth diffuse part."""
        k = to_angles(self.raster.col, self.raster.row, Camera(*(values[name] for name in CAMERA)))
        table = self.table if self._stack is None else self._stack.at(values)
        blend, _ = self._over_thickness(self._at_thickness(values, 1), values)
        rows = self._composed(k, table, blend, values, bends=True)[0][1:].astype(np.float32)
        return self.raster.record_rows(rows, self.kernel_of(values["blur"], values["scale"])[0], (0.0, 0.0))

    def recorded(self, values: Mapping[str, float], plane: int) -> Array:
        """(n,): the pattern's column at a thickness of the library, by number, without its diffuse part."""
        if self._stack is None:
            blend = one_of(self.table.intensity, plane)[..., None]
        else:
            thickness = self.table.thickness_first + plane * self.table.thickness_step
            blend = self._at_thickness(values, 1)(thickness)
        found = self._composed_at(values, 1, blend)
        return self.raster.record(found.partials[0], self.kernel_of(values["blur"], found.camera.scale)[0])

    def _diffuse_at(self, k: Array, values: Mapping[str, float]) -> Image:
        """The thermal diffuse part at the pixels k, of the share that is not vacuum."""
        assert self._near is not None
        tilt = values["tilt_x"], values["tilt_y"]
        found = self._near.at(k, values["thickness"], tilt, values["semi_angle"])
        return found.times(1 - values.get("vacuum", 0.0))

    def assumption_slopes(self, values: Mapping[str, float]) -> dict[str, Array]:
        """Derivatives (n,) of the pattern's column along ln of what a fit takes for granted.

        "semi_angle"; "debye_waller" and "energy" (`pattern.energy`) where the library has slopes.
        """
        names = ("semi_angle", "tilt_x", "tilt_y")
        slopes = self.evaluate(values, names).pattern_slopes
        assert slopes is not None
        along = {name: values[name] * slope for name, slope in zip(names, slopes, strict=True)}
        out = {"semi_angle": along["semi_angle"]}
        found = self.slopes()
        if found is None:
            return out
        out |= self.recorded_slopes(found, values)
        if self.diffuse is not None and "debye_waller" in out:
            at = Camera(*(values[name] for name in CAMERA))
            pixels = to_angles(self.raster.pixel_col, self.raster.pixel_row, at)
            out["debye_waller"] += MODEL.diffuse_growth * self._diffuse_at(pixels, values).value
        if "energy" in out:
            out["energy"] += by_angles(self._energy_kv, along.values())
        return out

    def recorded_slopes(self, found: Slopes, values: Mapping[str, float]) -> dict[str, Array]:
        """Derivatives (n,) of the pattern's column along what slopes are of, without diffuse parts."""
        # slopes are known to a few per cent: undivided pixels will do
        raster = self.raster if self.oversampling == 1 else self.undivided(oversampling=1)
        camera = Camera(*(values[name] for name in CAMERA))
        k = to_angles(raster.col, raster.row, camera)
        table = found.at(self.table if self._stack is None else self._stack.at(values))
        sigma, _ = self.kernel_of(values["blur"], camera.scale, self.pixel / raster.oversampling)
        names, out = [*found.values], {}
        for first in range(0, len(names), 2):
            pair = names[first : first + 2]

            def both(t: float, pair: list[str] = pair) -> Float32:
                return np.stack([found.blend(name, t, values) for name in (pair * 2)[:2]], axis=-1)

            rows = self._composed(k, table, self._over_thickness(both, values)[0], values)[0]
            for name, row in zip(pair, (0, 5), strict=False):  # the second lane is where ∂I/∂t is otherwise
                out[name] = raster.record(rows[row], sigma)
        return out

    def _composed_at(self, values: Mapping[str, float], lanes: int, blend: Float32 | None = None) -> Composed:
        """The pattern at the points that pixels need, and, of two lanes, its partial derivatives."""
        if lanes == 2 and self._last is not None and self._last[0] == values:
            return self._last[1]
        out = self._compose_at(values, lanes, blend)
        self._last = (dict(values), out) if lanes == 2 else self._last
        return out

    def _compose_at(self, values: Mapping[str, float], lanes: int, blend: Float32 | None = None) -> Composed:
        """`_composed_at`, which nobody has asked for before."""
        camera = Camera(*(values[name] for name in CAMERA))
        k = to_angles(self.raster.col, self.raster.row, camera)
        table = self.table if self._stack is None else self._stack.at(values)
        wider = None
        if blend is None:
            blend, wider = self._over_thickness(self._at_thickness(values, lanes), values)
        rows, by_tilt = self._composed(k, table, blend, values)
        if share := values.get("vacuum", 0.0):
            rows = rows + share * bare_disc(k, values["semi_angle"], self.half_edge, len(rows))
        averaging = {} if by_tilt is None else {"tilt_spread": by_tilt}
        if wider is not None:
            averaging["thickness_spread"] = self._composed(k, table, wider, values)[0][0]
        return Composed(k, rows, camera, averaging)

    def _at_thickness(self, values: Mapping[str, float], lanes: int) -> Callable[[float], Float32]:
        if self._stack is None:
            return partial(at_thickness, self.table, lanes=lanes, pool=self._pool)
        return partial(self._stack.blend, values=values, lanes=lanes, pool=self._pool)

    def _over_thickness(
        self, blend: Callable[[float], Float32], values: Mapping[str, float]
    ) -> tuple[Float32, Float32 | None]:
        spread = values.get("thickness_spread", 0.0)
        return over_thickness(blend, values["thickness"], spread, self.thickness_range)

    def _structural(self, k: Array, values: Mapping[str, float], names: Sequence[str]) -> dict[str, Array]:
        """Derivatives of the pattern at the points k along structural parameters.

        ∂I/∂p, composed; where a parameter moves the beams, too, a central difference of patterns.
        """
        out: dict[str, Array] = {}
        if self._stack is None:
            return out
        stack = self._stack
        for name in set(names) & set(stack.nodes):
            if name not in stack.moving:
                along = partial(stack.slope, values=values, name=name, pool=self._pool)
                blend, _ = self._over_thickness(along, values)
                out[name] = self._composed(k, stack.at(values), blend, values)[0][0]
                continue
            step = self._step(name, values)
            sides = [{**values, name: values[name] + side} for side in (step, -step)]
            up, down = (
                self._composed(
                    k, stack.at(at), self._over_thickness(self._at_thickness(at, 1), values)[0], values
                )[0][0]
                for at in sides
            )
            out[name] = (up - down) / (2 * step)
        return out

    def _composed(
        self, k: Array, table: Table, blend: Float32, values: Mapping[str, float], bends: bool = False
    ) -> tuple[Array, Array | None]:
        """What a blend (beam, direction, lanes) gives at the points k: rows as of `pattern.compose`.

        Averaged over a spread of tilt, of which the second is the derivative; without vacuum.
        """
        alpha = values["semi_angle"]
        room = workspace(table, self._radius, blend.shape[2], self._pool)
        filled = 1 - values.get("vacuum", 0.0)

        def at(tilt: tuple[float, float]) -> Array:
            unfolded = unfold(table, blend, tilt, alpha, self.half_edge, self._k_max, room, self._pool)

            def composed(begin: int, end: int) -> Array:
                x, y = k[0, begin:end], k[1, begin:end]
                return compose(x, y, table, unfolded, *tilt, alpha, self.half_edge, bends)

            parts = self._pool.shares(composed, k.shape[1])
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
            return rows if filled == 1 else filled * rows

        tilt, spread = (values["tilt_x"], values["tilt_y"]), 0.0 if bends else values.get("tilt_spread", 0.0)
        return over_tilt(at, tilt, spread, self._reach - alpha)

    def _step(self, name: str, values: Mapping[str, float]) -> float:
        """How far either way the derivative along a parameter looks that moves the beams."""
        assert self._stack is not None
        step = MODEL.step * float(np.diff(self._stack.nodes[name]).min())
        up, down = (self._stack.at({**values, name: values[name] + side}) for side in (step, -step))
        moved = float(np.hypot(*(up.beam_xy - down.beam_xy).T).max()) / 2
        return step * min(1.0, MODEL.moved * self.half_edge / moved) if moved > 0 else step

    def kernel_of(
        self, blur: float, scale: float, fine: float | None = None, half_edge: float | None = None
    ) -> tuple[float, dict[str, float]]:
        """σ (fine pixels) of the kernel, and its derivatives along blur and scale.

        fine (px of the frame) and half_edge (mrad) are those of the model if they are not given.
        """
        fine = self._fine if fine is None else fine
        per_mrad = scale / fine
        edge = EDGE_VARIANCE * (2 * (half_edge or self.half_edge)) ** 2
        variance = PIXEL_VARIANCE + (blur**2 - edge) * per_mrad**2
        sigma, slope = sigma_of_variance(variance, MODEL.narrowest_blur)
        return sigma, {
            "blur": slope * 2 * blur * per_mrad**2,
            "scale": slope * 2 * (blur**2 - edge) * per_mrad / fine,
        }
