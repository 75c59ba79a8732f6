"""Errors a user can cause. Each message names the value, what is allowed, and the way out."""

from __future__ import annotations


class HybridfitError(Exception):
    """Base of the errors raised on purpose; the command line prints them as one line, exit code 2."""


class InputError(HybridfitError, ValueError):
    """A frame, file or option that cannot be used as given."""


class RecipeError(HybridfitError, ValueError):
    """A library recipe or crystal that cannot be built."""


class LibraryError(HybridfitError, ValueError):
    """A library that is missing, damaged, of another version, or does not cover the request."""
