"""Trained networks as files, and their use.

A file is a .safetensors with the averaged weights; its metadata says what the network is and what it
was trained on, and it is rebuilt from that strictly (`files`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hybridfit.errors import InputError, LibraryError
from hybridfit.library.library import Library
from hybridfit.network.architecture import Architecture, PatternNet, channels_last, empty_net, represent
from hybridfit.network.files import Kind, Shape, TensorFile, Unusable, write_tensors
from hybridfit.network.origin import Origin, whole_checksum
from hybridfit.network.settings import WeightsSettings

WEIGHTS = Kind("hybridfit network", 2, "weights", "copy it again, or train anew with `hybridfit train`")
ARCHITECTURE, ORIGIN = TypeAdapter(Architecture), TypeAdapter(Origin)
COUNTED = "num_batches_tracked"  # batches seen: nothing depends on it
BATCH = 128
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
    module : PatternNet
    origin : Origin
    device : str
        "auto": a GPU if there is one.
    """

    def __init__(self, module: PatternNet, origin: Origin, *, device: str = "auto") -> None:
        self.module, self.origin = module, origin
        self.device = torch_device(device)
        self._fast: PatternNet | None = None

    @property
    def architecture(self) -> Architecture:
        """The shape of the network."""
        return self.module.architecture

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
        write_tensors(path, WEIGHTS, about, stored_tensors(self.module))

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
            module, shapes = shapes_of(architecture)
            fill(module, file.tensors(shapes))
        return cls(module, origin, device=device)

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
        pixels = torch.from_numpy(np.ascontiguousarray(crops, dtype=np.float32))
        alpha = torch.from_numpy(np.broadcast_to(semi_angles, len(pixels)).astype(np.float32))
        a = self.architecture
        widths = ((), (2,), (2,), (a.thickness_classes,), (a.tilt_classes**2,))
        parts = [[np.empty((0, *width), np.float32) for width in widths]]
        with torch.inference_mode():
            for first in range(0, len(pixels), BATCH):
                part = slice(first, first + BATCH)
                parts.append(self._batch(pixels[part].to(self.device), alpha[part].to(self.device)))
        size, centre, rotation, thickness, tilt = (np.concatenate(p) for p in zip(*parts, strict=True))
        return Predictions(
            log_size=size.astype(float),
            centre_mrad=centre.astype(float),
            rotation_deg=np.rad2deg(np.arctan2(rotation[:, 1], rotation[:, 0])) / a.rotation_order,
            rotation_certainty=np.hypot(rotation[:, 0], rotation[:, 1]),
            thickness=thickness,
            tilt=tilt.reshape(-1, a.tilt_classes, a.tilt_classes),
        )

    def _batch(self, crops: Tensor, alpha: Tensor) -> list[NDArray]:
        fast = self._fast
        if fast is None:  # threads that meet here make equal copies, and each uses its own
            fast = self._fast = channels_last(folded(self.module), self.device)
        channels = represent(crops, alpha).contiguous(memory_format=torch.channels_last)
        heads = fast(channels, alpha)
        thickness = torch.softmax(heads.thickness / self.origin.thickness_temperature, dim=1)
        tilt = torch.softmax(heads.tilt / self.origin.tilt_temperature, dim=1)
        return [v.cpu().numpy() for v in (heads.size, heads.centre, heads.rotation, thickness, tilt)]


def folded(module: PatternNet) -> PatternNet:
    """A copy for inference, batch normalisation folded into the convolutions."""
    copy = PatternNet(module.architecture)
    copy.load_state_dict({name: value.detach().cpu() for name, value in module.state_dict().items()})
    copy.eval().requires_grad_(False)
    for part in copy.modules():
        if isinstance(part, nn.Sequential) and len(part) > 1 and isinstance(part[1], nn.BatchNorm2d):
            part[0] = fuse_conv_bn_eval(cast(nn.Conv2d, part[0]), part[1])
            part[1] = nn.Identity()
    return copy


def shipped_path(library_name: str) -> Path:
    """Where the network of a shipped library is, if it has one."""
    return Path(__file__).parent / "weights" / f"{library_name}.safetensors"


def weights_beside(path: Path) -> Path:
    """Where the network of a library file (.nc) or recipe (.toml) is looked for."""
    return path.with_suffix(".safetensors")


def torch_device(name: str) -> torch.device:
    """The device of this name; "auto" is a GPU if there is one.

    Raises
    ------
    InputError
        There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
        torch.zeros(1, device=device)
    except Exception as error:  # whatever a backend throws that is not there
        reason = (str(error).splitlines() or [""])[0][:120].rstrip(".")
        raise InputError(
            f"device {name!r} cannot be used ({reason}); give auto, cpu, or cuda where there is a GPU"
        ) from None
    return device


def stored_tensors(module: PatternNet) -> dict[str, Tensor]:
    """What a file keeps of a network."""
    return {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTED)}


def shapes_of(architecture: Architecture) -> tuple[PatternNet, dict[str, Shape]]:
    """An empty network, and what the tensors that a file keeps of it have to be.

    Raises
    ------
    Unusable
        An architecture that cannot be, or is too large.
    """
    try:
        module = empty_net(architecture)
    except ValueError as error:
        raise Unusable(str(error)) from None
    return module, {name: Shape(tuple(value.shape)) for name, value in stored_tensors(module).items()}


def fill(module: PatternNet, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of a file in their places in a network, of which they may be empty."""
    counted = {n: torch.zeros((), dtype=torch.long) for n in module.state_dict() if n.endswith(COUNTED)}
    empty = any(value.is_meta for value in module.parameters())
    module.load_state_dict({**tensors, **counted}, assign=empty)


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
