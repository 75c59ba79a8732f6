"""What thresholds are compared with, measured on the frames of `threshold_frames`: a row for each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.threshold_frames import (
    CRYSTALS,
    NETWORK,
    SEED,
    SEMI_ANGLE,
    Shown,
    at_the_edge,
    good,
    library_of,
    refused,
)
from benchmarks.threshold_margins import (
    BELOW,
    JUDGE,
    ROUTES,
    SEARCHING,
    SEEDING,
    Row,
    key_of,
    quantities,
    refusal,
)
from hybridfit import Fitter
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import WINDOW, Candidate, Seed, tilt_distance
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.judge.network_answer import network_result
from hybridfit.fitting.judge.semi_angle import other_semi_angle, semi_angle_gain
from hybridfit.fitting.judge.status import (
    beyond_round,
    crystal_share,
    explained_variance,
    how_much_deeper,
    judge,
    negative_background,
    on_bound,
    structure_of,
    unexplained,
)
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.noise import electrons_in
from hybridfit.fitting.search.cameras import beside, disc_outside
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.search.settings import SEARCH
from hybridfit.fitting.seed.alignment import Aligner
from hybridfit.fitting.seed.disc import bright_edge
from hybridfit.fitting.seed.network import Seeder
from hybridfit.fitting.seed.settings import AlignmentSettings
from hybridfit.frame import Frame, make_frame
from hybridfit.network.weights import Network
from hybridfit.scan.settings import FirstPassSettings

ALIGNED, MISALIGNED = 0.02, 0.05  # of the radius: centre or scale off by less, by more
ALL_POINTS = replace(SEARCH, worth=0.0, most_candidates=40)
WRONG_SCALE = 1.2  # of the scale that a network is made to keep
REFINED = 5  # candidates of a match
CAMERA_OFF = ((3.0, 0.0, 1.0), (0.0, -3.0, 1.0), (0.0, 0.0, 1.2), (0.0, 0.0, 0.83))  # mrad, mrad, scale


def measured(crystal: str, n: int, quick: bool) -> list[Row]:
    """Every quantity of the frames of one crystal: a row for each frame, with its kind."""
    if crystal == NETWORK:
        return _with_network(n, quick)
    library = library_of(crystal, quick)
    fitter = Fitter(library, SEMI_ANGLE, method="lsf", workers=1, searching=ALL_POINTS)
    aligner = Aligner.shipped(SEMI_ANGLE)
    number = CRYSTALS.index(crystal)
    rng = np.random.default_rng([SEED, number])
    rows: list[Row] = []
    for shown in good(crystal, n, number, quick):
        rows.append(_judged(fitter, shown) | _bright(shown))
        rows += _cameras(fitter, shown)
        rows += _aligned(aligner, shown)
    rows.append(_scatter(rows))
    for shown in good(crystal, n, 10 + number, quick, few=True):
        rows += _false_minimum(fitter, shown, rng)
    for shown in at_the_edge(crystal, max(n // 3, 1), 20 + number, quick):
        rows.append(_edge(fitter, shown, rng) | _bright(shown))
    for shown in refused(crystal, max(n // 3, 1), 30 + 10 * number, quick):
        rows.append(_judged(fitter, shown))
    return rows


def _judged(fitter: Fitter, shown: Shown) -> Row:
    """What the verdict compares, of the best match at a known disc."""
    frame, limits = make_frame(shown.image), fitter.settings.judging
    found = _matched(fitter, frame, shown.camera)
    row: Row = {"kind": shown.kind}
    if shown.truth is not None:
        row |= _worth(found, shown, fitter)
    chi2 = found[0].chi2 if found else 1.0
    kept = [c for c in found if 1 - c.chi2 >= SEARCH.worth * (1 - chi2)][:REFINED]
    middle = float(np.mean(fitter.reference.thickness_range))
    minima = fitter.finder.find(frame, kept or [Candidate(middle, 0.0, 0.0, *shown.camera, 0.0)])
    best = minima.best
    explained, by_chance = explained_variance(best)
    structure, (share, error) = structure_of(best), crystal_share(best)
    left, (gain, angle) = unexplained(best, limits), semi_angle_gain(frame, minima)
    row |= quantities(
        JUDGE,
        poor_misfit=best.fit.noise.misfit / best.region.variance,
        beyond_chance=explained / by_chance,
        structure_left=left,
        grain=structure.frame / structure.deviation,
        crystalline=share,
        seen=share / error,
        beyond_round=float(np.sqrt(max(beyond_round(best), 0.0))),
        hole=negative_background(best),
        suspicious=left,
        semi_angle_gain=gain,
        semi_angle_off=abs(angle / SEMI_ANGLE - 1),
    )
    row[key_of(JUDGE, "seen", BELOW)] = (limits.crystalline - share) / error
    if shown.kind == "good" and _right(best.answer, shown, fitter):
        row |= quantities(JUDGE, **_least_rival(minima))
    row |= quantities(ROUTES, no_match=chi2)
    if shown.truth is not None:
        row["off"] = _off(best.fit.values, shown.truth, order=fitter.reference.rotation_order)
    row["refused"] = refusal(row, share, error, limits)
    bounded = on_bound(best, fitter.reference, fitter.settings)
    doubt = other_semi_angle(frame, minima)
    row["status"] = judge(best, minima.rivals, bounded, doubt, fitter.settings).status.name
    return row


def _off(values: Mapping[str, float], truth: Mapping[str, float], order: int) -> list[float]:
    """Errors of scale (relative), rotation (degrees, up to symmetry) and ellipticity."""
    sector = 360 / order
    turned = (values["rotation"] - truth["rotation"] + sector / 2) % sector - sector / 2
    ellipticity = values["ellipticity_a"] - truth["ellipticity_a"]
    return [values["scale"] / truth["scale"] - 1, turned, ellipticity]


def _scatter(rows: Sequence[Row]) -> Row:
    """Median deviation of fits of one crystal, as of a scan whose camera stays."""
    off = np.array([row["off"] for row in rows if "off" in row])
    scale, rotation, ellipticity = np.median(np.abs(off - np.median(off, axis=0)), axis=0)
    return {"kind": "one camera"} | quantities(
        FirstPassSettings,
        scale_scatter=scale,
        rotation_scatter=rotation,
        ellipticity_scatter=ellipticity,
    )


def _matched(fitter: Fitter, frame: Frame, camera: tuple[float, float, float]) -> list[Candidate]:
    """Candidates of a library match from one camera, the worthless ones as well."""
    return Matcher(fitter.attempts.searcher.searchers[0]).match(frame, [camera])[0]


def _worth(found: Sequence[Candidate], shown: Shown, fitter: Fitter) -> Row:
    """What the candidate near the truth explains, of what the best one explains."""
    near = [c for c in found if _right(c, shown, fitter)]
    return quantities(SEARCHING, worth=(1 - near[0].chi2) / (1 - found[0].chi2)) if near else {}


def _least_rival(minima: Minima) -> dict[str, float]:
    """By how many standard deviations the nearest other minimum is less deep."""
    apart = [np.sqrt(max(how_much_deeper(minima.best, rival)[1], 0.0)) for rival in minima.rivals]
    return {"ambiguous": float(min(apart))} if apart else {}


def _false_minimum(fitter: Fitter, shown: Shown, rng: np.random.Generator) -> list[Row]:
    """Where a false minimum is the deepest: by how many standard deviations the right one is less deep."""
    frame = make_frame(shown.image)
    row: Row = {"kind": "few electrons"}
    row |= quantities(ROUTES, few_electrons=electrons_in(frame.image, frame.valid))
    found = _matched(fitter, frame, shown.camera)[: 2 * REFINED]
    minima = fitter.finder.find(frame, [shown.start(rng), *found])
    if _right(minima.best.answer, shown, fitter):
        return [row]
    right = [rival for rival in minima.rivals if _right(rival.answer, shown, fitter)]
    apart = [float(np.sqrt(how_much_deeper(minima.best, rival)[1])) for rival in right]
    return [row, *({"kind": "false minimum"} | quantities(JUDGE, ambiguous=each) for each in apart)]


def _cameras(fitter: Fitter, shown: Shown) -> list[Row]:
    """The least χ² with cameras half a step from the truth, and with cameras at wrong rims."""
    frame, (x, y, scale) = make_frame(shown.image), shown.camera
    searcher = fitter.attempts.searcher.searchers[0]
    parents = {"camera right": [(x + 0.35 * scale, y - 0.35 * scale, 1.025 * scale)]}
    parents["camera off"] = [(x + dx * scale, y + dy * scale, ds * scale) for dx, dy, ds in CAMERA_OFF]
    rows: list[Row] = []
    for kind, cameras in parents.items():
        for camera in cameras:
            tried = np.array([camera])
            if kind == "camera off":
                tried = beside(tried, SEARCH.shift_step, SEARCH.scale_step)
            trials = searcher.trials(frame, scale)
            trials.add(tried)
            rows.append({"kind": kind} | quantities(SEARCHING, misled=float(trials.chi2().min())))
    return rows


def _aligned(aligner: Aligner | None, shown: Shown) -> list[Row]:
    """The doubt of an alignment by the network of another crystal, and whether it was right."""
    if aligner is None:
        return []
    alignment = aligner.align(make_frame(shown.image))
    x, y, scale = shown.camera
    off = np.hypot(alignment.centre_x - x, alignment.centre_y - y) / (scale * SEMI_ANGLE)
    off = max(off, abs(alignment.scale / scale - 1))
    if ALIGNED < off < MISALIGNED:
        return []
    kind = "aligned" if off <= ALIGNED else "misaligned"
    return [{"kind": kind} | quantities(AlignmentSettings, doubtful=alignment.doubt)]


def _edge(fitter: Fitter, shown: Shown, rng: np.random.Generator) -> Row:
    """How far the fitted disc sticks out of the frame."""
    frame = make_frame(shown.image)
    answer = fitter.finder.find(frame, [shown.start(rng)]).best.answer
    camera = np.array([(answer.centre_x, answer.centre_y, answer.scale)])
    outside = float(disc_outside(frame, camera, SEMI_ANGLE)[0])
    return {"kind": shown.kind} | quantities(SEARCHING, disc_outside=outside)


def _bright(shown: Shown) -> Row:
    frame = make_frame(shown.image)
    return quantities(SEARCHING, bright_cut=bright_edge(frame.image, frame.valid))


def _with_network(n: int, quick: bool) -> list[Row]:
    """How sure the network is of right and of wrong seeds, and what its answers leave."""
    library = library_of(NETWORK, quick)
    network = Network.for_library(library, SEMI_ANGLE)
    if network is None:
        return []
    seeder = Seeder(network, library, SEMI_ANGLE)
    fitter = Fitter(library, SEMI_ANGLE, seeded=True, workers=1)
    rows: list[Row] = []

    def seeds_of(shown: Sequence[Shown]) -> list[tuple[Shown, Frame, Seed]]:
        frames = [make_frame(each.image) for each in shown]
        return list(zip(shown, frames, seeder.seed_many(frames), strict=True))

    for shown, frame, seed in seeds_of([*good(NETWORK, 4 * n, 50, quick), *_few(4 * n, quick)]):
        right = "right" if _right(seed.candidates[0], shown, fitter) else "wrong"
        if shown.kind == "good":
            electrons = electrons_in(frame.image, frame.valid)
            row = {"kind": "good"} | quantities(ROUTES, few_electrons=electrons)
            rows += [row, {"kind": f"seed {right}"} | _certain(seed)]
        else:
            rows.append(
                {"kind": f"few electrons, seed {right}"} | quantities(ROUTES, believed=seed.certainty)
            )
    for shown, frame, seed in seeds_of(good(NETWORK, n, 52, quick)):
        rows += _network_left(fitter, shown._replace(kind="network"), frame, seed)
        hints = Hints(scale=WRONG_SCALE * shown.camera[2])
        misled = Seeder(network, library, SEMI_ANGLE, hints=hints).seed(frame)
        if not _right(misled.candidates[0], shown, fitter):
            rows.append({"kind": "misaligned"} | _certain(misled))
    for shown, frame, seed in seeds_of(refused(NETWORK, max(n // 3, 1), 54, quick)):
        rows += _network_left(fitter, shown, frame, seed)
    return rows


def _few(n: int, quick: bool) -> list[Shown]:
    return good(NETWORK, n, 51, quick, few=True)


def _certain(seed: Seed) -> Row:
    return quantities(SEEDING, sure=seed.certainty, other_starts_below=seed.certainty)


def _network_left(fitter: Fitter, shown: Shown, frame: Frame, seed: Seed) -> list[Row]:
    """What the network's own answer leaves of the frame."""
    try:
        left = network_result(fitter.refiner, frame, seed, Clock()).residual_fraction
    except InputError:  # the disc that it names lies outside the frame
        return []
    return [{"kind": shown.kind} | quantities(JUDGE, poor_network=left)]


def _right(answer: Candidate, shown: Shown, fitter: Fitter) -> bool:
    """Whether an answer is within the window about the truth."""
    assert shown.truth is not None
    tilt = shown.truth["tilt_x"], shown.truth["tilt_y"]
    near = tilt_distance(answer.tilt, tilt, fitter.reference.rotation_order) <= WINDOW[1]
    return near and abs(answer.thickness - shown.truth["thickness"]) <= WINDOW[0]
