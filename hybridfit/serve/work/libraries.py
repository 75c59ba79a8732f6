"""Libraries: shipped ones are built, new ones are made from a CIF."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.serve.work.listing import about
from hybridfit.serve.work.telling import Asked, Say, Throttle


def build(payload: dict[str, Any], say: Say, asked: Asked) -> dict[str, Any]:
    """Build a library whose recipe is there."""
    from hybridfit.library.library import Library

    progress = Throttle(say)
    progress(0.0, "building")
    library = Library.open(payload["path"], progress=lambda fraction: progress(fraction, "building"))
    library.close()
    own = payload["path"].endswith(".toml")
    return {"library": about(payload["name"], Path(payload["path"]) if own else None)}


def new(payload: dict[str, Any], say: Say, asked: Asked) -> dict[str, Any]:
    """Design a recipe by convergence, keep it, and build the library; without a network."""
    from hybridfit.io import atomic_path
    from hybridfit.new.design import Structure, design
    from hybridfit.physics.projection import project

    progress = Throttle(say)
    progress(0.0, "reading the CIF")
    cif, name = Path(payload["cif"]), payload["name"]
    u, v, w = payload["zone"]
    try:
        structure = Structure(cif)
        project(structure.crystal(), (u, v, w))
        chosen = design(
            structure,
            (u, v, w),
            energy_kv=payload["energy_kv"],
            semi_angle=payload["semi_angle"],
            tilt_max=payload["tilt"],
            thickness=(payload["thickness"][0], payload["thickness"][1]),
            progress=lambda fraction: progress(0.5 * fraction, "convergence"),
        )
    except ValueError as error:
        raise InputError(str(error).replace(f"{cif.parent}/", "")) from None
    folder = asked.libraries / name
    folder.mkdir(parents=True, exist_ok=True)
    recipe, copy = folder / f"{name}.toml", folder / cif.name
    with atomic_path(copy) as temporary:
        shutil.copyfile(cif, temporary)
    with atomic_path(recipe) as temporary:
        temporary.write_text(chosen.toml(), encoding="utf-8")
    from hybridfit.library.library import Library

    library = Library.open(recipe, progress=lambda fraction: progress(0.5 + 0.5 * fraction, "building"))
    library.close()
    return {"library": about(name, recipe), "warnings": chosen.warnings()}
