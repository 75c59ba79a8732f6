"""Options of a function, given by name, as the fields of a frozen settings class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from hybridfit.errors import InputError

S = TypeVar("S")


def settings_from(
    kind: type[S], settings: S | None, options: Mapping[str, Any], function: str, also: Iterable[str] = ()
) -> S:
    """Settings of a kind, with what a caller gave by name in place of the defaults.

    Parameters
    ----------
    kind : a frozen dataclass
    settings : instance of kind, optional
        Options replace its fields; without it they replace the defaults of the class.
    options : mapping of a field's name to its value
    function : str
        Name of the function that was called; the messages say it.
    also : names of options that the function takes besides; the messages list them

    Raises
    ------
    TypeError
        An option is no field of the class, or one without a default is missing.
    InputError
        The settings are of another class.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    unknown = [name for name in options if name not in fields]
    if unknown:
        raise TypeError(
            f"{function}() has no option {unknown[0]!r}; the options are {', '.join((*fields, *also))}"
        )
    if settings is not None:
        if not isinstance(settings, kind):
            raise InputError(
                f"settings = {type(settings).__name__} are not for {function}; give a {kind.__name__}"
            )
        return dataclasses.replace(settings, **options)  # type: ignore[type-var]
    nothing = dataclasses.MISSING
    needed = [n for n, f in fields.items() if f.default is nothing and f.default_factory is nothing]
    missing = [name for name in needed if name not in options]
    if missing:
        raise TypeError(f"{function}() needs {' and '.join(missing)}; give each by its name")
    return kind(**options)
