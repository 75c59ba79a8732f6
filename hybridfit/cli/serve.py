"""`hybridfit serve`: the page and the REST interface on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from hybridfit.cli.options import DEFAULT_LIBRARY, finite
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hybridfit.serve.settings import ServeSettings

NEEDED = ("fastapi", "uvicorn", "python_multipart")
LEAST_TOKEN = 8  # characters


def serve(
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 for any that is free.")] = 8420,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; any but this machine needs --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="HYBRIDFIT_TOKEN",
            help="What every request must show.",
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A folder with scans; may be given several times."),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where fits and maps are kept; the user's data folder else."),
    ] = None,
    library: Annotated[
        str, typer.Option(metavar="NAME", help="The library that the server warms up with.")
    ] = DEFAULT_LIBRARY,
    semi_angle: Annotated[
        float, typer.Option(parser=finite, metavar="MRAD", help="The semi-angle that it warms up with.")
    ] = 13.6,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes of a map; all cores else.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
) -> None:
    """Serve a page, and a REST interface, to fit frames and map scans in a browser.

    Fits, notes and maps are kept in the session, and are there again the next time. End it by Ctrl-C: what is
    not finished then goes on at the next start.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the Python package {missing[0]} is not installed; install the extra: "
            "pip install -c constraints.txt -e '.[serve]'"
        )
    from hybridfit.serve.settings import LOCAL, ServeSettings

    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise InputError(
            f"the token has {len(token)} characters; give {LEAST_TOKEN} plain ones or more, hard to guess"
        )
    if token is not None and set(token) & set(' ";,\\'):
        raise InputError('the token has spaces or one of " ; , \\ in it; give letters and digits')
    if host not in LOCAL and token is None:
        raise InputError(
            f"--host {host} lets other machines in; give a --token that they have to show, or leave out "
            "--host and use an SSH tunnel"
        )
    _check_warm(library, semi_angle)
    from hybridfit.session import default_folder

    settings = ServeSettings(
        session=(session or default_folder()).absolute(),
        folders=_named(folder or []),
        host=host,
        port=port,
        token=token,
        library=library,
        semi_angle=semi_angle,
        workers=workers,
    )
    listening = _listen(host, port)
    settings = _at(settings, listening.getsockname()[1])
    from hybridfit.serve.app import make_app

    try:
        app = make_app(settings)
    except BaseException:
        listening.close()
        raise
    _run(app, settings, listening, browser=not no_browser)


def _check_warm(library: str, semi_angle: float) -> None:
    """Raise an InputError for what no worker can warm up with."""
    if library != DEFAULT_LIBRARY:
        from hybridfit.library.recipe import shipped_names

        if library not in shipped_names():
            raise InputError(f"unknown library {library!r}; shipped ones are {', '.join(shipped_names())}")
    if not 0 < semi_angle <= 100:
        raise InputError(f"semi-angle {semi_angle:g} mrad cannot be right; give it in mrad, such as 13.6")


def _named(folders: list[Path]) -> dict[str, Path]:
    """Folders by names that differ."""
    out: dict[str, Path] = {}
    for folder in folders:
        path = folder.absolute()
        if not path.is_dir():
            raise InputError(f"--folder {folder} is no folder; give one that is there")
        name, number = path.name or "root", 2
        while name in out:
            name, number = f"{path.name}-{number}", number + 1
        out[name] = path
    return out


def _at(settings: ServeSettings, port: int) -> ServeSettings:
    from dataclasses import replace

    return replace(settings, port=port)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port now, so that what is wrong is said before anything starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} of {host} cannot be used ({error.strerror}); another server may run: open its "
            "page, or give another --port"
        ) from None
    except OverflowError:
        listening.close()
        raise InputError(f"port {port} cannot be used; give one from 1024 to 65535") from None
    return listening


def _run(app: FastAPI, settings: ServeSettings, listening: socket.socket, *, browser: bool) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        lifespan="on",
        timeout_keep_alive=20,
        timeout_graceful_shutdown=2,
        ws="none",
        backlog=512,
    )
    shown = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else settings.host
    address = f"http://{shown}:{settings.port}/"
    whole = address if settings.token is None else f"{address}?token={quote(settings.token)}"
    typer.echo(f"hybridfit is at {whole}  (Ctrl-C ends it)")
    typer.echo(f"Fits and maps are kept in {settings.session}")
    server = uvicorn.Server(config)
    if browser:
        threading.Thread(target=_open, args=(server, whole), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _open(server: object, address: str) -> None:
    """Open the page once it is served."""
    for _ in range(100):
        if getattr(server, "started", False):
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(address)
            return
        time.sleep(0.1)
