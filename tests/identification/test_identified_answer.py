"""The sentence that says the answer."""

from __future__ import annotations

from hybridfit.identification.answer import Identification, Match
from hybridfit.identification.odds import Evidence
from hybridfit.identification.structure import Left


def said(*shares: float, mirrored: float = float("nan")) -> str:
    """What is said of libraries with these probabilities; the rest is that of none."""
    matches = tuple(
        Match(name, f"{name} [0 0 1] 200 kV", share, True, structure_left=0.4, mirrored=mirrored)
        for name, share in zip(("Si", "Ge", "Sn"), shares, strict=False)
    )
    return Identification("a.tif", 10.0, matches, 1 - sum(shares)).message


def test_a_sure_answer():
    assert said(0.98, 0.01) == "The frame shows Si [0 0 1] 200 kV (98 %)."
    assert said(0.9999, 0.0001) == "The frame shows Si [0 0 1] 200 kV (over 99.9 %)."


def test_of_one_library_it_says_that_it_was_the_only_one():
    assert (
        said(0.98) == "The frame shows Si [0 0 1] 200 kV (98 %), the only library that it was compared with."
    )


def test_a_likely_answer_names_what_else_it_may_be():
    assert said(0.8, 0.15) == (
        "The frame probably shows Si [0 0 1] 200 kV (80 %), or Ge [0 0 1] 200 kV (15 %)."
    )
    assert said(0.75, 0.05) == "The frame probably shows Si [0 0 1] 200 kV (75 %), or none of these (20 %)."


def test_an_unsure_answer():
    assert said(0.5, 0.45).startswith("The frame may show Si [0 0 1] 200 kV (50 %), or Ge")


def test_none_of_them():
    words = said(0.02, 0.01)
    assert words == (
        "The frame shows none of the 2 libraries that it was compared with (97 %); Si [0 0 1] 200 kV comes "
        "nearest and leaves 40% of its structure."
    )
    assert said(0.02) == (
        "The frame does not show Si [0 0 1] 200 kV, the only library that it was compared with (98 %)."
    )
    assert said(0.4) == "The frame shows Si [0 0 1] 200 kV, or something else (60 %)."


def test_a_round_frame_says_so():
    matches = (Match("Si", "Si [0 0 1] 200 kV", 0.02, True, structure_left=0.4),)
    evidence = Evidence(
        ("Si",), (0.0,), (0.0,), (0.0,), 100.0, Left(1.0, 0.4, 0.01, 1.0, 0.1, beyond_round=3.0), 0.01
    )
    found = Identification("a.tif", 10.0, matches, 0.98, evidence=evidence)
    assert found.message == (
        "The frame does not show Si [0 0 1] 200 kV, the only library that it was compared with (98 %): "
        "a round pattern explains it as well: vacuum, an amorphous film, or another crystal."
    )


def test_a_mirror_says_what_to_do():
    assert said(0.98, mirrored=0.9).endswith("The camera mirrors its frames (90%): fit them with --flip.")
