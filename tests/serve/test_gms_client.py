"""The client for DigitalMicrograph and a real server: what one sends the other takes."""

from __future__ import annotations

import importlib.util
import io
import urllib.error
from pathlib import Path

import numpy as np

from hybridfit.clients import gms

STAND_IN = Path(__file__).parents[1] / "clients" / "stand_in.py"
spec = importlib.util.spec_from_file_location("stand_in", STAND_IN)
assert spec is not None and spec.loader is not None
stand_in = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stand_in)


class Opener:
    """What urllib gives the client, of an application in this process."""

    def __init__(self, client):
        self._client = client

    def open(self, request, timeout):
        answer = self._client.request(
            request.get_method(),
            request.full_url.removeprefix("http://localhost"),
            content=request.data,
            headers=dict(request.header_items()),
        )
        if answer.status_code >= 400:
            raise urllib.error.HTTPError(
                request.full_url, answer.status_code, "", {}, io.BytesIO(answer.content)
            )
        return io.BytesIO(answer.content)


def test_an_image_becomes_a_fit_of_the_session(served, frame, monkeypatch, capsys):
    monkeypatch.setattr(gms.urllib.request, "build_opener", lambda *_: Opener(served.client))
    known = {
        "hybridfit:server": "http://localhost",
        "hybridfit:library": "small",
        "hybridfit:semi-angle (mrad)": 9.0,
    }
    front = stand_in.pattern(frame.astype(np.int32), unit="mrad", scale=1 / 3.2)
    dm = stand_in.DigitalMicrograph(front, remembered=known)
    line = gms.main(dm)
    assert dm._dialogs == [] and line.startswith("Ceta 1: ") and "thickness 30" in line, (line, dm._dialogs)
    (shown,) = dm._created
    assert shown.GetTagGroup().GetTagAsFloat("hybridfit:thickness_nm")[1] - 30 < 0.3
    newest = served.client.get("/api/fits").json()[0]
    assert newest["file"] == "Ceta 1" and newest["origin"] == "api" and newest["semi_angle"] == 9.0

    blank = stand_in.DigitalMicrograph(stand_in.pattern(np.zeros((64, 64), np.float32)), remembered=known)
    assert gms.main(blank) is None and "zero in every usable pixel" in blank._dialogs[0]
    missing = stand_in.DigitalMicrograph(front, remembered=known | {"hybridfit:library": "nosuch"})
    assert gms.main(missing) is None and "nosuch" in missing._dialogs[0]
