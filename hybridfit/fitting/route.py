"""The routes by which a fit may reach its answer."""

from __future__ import annotations

from enum import StrEnum


class Route(StrEnum):
    """How an answer was reached; the value is what JSON, maps and pictures say.

    A route that needs an explanation has one in `explanation`.
    """

    network = "network"
    wider_window = "wider window"
    library_match = "library match"
    full_search = "full search"
    neighbour = "neighbour"  # in a map
    seed_given = "seed given"
    few_electrons = "few electrons"

    @property
    def explanation(self) -> str:
        """A sentence for the user; empty where the route is the usual one."""
        return _EXPLANATIONS.get(self, "")


_EXPLANATIONS = {
    Route.wider_window: "The network's seed was off; a wider window was searched.",
    Route.full_search: "The seed did not hold; the whole library was searched.",
    Route.library_match: "A match of the library found thickness and tilt.",
    Route.few_electrons: "The frame has few electrons; all minima of the library were weighed.",
}
