"""A stand-in for a trained network, with given answers."""

from __future__ import annotations

import numpy as np

from hybridfit.network.weights import Predictions

THICKNESSES = np.arange(1.0, 61.0)
TILTS = np.arange(-4.0, 4.1, 0.5)


def said(thickness=30.0, tilt=(0.0, 0.0), rotation=0.0, *, moves=(0.0, 0.0), size=0.0, doubt=0.0, others=()):
    """Predictions for one crop: tilt (mrad) in the camera's frame, a share of doubt on other thicknesses."""
    p_t = np.maximum(0, 1 - np.abs(THICKNESSES - thickness))
    p_t *= 1 - doubt
    for other in others:
        p_t += doubt / len(others) * np.maximum(0, 1 - np.abs(THICKNESSES - other))
    x, y = (np.maximum(0, 1 - np.abs(TILTS - t) / 0.5) for t in tilt)
    return Predictions(
        log_size=np.array([size]),
        centre_mrad=np.array([moves], dtype=float),
        rotation_deg=np.array([rotation]),
        rotation_certainty=np.ones(1),
        thickness=(p_t / p_t.sum())[None].astype(np.float32),
        tilt=(np.outer(y, x) / max(np.outer(y, x).sum(), 1e-9))[None].astype(np.float32),
    )


class Oracle:
    """Gives its answers pass after pass and then repeats the last; all frames of a batch get the same."""

    def __init__(self, *answers: Predictions) -> None:
        self.answers, self.calls = answers, 0
        self.thicknesses, self.tilts = THICKNESSES, TILTS

    def check(self, library, semi_angle=None) -> None:
        """Fits every library."""

    def predict(self, crops, semi_angles) -> Predictions:
        """The next answer, for as many crops as there are; orientations and mirrors are seen."""
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        count = len(crops)
        turned = count % 8 == 0 and np.array_equal(np.rot90(crops[0], 1, axes=(1, 2)), crops[count // 8])
        views = (answer, self.mirrored(answer))
        parts = [self.turned(view, k) for view in views for k in range(4)] if turned else [answer]
        repeats = count // len(parts)
        columns = zip(*parts, strict=True)
        return Predictions(*(np.concatenate([np.repeat(v, repeats, axis=0) for v in c]) for c in columns))

    @staticmethod
    def mirrored(answer: Predictions) -> Predictions:
        """What is said of a crop mirrored top to bottom; the crystal has a mirror along its x."""
        x, y = answer.centre_mrad.T
        return answer._replace(
            centre_mrad=np.stack([x, -y], axis=1),
            rotation_deg=-answer.rotation_deg,
            tilt=answer.tilt[:, ::-1],
        )

    @staticmethod
    def turned(answer: Predictions, k: int) -> Predictions:
        """What is said of a crop turned by −90° k times."""
        x, y = answer.centre_mrad.T
        for _ in range(k):
            x, y = y, -x
        return answer._replace(
            centre_mrad=np.stack([x, y], axis=1),
            rotation_deg=answer.rotation_deg - 90 * k,
            tilt=np.rot90(answer.tilt, k, axes=(1, 2)),
        )


def as_the_camera_sees(truth) -> tuple[float, float]:
    """The tilt of a frame's truth, turned by its rotation."""
    angle = np.deg2rad(truth["rotation"])
    c, s = np.cos(angle), np.sin(angle)
    x, y = truth["tilt_x"], truth["tilt_y"]
    return float(c * x - s * y), float(s * x + c * y)
