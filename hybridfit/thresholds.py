"""Thresholds that can be traced: a field of a settings class that says its unit, its reason and its study.

    @dataclass(frozen=True)
    class SearchSettings:
        tilt_step: float = threshold(0.5, "mrad", "finer steps find no other minimum", "benchmarks.accuracy")

`python -m benchmarks.thresholds` prints every one of them, with its margin on data that did not set it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple


def threshold(value: Any, unit: str, why: str, study: str) -> Any:
    """A field of a frozen dataclass with a default that decides something.

    Parameters
    ----------
    value : number or tuple of numbers
        The default.
    unit : str
        "nm", "mrad", "px", "degrees", …; "1" where there is none.
    why : str
        What the threshold decides, and why it is not larger or smaller.
    study : str
        The benchmark (`benchmarks.dose`) or the publication that set it; "design" where none did.
    """
    return dataclasses.field(default=value, metadata={"unit": unit, "why": why, "study": study})


class Threshold(NamedTuple):
    """A threshold as it stands in a settings class."""

    settings: str
    name: str
    value: Any
    unit: str
    why: str
    study: str


def thresholds_of(settings: type) -> Iterator[Threshold]:
    """Every threshold of a settings class, in the order in which they are written."""
    for field in dataclasses.fields(settings):
        if "study" in field.metadata:
            about = field.metadata
            name = settings.__name__
            yield Threshold(name, field.name, field.default, about["unit"], about["why"], about["study"])
