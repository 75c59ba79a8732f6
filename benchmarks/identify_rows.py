"""Frames of the study of identification, identified one by one.

A frame of a library that sets thresholds is identified twice or three times: among all libraries, without
those of its crystal, and among the heavy ones alone, unless the nearest is one of them anyway.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks.identify_frames import (
    MORE_NONE,
    NONE,
    OTHERS,
    SEMI_ANGLE,
    SETTING,
    TWINS,
    Case,
    Shown,
    frames,
    library_of,
    reported,
)
from benchmarks.identify_odds import Judged
from hybridfit.errors import HybridfitError
from hybridfit.identification.identifier import Identifier
from hybridfit.identification.odds import Evidence
from hybridfit.identification.structure import Left

QUICK_LIBRARIES, QUICK_OTHERS = 4, 2
LEFT_OUT, AMONG_HEAVY = ", left out", ", among heavy ones"  # kinds of rows of frames without their crystal
HEAVY_SHARE = 3  # one of so many libraries is heavy: those that absorb most
Row = dict[str, Any]


class Asked(NamedTuple):
    """What is identified: whether with the crystals that set thresholds, few of them, and how many frames."""

    setting: bool
    quick: bool
    right: int
    none: int

    @property
    def word(self) -> str:
        """As one word."""
        return f"{'set' if self.setting else 'reported'}{'-quick' * self.quick}-{self.right}-{self.none}"

    @classmethod
    def of(cls, word: str) -> Asked:
        """From the word."""
        *words, right, none = word.split("-")
        return cls("set" in words, "quick" in words, int(right), int(none))

    @property
    def cases(self) -> tuple[list[Case], list[Case]]:
        """Libraries, and crystals that none of them is of."""
        libraries, others = (SETTING, OTHERS) if self.setting else reported()
        return (libraries[:QUICK_LIBRARIES], others[:QUICK_OTHERS]) if self.quick else (libraries, others)

    def build(self) -> None:
        """Build the libraries that are missing."""
        libraries, others = self.cases
        for case in libraries:
            library_of(case)
        for case in [*libraries, *others]:
            library_of(case, true=True)


def identified(word: str, number: int, seed: int) -> Row:
    """The rows of a frame: of one that sets thresholds there may be several."""
    identifier, names = _ready(word)
    shown, setting = _frames(word, seed).at(number), Asked.of(word).setting
    rows = [_row(identifier, shown, names)]
    if setting and shown.truth and shown.name not in TWINS:
        rows += _without(identifier, shown, names, rows[0])
    return {"rows": [row | {"seed": seed} for row in rows]}


class _Frames:
    """Frames by number; they are made one after the other, and kept."""

    def __init__(self, asked: Asked, seed: int) -> None:
        kinds = (*NONE, *MORE_NONE) if asked.setting else NONE
        self.rest = frames(*asked.cases, asked.right, asked.none, seed, kinds)
        self.made: list[Shown] = []

    def at(self, number: int) -> Shown:
        while len(self.made) <= number:
            self.made.append(next(self.rest))
        return self.made[number]


@cache
def _frames(word: str, seed: int) -> _Frames:
    return _Frames(Asked.of(word), seed)


@cache
def _ready(word: str) -> tuple[Identifier, dict[str, str]]:
    """What identifies, and the names of cases by library."""
    names = {str(library_of(case)): case.name for case in Asked.of(word).cases[0]}
    identifier = Identifier(SEMI_ANGLE, names, workers=1)
    identifier.prepare()
    return identifier, names


def _without(identifier: Identifier, shown: Shown, names: dict[str, str], found: Row) -> list[Row]:
    """A frame, identified without its crystal: among all others, and among the heavy ones of them."""
    every, name, rows = identifier.known, shown.name or shown.kind, []
    others = [k for k in every if crystal_of(names[k.name]) != crystal_of(name)]
    heavy = sorted(every, key=lambda k: -k.absorption)[: len(every) // HEAVY_SHARE]
    if shown.name is not None:
        identifier.known = others
        found = _row(identifier, shown._replace(name=None, kind=name + LEFT_OUT), names)
        rows.append(found)
    some = [k for k in others if k in heavy]
    if some and found.get("nearest") not in [names[k.name] for k in heavy]:  # else it is the nearest again
        identifier.known = some
        rows.append(_row(identifier, shown._replace(name=None, kind=name + AMONG_HEAVY), names))
    identifier.known = every
    return rows


def crystal_of(name: str) -> str:
    """The crystal of a case: another zone axis of it is no other crystal."""
    return name.rsplit("_", 1)[0]


def _row(identifier: Identifier, shown: Shown, names: dict[str, str]) -> Row:
    """One frame, identified; names are those of cases, by library."""
    row: Row = {"shown": shown.name, "kind": shown.kind, "electrons": float(shown.image.sum())}
    try:
        found = identifier.identify(shown.image)
    except HybridfitError as error:  # nothing resembles it: as good as "none", said without odds
        return row | {"answer": None, "refused": str(error), "right": shown.name is None}
    answer = None if found.answer is None else names[found.answer]
    best = found.best
    return row | {
        "answer": answer,
        "right": answer == shown.name,
        "probability": found.probability,
        "none": found.none,
        "left": best.structure_left,
        "nearest": names[best.name],
        "mirrored": best.mirrored,
        "flipped": shown.truth.get("flipped"),
        "thickness_error": best.thickness - shown.truth.get("thickness", np.nan),
        "seconds": dict(found.seconds),
        "evidence": _plain(found.evidence, names),
    }


def _plain(evidence: Evidence | None, names: dict[str, str]) -> Row:
    """Evidence as JSON, with the names of cases."""
    assert evidence is not None
    out = asdict(evidence) | {"left": list(evidence.left)}
    return out | {"libraries": [names[each] for each in evidence.libraries]}


def evidence_of(row: Row) -> Evidence:
    """The evidence of a row."""
    plain = row["evidence"]
    return Evidence(**{**plain, "left": Left(*plain["left"])})


def answered(row: Row) -> Row:
    """A row by the present odds of none: evidence does not depend on them, and may be of an earlier run.

    Raises
    ------
    ValueError
        Another library is the answer than was nearest, so that thickness and mirror are of a wrong one.
    """
    if "evidence" not in row:
        return row
    evidence = evidence_of(row)
    none, odds = evidence.none(), dict.fromkeys(evidence.libraries, 0.0)
    for name, share in zip(evidence.libraries, evidence.shares(), strict=True):
        odds[name] += (1 - none) * float(share)
    best = max(odds, key=lambda name: odds[name])
    answer = best if odds[best] >= none else None
    if answer not in (None, row["nearest"]):
        raise ValueError(f"{row['nearest']} was nearest, now it is {best}: run the study without --resume")
    probability = max(odds[best], none)
    return row | {
        "answer": answer,
        "right": answer == row["shown"],
        "probability": probability,
        "none": none,
    }


def judged(rows: list[Row]) -> list[Judged]:
    """Rows as what numbers of the odds are set by; those that name a wrong library say nothing of none."""
    out = []
    for row in rows:
        if "evidence" not in row or (row["shown"] is not None and row["nearest"] != row["shown"]):
            continue
        name = row["shown"] or row["kind"].removesuffix(LEFT_OUT).removesuffix(AMONG_HEAVY)
        kind = "right" if row["shown"] else "no crystal" if name in (*NONE, *MORE_NONE) else "another crystal"
        out.append(Judged(evidence_of(row), crystal_of(name), kind))
    return out
