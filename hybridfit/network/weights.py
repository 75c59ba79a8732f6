"""Trained networks as files, and their use.

A file is a .safetensors with the averaged weights; its metadata (JSON, under the key "hybridfit")
says what the network is and what it was trained on, and it is rebuilt from that strictly.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import safetensors
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import save
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hybridfit.errors import InputError, LibraryError
from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.network.architecture import Architecture, PatternNet, channels_last, represent

FORMAT = "hybridfit network"
VERSION = 1
BATCH = 128
Array = NDArray[np.floating]


@dataclass(frozen=True)
class Origin:
    """What a network was trained on: mrad, nm, kV; record is the history of the training."""

    crystal: str
    formula: str
    zone: tuple[int, ...]
    energy_kv: float
    semi_angle: tuple[float, float]
    thickness: tuple[float, float]
    tilt_max: float
    checksum: str
    thickness_temperature: float
    tilt_temperature: float
    record: dict[str, Any]


class Predictions(NamedTuple):
    """What the network says of n crops.

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
        """Write the network: whole, or not at all."""
        about = {
            "format": FORMAT,
            "version": VERSION,
            "architecture": asdict(self.architecture),
            "origin": asdict(self.origin),
        }
        tensors = {
            name: value.detach().cpu().contiguous()
            for name, value in self.module.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata={"hybridfit": json.dumps(about)}))

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
        try:
            with safetensors.safe_open(str(path), framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("hybridfit", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{path} cannot be read as weights ({reason}); copy it again, or train anew"
            ) from None
        if about.get("format") != FORMAT:
            raise InputError(f"{path} holds no hybridfit network; `hybridfit train` makes one")
        if about.get("version") != VERSION:
            raise InputError(
                f"{path} has network format {about.get('version')}, this hybridfit reads format {VERSION}; "
                "train anew"
            )
        try:
            module = PatternNet(Architecture(**_tuples(about["architecture"])))
            missing = module.load_state_dict(tensors, strict=False)
            lost = [name for name in missing.missing_keys if not name.endswith("num_batches_tracked")]
            if lost or missing.unexpected_keys:
                raise KeyError(f"tensors {', '.join([*lost, *missing.unexpected_keys][:3])}")
            origin = Origin(**_tuples(about["origin"]))
        except (KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path} does not describe its own network ({reason}); train anew") from None
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
        shipped ones; one that was trained on something else is passed over.

        Parameters
        ----------
        library : Library
        semi_angle : float, mrad, optional
        device : str
        beside : path, optional
            By default that of the library.
        """
        beside = beside or library.path
        near = [] if beside is None or beside.suffix not in (".toml", ".nc") else [weights_beside(beside)]
        shipped = sorted(shipped_path("any").parent.glob("*.safetensors"))
        for path in (*(path for path in near if path.is_file()), *shipped):
            with contextlib.suppress(LibraryError, InputError):
                network = cls.open(path, device=device)
                network.check(library, semi_angle)
                return network
        return None

    def check(self, library: Library, semi_angle: float | None = None) -> None:
        """Make sure that the network belongs to a library, and was trained for a semi-angle (mrad).

        Raises
        ------
        LibraryError
            Trained on another crystal, zone axis, energy or build of the library.
        InputError
            Not trained for this semi-angle.
        """
        attrs, origin = library.dataset.attrs, self.origin
        pairs = (
            ("crystal", f"{origin.crystal} ({origin.formula})", f"{attrs['crystal']} ({attrs['formula']})"),
            ("zone axis", _words(origin.zone), _words(np.atleast_1d(attrs["zone"]))),
            ("energy", f"{origin.energy_kv:g} kV", f"{attrs['energy_kv']:g} kV"),
            ("thickness range", _range(origin.thickness, "nm"), _range(library.thickness_range, "nm")),
            ("checksum", origin.checksum[:12], str(attrs["checksum"])[:12]),
        )
        for name, mine, its in pairs:
            if mine != its:
                raise LibraryError(
                    f"the network was trained on a library with {name} {mine}, this one has {its}; "
                    "take the network that belongs to it, or make one with `hybridfit train`"
                )
        low, high = origin.semi_angle
        if semi_angle is not None and not 0.99 * low <= semi_angle <= 1.01 * high:
            raise InputError(
                f"semi-angle {semi_angle:g} mrad is not what the network was trained for "
                f"({low:g} … {high:g} mrad); use --method lsf, or train one with --semi-angles"
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

    def _batch(self, crops: torch.Tensor, alpha: torch.Tensor) -> list[NDArray]:
        if self._fast is None:
            self._fast = channels_last(folded(self.module), self.device)
        channels = represent(crops, alpha).contiguous(memory_format=torch.channels_last)
        heads = self._fast(channels, alpha)
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


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _words(values: Any) -> str:
    return " ".join(str(int(v)) for v in values)


def _range(values: tuple[float, ...], unit: str) -> str:
    return f"{values[0]:g}–{values[1]:g} {unit}"
