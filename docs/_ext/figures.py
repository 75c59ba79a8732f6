"""Figures of examples that hybridfit drew itself: they are objects, which pyplot does not know."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

DPI = 130
_taken: set[int] = set()


class Scraper:
    """Collects the figures that a block of an example has bound to names."""

    def __repr__(self) -> str:
        return "hybridfit figures"

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
        """The figures of a block, saved, as reStructuredText."""
        names = []
        for value in list(block_vars["example_globals"].values()):
            if not isinstance(value, Figure) or id(value) in _taken:
                continue
            _taken.add(id(value))
            if value.canvas.manager is None:  # the others are pyplot's: its own scraper comes next
                path = next(block_vars["image_path_iterator"])
                value.savefig(path, dpi=DPI)
                names.append(path)
        return figure_rst(names, gallery_conf["src_dir"]) if names else ""


def _get_sg_image_scraper() -> Scraper:
    """Called by Sphinx-Gallery."""
    return Scraper()
