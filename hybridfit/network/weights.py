"""Trained networks as files, and their use.

A file is a .safetensors with the averaged weights; its metadata says what the network is and what it
was trained on, and it is rebuilt from that strictly (`files`).
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter

from hybridfit.errors import InputError, LibraryError
from hybridfit.library.library import Library
from hybridfit.network.files import Kind, Shape, TensorFile, Unusable, write_tensors
from hybridfit.network.forward import Answers, Forward, Single
from hybridfit.network.origin import Origin, whole_checksum
from hybridfit.network.settings import WeightsSettings
from hybridfit.network.shape import Architecture, NetShape, Weights
from hybridfit.pattern.pool import Pool

if TYPE_CHECKING:
    from hybridfit.network.architecture import PatternNet
    from hybridfit.network.conversion import TorchForward

WEIGHTS = Kind("hybridfit network", 2, "weights", "copy it again, or train anew with `hybridfit train`")
ARCHITECTURE, ORIGIN = TypeAdapter(Architecture), TypeAdapter(Origin)
DRIVERS = "/dev/nvidiactl", "/dev/dxg", "/dev/kfd"  # of GPUs: of NVIDIA, in Windows' Linux, of AMD
Array = NDArray[np.floating]


class Predictions(NamedTuple):
    """The network's answers for n crops.

    Attributes
    ----------
    log_size : (n,)
        log(true scale / rough scale).
    centre_mrad : (n, 2)
        True centre less rough centre (col, row), in mrad of the rough scale.
    rotation_deg : (n,)
        In (−180/order, 180/order], positive turns +x towards +row.
    rotation_certainty : (n,)
        Length of (cos nφ, sin nφ): near 1 where the network is certain, near 0 where it is not.
    thickness : (n, classes)
        Probabilities, at `Network.thicknesses`.
    tilt : (n, classes, classes)
        Probabilities, [row, col] at `Network.tilts` along y and x of the image frame.
    """

    log_size: Array
    centre_mrad: Array
    rotation_deg: Array
    rotation_certainty: Array
    thickness: NDArray[np.float32]
    tilt: NDArray[np.float32]


class Network:
    """A trained network.

    Parameters
    ----------
    weights : Weights or PatternNet
    origin : Origin
    device : str
        A device of torch, or "auto": a GPU if there is one. On the CPU, torch is not needed.
    threads : int, optional
        That share large batches on the CPU; by default all cores.
    """

    def __init__(
        self,
        weights: Weights | PatternNet,
        origin: Origin,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if not isinstance(weights, Weights):
            from hybridfit.network.conversion import weights_of

            weights = weights_of(weights)
        self.weights, self.origin = weights, origin
        self.device = device_named(device)
        self.threads = threads or os.cpu_count() or 1

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made of the weights."""
        return {name: getattr(self, name) for name in ("weights", "origin", "device", "threads")}

    @property
    def architecture(self) -> Architecture:
        """The shape of the network."""
        return self.weights.architecture

    @cached_property
    def module(self) -> PatternNet:
        """The network as a module of torch, on the CPU."""
        from hybridfit.network.conversion import module_of

        return module_of(self.weights)

    @property
    def thicknesses(self) -> Array:
        """Thickness of each class (nm)."""
        a = self.architecture
        return a.thickness_first + a.thickness_step * np.arange(a.thickness_classes, dtype=np.float64)

    @property
    def tilts(self) -> Array:
        """Tilt of each class along either axis of the image frame (mrad)."""
        a = self.architecture
        return a.tilt_first + a.tilt_step * np.arange(a.tilt_classes, dtype=np.float64)

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write the network: whole, or not at all.

        Raises
        ------
        InputError
            A weight is not finite.
        """
        about = {"architecture": asdict(self.architecture), "origin": asdict(self.origin)}
        write_tensors(path, WEIGHTS, about, self.weights.arrays)

    @classmethod
    def open(cls, path: str | Path, *, device: str = "auto") -> Network:
        """Read a network.

        Raises
        ------
        InputError
            The file is missing, damaged, no hybridfit network, or of another version.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no weights file {path}; `hybridfit train` makes one")
        with TensorFile(path, WEIGHTS) as file:
            architecture = file.field("architecture", ARCHITECTURE)
            origin = file.field("origin", ORIGIN)
            origin.check_classes(architecture)
            weights = Weights(architecture, file.tensors(shapes_of(architecture)))
        return cls(weights, origin, device=device)

    @classmethod
    def shipped(cls, library_name: str, *, device: str = "auto") -> Network:
        """The network that comes with a shipped library.

        Raises
        ------
        InputError
            There is none for this library.
        """
        path = shipped_path(library_name)
        if not path.is_file():
            raise InputError(
                f"no network comes with library {library_name!r}; train one with "
                f"`hybridfit train {library_name} -o {library_name}.safetensors`, or use --method lsf"
            )
        return cls.open(path, device=device)

    @classmethod
    def for_library(
        cls,
        library: Library,
        semi_angle: float | None = None,
        *,
        device: str = "auto",
        beside: Path | None = None,
    ) -> Network | None:
        """The network that was trained on a library, for a semi-angle (mrad); None without one.

        It is looked for beside the file or recipe of the library, under the same name, then among the
        shipped ones.

        Parameters
        ----------
        library : Library
        semi_angle : float, mrad, optional
        device : str
        beside : path, optional
            By default that of the library.

        Raises
        ------
        InputError, LibraryError
            Weights lie beside the library under its name, and are damaged or those of another library;
            or shipped ones are damaged.
        """
        beside = beside or library.path
        near = None if beside is None or beside.suffix not in (".toml", ".nc") else weights_beside(beside)
        if near is not None and near.is_file():
            network = _open_beside(near, library, device)
            if network is not None and network.serves(library, semi_angle):
                return network
        for path in sorted(shipped_path("any").parent.glob("*.safetensors")):
            network = cls.open(path, device=device)
            if network.serves(library, semi_angle):
                return network
        return None

    def serves(self, library: Library, semi_angle: float | None = None) -> bool:
        """Whether the network belongs to a library, and was trained for a semi-angle (mrad)."""
        try:
            self.check(library, semi_angle)
        except (LibraryError, InputError):
            return False
        return True

    def check(
        self,
        library: Library,
        semi_angle: float | None = None,
        settings: WeightsSettings = WeightsSettings(),  # noqa: B008  (it is frozen)
    ) -> None:
        """Make sure that the network belongs to a library, and was trained for a semi-angle (mrad).

        Raises
        ------
        LibraryError
            Trained on another crystal, zone axis, energy or build of the library, or on another version
            of the physics, unless `WeightsSettings.other_physics` lists it.
        InputError
            Not trained for this semi-angle.
        """
        self.origin.check(library, semi_angle, settings)
        mine, its = self.architecture.rotation_order, library.rotation_order
        if mine != its:
            raise LibraryError(
                f"the network was trained for a {mine}-fold axis, that of this library is {its}-fold; "
                "train it anew with `hybridfit train`"
            )

    # ---------------------------------------------------------------- use

    def predict(self, crops: ArrayLike, semi_angles: ArrayLike) -> Predictions:
        """Apply the network once.

        Parameters
        ----------
        crops : (n, 2, CROP, CROP)
            As from `crop.crops`.
        semi_angles : float or (n,), mrad, nominal

        Returns
        -------
        Predictions
        """
        pixels = np.ascontiguousarray(crops, dtype=np.float32)
        alpha = np.broadcast_to(semi_angles, len(pixels)).astype(np.float32)
        said, a = self._apply(pixels, alpha), self.architecture
        return Predictions(
            log_size=said.size.astype(float),
            centre_mrad=said.centre.astype(float),
            rotation_deg=np.rad2deg(np.arctan2(said.rotation[:, 1], said.rotation[:, 0])) / a.rotation_order,
            rotation_certainty=np.hypot(said.rotation[:, 0], said.rotation[:, 1]),
            thickness=softmax(said.thickness, self.origin.thickness_temperature),
            tilt=softmax(said.tilt, self.origin.tilt_temperature).reshape(-1, a.tilt_classes, a.tilt_classes),
        )

    def _apply(self, crops: Single, semi_angles: Single) -> Answers:
        if self.device == "cpu":
            return self._forward(crops, semi_angles, self._pool)
        return self._elsewhere(crops, semi_angles)

    @cached_property
    def _forward(self) -> Forward:
        return Forward(self.weights)

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.threads)

    @cached_property
    def _elsewhere(self) -> TorchForward:
        from hybridfit.network.conversion import TorchForward

        return TorchForward(self.weights, self.device)


