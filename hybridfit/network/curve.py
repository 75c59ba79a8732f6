"""The training curve, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hybridfit.io import atomic_path


def save_curve(record: dict[str, Any], path: Path) -> None:
    """Draw loss, shares and spreads of the validation samples over the training.

    Parameters
    ----------
    record : dict
        `Origin.record` of a network.
    path : path of a .png, .pdf or .svg
    """
    history = record["history"]
    samples = [h["samples"] / 1e6 for h in history]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    cost, shares, spreads = figure.subplots(1, 3)

    def draw(axes: Any, name: str, label: str, factor: float = 1.0) -> None:
        axes.plot(samples, [factor * h[name] for h in history], ".-", label=label)

    draw(cost, "training_loss", "training")
    draw(cost, "loss", "held back")
    cost.set_ylabel("loss")
    draw(shares, "thickness_3nm", "thickness within 3 nm", 100)
    draw(shares, "thickness_2nm", "thickness within 2 nm", 100)
    draw(shares, "tilt_1mrad", "tilt within 1 mrad", 100)
    draw(shares, "tilt_half_mrad", "tilt within 0.5 mrad", 100)
    draw(shares, "rotation_2deg", "rotation within 2°", 100)
    shares.set_ylabel("share of held-back samples (%)")
    draw(spreads, "centre_rms", "centre (mrad)")
    draw(spreads, "size_rms", "size (%)", 100)
    draw(spreads, "rotation_rms", "rotation (°)")
    spreads.set_ylabel("root mean square error")
    spreads.set_yscale("log")
    for axes in (cost, shares, spreads):
        axes.set_xlabel("samples (millions)")
        axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
