"""The client for DigitalMicrograph, against a stand-in of its module and a server that answers by hand."""

from __future__ import annotations

import ast
import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from stand_in import DigitalMicrograph, Image, TagGroup, pattern

from hybridfit.clients import gms

SEMI_ANGLE = "EELS:Experimental Conditions:Convergence semi-angle (mrad)"


class Answers(BaseHTTPRequestHandler):
    """What `hybridfit serve` answers, as far as the client asks."""

    def log_message(self, *_):
        pass

    def _say(self, found, code=200):
        text = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _may(self):
        told = self.server.told
        if told.get("token") and self.headers.get("Authorization") != f"Bearer {told['token']}":
            self._say({"error": "wrong token"}, 401)
            return False
        return True

    def do_GET(self):
        told = self.server.told
        if "raw" in told:
            return self._say(told["raw"])
        if not self._may():
            return None
        path = self.path
        if path == "/api/libraries":
            return self._say(told["libraries"])
        if path.startswith("/api/jobs/"):
            told["polls"] = told.get("polls", 0) + 1
            state = "running" if told["polls"] < 2 else told.get("state", "done")
            return self._say({"id": "j", "state": state, "fits": ["f"], "error": told.get("error")})
        if path == "/api/fits/f":
            return self._say({"id": "f", "result": told["result"]})
        if path == "/api/fits/f/images":
            image = np.ones((20, 24), "<f4")
            image[0, 0] = np.nan
            text = base64.b64encode(image.tobytes()).decode()
            return self._say(
                {"shape": [20, 24], "experiment": text, "fit": text, "extent": [0.0, 48.0, 40.0, 0.0]}
            )
        return self._say({"error": f"nothing at {path}"}, 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._may():
            return
        told = self.server.told
        told["query"] = {k: v[0] for k, v in parse_qs(urlparse(self.path).query).items()}
        told["body"], told["headers"] = body, dict(self.headers)
        if "refused" in told:
            self._say({"error": told["refused"]}, 409)
        else:
            self._say({"job": "j", "frames": None}, 202)


@pytest.fixture
def server(made_result):
    """A server, and what it is told to answer."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.told = {
        "libraries": [{"name": "SrTiO3_001_200kV", "built": True, "energy_kv": 200.0}],
        "result": json.loads(json.dumps(made_result.to_json())),
    }
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def address(server):
    return f"http://127.0.0.1:{server.server_port}"


def test_an_image_is_sent_and_its_fit_shown(server, address, capsys):
    tags = TagGroup(**{SEMI_ANGLE: 13.5, "Microscope Info:Voltage": 200000.0})
    front = pattern(tags=tags, unit="mrad", scale=0.2)
    dm = DigitalMicrograph(front, answers=[address, "SrTiO3_001_200kV"])
    line = gms.main(dm)
    assert line.startswith("Ceta 1: converged, thickness 32.61 +/- 0.05 nm, tilt x 0.9 +/- 0.01 mrad, ")
    assert line.endswith("tilt y -0.4 +/- 0.012 mrad")
    told = server.told
    assert (
        told["query"]["shape"] == "64,64"
        and told["query"]["dtype"] == "<f4"
        and told["query"]["name"] == "Ceta 1"
    )
    assert json.loads(told["query"]["options"]) == {
        "library": "SrTiO3_001_200kV", "semi_angle": 13.5, "origin": "api",
    }  # fmt: skip
    np.testing.assert_array_equal(np.frombuffer(told["body"], "<f4").reshape(64, 64), front.GetNumArray())
    assert told["headers"]["X-Hybridfit"] == "1" and "Authorization" not in told["headers"]
    out = capsys.readouterr().out
    assert (
        "The fit converged." in out
        and "the image is calibrated with 0.2 mrad/px, the fit found 0.4167" in out
    )
    (shown,) = dm._created
    assert shown._shown and shown.GetName() == "hybridfit of Ceta 1" and shown.GetNumArray().shape == (20, 80)
    assert np.isfinite(shown.GetNumArray()).all()
    assert shown.GetDimensionCalibration(0, 0) == (0.0, pytest.approx(2 / 2.4), "mrad")
    assert [c._told[2] for c in shown._display._children][:2] == ["experiment", "fit"]
    assert shown.GetTagGroup().GetTagAsFloat("hybridfit:thickness_nm") == (True, 32.61)
    assert dm._dialogs == []


def test_what_is_missing_is_asked_once(server, address):
    dm = DigitalMicrograph(pattern(), answers=[address, "SrTiO3_001_200kV", 12.0])
    assert gms.main(dm) and len(dm._asked) == 3
    server.told["polls"] = 0
    assert gms.main(dm) and len(dm._asked) == 3
    assert json.loads(server.told["query"]["options"])["semi_angle"] == 12.0


def test_a_token_is_asked_for_and_remembered(server, address):
    server.told["token"] = "secret-token"
    known = {
        "hybridfit:server": address,
        "hybridfit:library": "SrTiO3_001_200kV",
        "hybridfit:semi-angle (mrad)": 12.0,
    }
    dm = DigitalMicrograph(pattern(), answers=["secret-token"], remembered=known)
    assert gms.main(dm) and len(dm._asked) == 1
    server.told["polls"] = 0
    assert gms.main(dm) and len(dm._asked) == 1
    wrong = DigitalMicrograph(pattern(), answers=["other"], remembered=known)
    assert gms.main(wrong) is None and "does not take this token" in wrong._dialogs[0]


@pytest.mark.parametrize(
    ("front", "words"),
    [
        (None, "There is no image"),
        (Image(np.zeros(100, np.float32), "spectrum"), "spectrum is a line plot"),
        (Image(np.zeros((3, 64, 64), np.float32), "stack"), "stack has 3 dimensions"),
        (Image(np.zeros((64, 64), np.complex64), "fft"), "fft is complex"),
        (Image(np.zeros((64, 64), np.uint32), "photo", kind=23), "photo is an RGB picture"),
    ],
)
def test_what_is_no_pattern_is_said(front, words):
    dm = DigitalMicrograph(front)
    assert gms.main(dm) is None and words in dm._dialogs[0] and dm._asked == []


def test_no_server_and_other_servers_are_said(server, address):
    dm = DigitalMicrograph(pattern(), answers=["http://127.0.0.1:9"])
    assert gms.main(dm) is None and "Start it with: hybridfit serve" in dm._dialogs[0]
    dm._answers = [address]  # which is asked for again
    assert gms.main(dm) and dm._asked.count("Address of the hybridfit server") == 2
    server.told["raw"] = b"<html>another program</html>"
    dm = DigitalMicrograph(pattern(), answers=[address])
    assert gms.main(dm) is None and "no hybridfit server" in dm._dialogs[0]
    dm = DigitalMicrograph(pattern(), answers=["no address at all"])
    assert gms.main(dm) is None and "There is no hybridfit server" in dm._dialogs[0]


def test_errors_of_the_server_are_shown(server, address):
    server.told["refused"] = "the library is not built; build it first"
    dm = DigitalMicrograph(pattern(), answers=[address])
    assert gms.main(dm) is None and dm._dialogs == ["the library is not built; build it first"]
    del server.told["refused"]
    server.told |= {"state": "failed", "error": "Ceta 1 is zero"}
    dm = DigitalMicrograph(pattern(), answers=[address])
    assert gms.main(dm) is None and dm._dialogs == ["The fit failed: Ceta 1 is zero"]


def test_another_voltage_and_cancelled_questions_end_it(server, address):
    front = pattern(tags=TagGroup(**{"Microscope Info:Voltage": 300000.0}))
    dm = DigitalMicrograph(front, answers=[address, "SrTiO3_001_200kV"], goes_on=False)
    assert gms.main(dm) is None and "300 kV" in dm._dialogs[0] and "Nothing was fitted" in dm._dialogs[1]
    dm = DigitalMicrograph(pattern(), answers=[None])
    assert gms.main(dm) is None and "cancelled" in dm._dialogs[0]
    assert not dm.GetPersistentTagGroup().GetTagAsString("hybridfit:cancelled")[1]


def test_calibrations_in_reciprocal_lengths():
    image = pattern(unit="1/nm", scale=0.1)
    assert gms.mrad_per_pixel(image, 200.0) == pytest.approx(0.2508, rel=1e-3)
    assert gms.mrad_per_pixel(image, None) is None
    assert gms.mrad_per_pixel(pattern(unit=b"\xb5m", scale=1.0), 200.0) is None


def test_it_is_a_file_of_its_own_for_python_3_7():
    source = Path(gms.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported <= {"numpy", "DigitalMicrograph"} | sys.stdlib_module_names
    later = {"removeprefix", "removesuffix", "walk_packages", "cache", "prod", "dist"}
    assert not {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} & later