def softmax(logits: Single, temperature: float) -> Single:
    """Probabilities (n, classes) of logits at a temperature."""
    scaled = logits / np.float32(temperature)
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def device_named(name: str) -> str:
    """The device of this name; "auto" is a GPU if there is one.  Torch is asked where there may be one.

    Raises
    ------
    InputError
        There is no such device.
    """
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    from hybridfit.network.conversion import torch_device

    return str(torch_device(name))


def may_have_gpu() -> bool:
    """Whether there is a driver that torch may know."""
    return sys.platform == "win32" or any(Path(driver).exists() for driver in DRIVERS)


def shipped_path(library_name: str) -> Path:
    """Where the network of a shipped library is, if it has one."""
    return Path(__file__).parent / "weights" / f"{library_name}.safetensors"


def weights_beside(path: Path) -> Path:
    """Where the network of a library file (.nc) or recipe (.toml) is looked for."""
    return path.with_suffix(".safetensors")


def shapes_of(architecture: NetShape) -> dict[str, Shape]:
    """What the tensors that a file keeps of a network have to be.

    Raises
    ------
    Unusable
        An architecture that cannot be, or is too large.
    """
    try:
        return {name: Shape(shape) for name, shape in architecture.weight_shapes().items()}
    except ValueError as error:
        raise Unusable(str(error)) from None


def _open_beside(path: Path, library: Library, device: str) -> Network | None:
    """The network that lies beside a library under its name; None where it is of other structural values.

    Raises
    ------
    InputError, LibraryError
        It is damaged, or of another library.
    """
    try:
        network = Network.open(path, device=device)
    except InputError as error:
        raise InputError(f"{error}, or remove it: it lies beside the library under its name") from None
    origin, checksum = network.origin, str(library.dataset.attrs["checksum"])
    if origin.checksum != checksum and origin.whole_checksum == whole_checksum(library):
        return None
    try:
        network.check(library)
    except LibraryError as error:
        raise LibraryError(f"{path} lies beside the library under its name: {error}, or remove it") from None
    return network
