"""The libraries that there are, built or not: shipped recipes, and those that were made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybridfit.errors import HybridfitError


def listed(own: Path) -> list[dict[str, Any]]:
    """Every library, as the REST interface lists it, with `path` and `file` for the server alone.

    Parameters
    ----------
    own : folder of the recipes that were made here, each in a folder of its own
    """
    from hybridfit.library.recipe import shipped_names

    found = [about(name, None) for name in shipped_names()]
    for path in sorted(own.glob("*/*.toml")):
        try:
            found.append(about(path.stem, path))
        except HybridfitError:  # a folder that was tampered with: the others are there
            continue
    return found


def about(name: str, recipe_file: Path | None) -> dict[str, Any]:
    """One library; recipe_file is None for a shipped one."""
    from hybridfit.library.library import Library
    from hybridfit.library.recipe import Recipe, description

    recipe = Recipe.shipped(name) if recipe_file is None else Recipe.read(recipe_file)
    source = name if recipe_file is None else str(recipe_file)
    file = Library.cached_path(source, recipe)
    title = description(name) if recipe_file is None else f"made here from {recipe.cif.name}"
    thickness = recipe.thickness
    return {
        "name": name,
        "title": title,
        "crystal": recipe.cif.stem,
        "zone": list(recipe.zone),
        "energy_kv": recipe.energy_kv,
        "has_network": _network(name, recipe_file),
        "semi_angles": [0.0, recipe.semi_angle_max],
        "thickness_nm": [thickness.start, thickness.stop],
        "structure": list(recipe.parameters),
        "path": source,
        "file": str(file),
    }


def _network(name: str, recipe_file: Path | None) -> bool:
    """Whether a network of that name is there."""
    import hybridfit

    shipped = Path(hybridfit.__file__).parent / "network" / "weights"
    place = (
        shipped / f"{name}.safetensors" if recipe_file is None else recipe_file.with_suffix(".safetensors")
    )
    return place.is_file()
