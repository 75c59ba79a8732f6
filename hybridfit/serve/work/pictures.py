"""Pictures: the frame of an upload before it is fitted, a fit, and a map."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io import BadFrame, open_frames
from hybridfit.io.elsewhere import check_alone
from hybridfit.session import Kept, KeptAnswer, Session

if TYPE_CHECKING:
    from hybridfit.library.library import Library

SIDE = 1024  # px of a preview, at most
CLIPPED = (0.5, 99.8)  # per cent of pixels at black and below white


def preview(payload: dict[str, Any], pixels: int) -> dict[str, Any]:
    """The first frame of an upload as a grey picture, with what the file says of it."""
    file, shown = Path(payload["file"]), payload["shown"]
    options = {name: payload["options"].get(name) for name in ("dataset", "shape", "dtype")}
    try:
        check_alone(file)
        opened = open_frames(file, **options, offset=payload["options"].get("offset") or 0)
        count = len(opened)
        frame = next(iter(opened))
        if isinstance(frame, BadFrame):
            raise frame.error
    except InputError as error:
        words = str(error).replace(str(file), shown).replace(f"{file.parent}/", "")
        raise InputError(words) from None
    if frame.image.size > pixels:
        raise InputError(f"{shown} has more than {pixels / 1e6:.3g} million pixels; bin the frame first")
    ny, nx = frame.image.shape
    step = max(1, -(-max(ny, nx) // SIDE))
    return {
        "shape": [ny, nx],
        "frames": count,
        "calibration": {name: float(value) for name, value in frame.calibration.items()},
        "png": "data:image/png;base64," + base64.b64encode(_grey(frame.image[::step, ::step])).decode(),
        "note": frame.note,
    }


def _grey(image: np.ndarray) -> bytes:
    from PIL import Image

    values = np.asarray(image, float)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, CLIPPED) if finite.size else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-30), 0, 1)
    out = io.BytesIO()
    Image.fromarray((255 * scaled**0.5).astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


def fit_picture(session: Session, key: str, path: Path, library: Library | None) -> None:
    """Draw a fit of the session: .png, .svg or .pdf; .html is a report, which describes the library, too."""
    fit, images = session.fit(key), session.images(key)
    if images is None:
        raise InputError("this fit has no picture: its frame has no answer, or its images were dropped")
    answer = KeptAnswer(fit["result"], Kept.unpacked(images))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        from hybridfit.report import Origin, fit_report

        path.write_text(fit_report(answer, Origin(library=library, files=[])), encoding="utf-8")
        return
    from hybridfit.plot import plot_fit

    plot_fit(answer, path)


def map_picture(payload: dict[str, Any]) -> str:
    """Draw a finished map, or write its table or a report."""
    from hybridfit.scan.maps import read_map

    found, path = read_map(payload["map"]), Path(payload["path"])
    if path.suffix == ".csv":
        from hybridfit.scan.export import write_csv

        write_csv(found, path)
    elif path.suffix == ".html":
        from hybridfit.report import Origin, map_report

        path.write_text(map_report(found, Origin()), encoding="utf-8")
    else:
        from hybridfit.plot.maps import plot_map

        plot_map(found, path)
    return str(path)
