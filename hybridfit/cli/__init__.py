"""The command line. No other package prints.

Exit codes: 0, every pattern has an answer, with its status; 1, a frame or a fit failed and has no answer;
2, bad input: one line on stderr, and nothing is written; 130, interrupted.

Each command is a module, registered here. The commands import NumPy, torch and other large packages inside
their functions, so that `hybridfit --help` is quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hybridfit.cli import (
    benchmark,
    console,
    demo,
    export,
    fit,
    identify,
    library,
    map,
    new,
    serve,
    show,
    simulate,
    train,
    train_alignment,
    watch,
)
from hybridfit.errors import HybridfitError

USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Specimen thickness and tilt, with error bars, from PACBED patterns.",
    epilog="Exit codes: 0 every pattern has an answer; 1 some have none; 2 bad input; 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(fit.fit)
app.command()(identify.identify)
app.command("map")(map.map_command)
app.command()(show.show)
app.command()(export.export)
app.command()(serve.serve)
app.command()(watch.watch)
app.command()(demo.demo)
app.command()(new.new)
app.command()(train.train)
app.command("train-alignment")(train_alignment.train_alignment)
app.command()(benchmark.benchmark)
app.add_typer(library.app, name="library")
app.add_typer(simulate.app, name="simulate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show ± or χ shows ?
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    console.kept = ""
    command = typer.main.get_command(app)
    given = None if arguments is None else list(arguments)
    console.arguments = sys.argv[1:] if given is None else given
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:  # warnings of dependencies do not help a microscopist
                warnings.simplefilter("ignore")
            code = command.main(args=given, prog_name="hybridfit", standalone_mode=False)
    except HybridfitError as error:
        return _complain(str(error))
    except _ClickError as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hybridfit"
        return _complain(f"{error.format_message().rstrip('.')}; see {path} --help")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # … | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(str(error))
    except MemoryError as error:
        return _complain(f"out of memory ({error}); close other programs, or take a smaller library")
    if code == INTERRUPTED:
        print(f"hybridfit: interrupted; {console.kept or 'nothing was written'}", file=sys.stderr)
    return int(code or 0)


# typer carries click's exceptions, or a copy of them, under different names in different versions
_ClickError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _complain(message: str) -> int:
    print(f"hybridfit: {' '.join(message.split())}", file=sys.stderr)
    return USAGE


def _print_version(wanted: bool) -> None:
    if wanted:
        import hybridfit

        typer.echo(f"hybridfit {hybridfit.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
