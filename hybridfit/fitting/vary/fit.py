"""`hybridfit.fit_together`: the structure of a crystal from one or several of its patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import ArrayLike

from hybridfit.errors import InputError
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitOptions, FitSettings
from hybridfit.fitting.vary.answer import together_of
from hybridfit.fitting.vary.names import parsed
from hybridfit.fitting.vary.run import Run
from hybridfit.fitting.vary.structure import Structure, recipe_of
from hybridfit.fitting.vary.together import Together
from hybridfit.frame import Frame
from hybridfit.io.arrays import frame_of
from hybridfit.io.frames import read_one
from hybridfit.library.library import Library

if TYPE_CHECKING:
    from hybridfit.network.weights import Network

Progress = Callable[[str, float], None]


class StructureFitter:
    """Fits frames of one crystal with numbers of its structure; keep it when there are many.

    Parameters
    ----------
    library : Library, or the name or file of one
        Of one crystal, without structural parameters, whose recipe is known.
    vary : names with commas between them, or a sequence of names
        "B:Sr" (the B of all Sr, or of a site by its label), "z:O1" (a coordinate of a site of the CIF, in
        fractions of the cell; what symmetry makes of the site moves along), "occ:La" (an occupancy).
    semi_angle : float, mrad
    network, progress, settings, options
        As for `Fitter`.

    Raises
    ------
    InputError, LibraryError
        A name that the crystal does not have, or that its symmetry holds; and as for `Fitter`.
    """

    def __init__(
        self,
        library: Library | str | Path,
        vary: str | Sequence[str],
        semi_angle: float | None = None,
        *,
        network: Network | str | Path | None = None,
        progress: Progress | None = None,
        settings: FitSettings | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        varied = parsed(vary)
        opened = Library.open(library) if isinstance(library, str | Path) else library
        if isinstance(opened, Library):
            self.structure = Structure.of(recipe_of(opened), varied)
        self.fitter = Fitter(
            opened, semi_angle, network=network, progress=progress, settings=settings, **options
        )
        check_asked(self.fitter.settings)

    def fit(self, frames: Sequence[Frame | ArrayLike]) -> Together:
        """Fit frames together: thickness, tilt and camera of each, and the structure of all.

        Raises
        ------
        InputError
            A frame cannot be used, or resembles nothing in the library.
        """
        read = [frame_of(frame) for frame in frames]
        if not read:
            raise InputError("there are no frames to fit together; give one or more")
        return self.fit_from(read, [self.fitter.fit(frame) for frame in read])

    def fit_from(self, frames: Sequence[Frame], starts: Sequence[FitResult]) -> Together:
        """The same from fits of the frames without structure."""
        fitter = self.fitter
        settings = fitter.refiner.settings
        run = Run(
            self.structure, fitter.library, settings, pool=fitter.refiner.pool, progress=fitter.progress
        )
        return together_of(run.fit(frames, starts), self.structure, fitter.library, settings)


def check_asked(settings: FitSettings) -> None:
    """Raise an InputError for options that fits with a structure do not take."""
    if settings.flip:
        raise InputError("vary does not take flip; mirror the frames themselves (image[::-1])")
    if settings.expressions:
        raise InputError("vary does not take expressions; hold parameters with fix")
    if settings.method == "cnn":
        raise InputError("vary needs least squares; use method hybrid or lsf")


def fit_together(
    frames: Sequence[Frame | ArrayLike | str | Path],
    library: Library | str | Path,
    *,
    vary: str | Sequence[str],
    semi_angle: float | None = None,
    network: Network | str | Path | None = None,
    **options: Unpack[FitOptions],
) -> Together:
    """The structure of a crystal from several patterns of it, of different thickness and tilt.

    Every frame has a thickness, tilt and camera of its own; B, coordinates and occupancies are those of all.

    Parameters
    ----------
    frames : sequence of Frame, (rows, cols) array, or path of a file that holds one frame
    library : Library, or the name or file of one
        With the crystal to start from.
    vary : names with commas between them, or a sequence of names
        "B:Sr,B:O,z:O1,occ:La": see `StructureFitter`.
    semi_angle : float, mrad, optional
        By default what the first frame says.
    network, options
        As for `hybridfit.fit`.

    Returns
    -------
    Together

    Raises
    ------
    InputError, LibraryError
    """
    if isinstance(frames, str | Path) or not isinstance(frames, Sequence):
        raise InputError("fit_together takes a list of frames; give hybridfit.fit a single one")
    read = [read_one(frame) if isinstance(frame, str | Path) else frame_of(frame) for frame in frames]
    if semi_angle is None and read:
        semi_angle = read[0].calibration.get("semi_angle_mrad")
    if semi_angle is None:
        raise InputError("the frames do not say their semi-angle; give semi_angle in mrad, such as 13.6")
    given: dict[str, Any] = {"whole_curve": True, **options}
    return StructureFitter(library, vary, semi_angle, network=network, **given).fit(read)
