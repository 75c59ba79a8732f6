"""Who may ask, and for what: hosts, origins, tokens, places, sizes, and headers."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
from serving import Served, started, streamed

from hybridfit.errors import InputError
from hybridfit.serve.names import below, file_name, shown_name
from hybridfit.serve.settings import LIMITS, ServeSettings

SECRET = "correct-horse-battery"
NO_FILE = b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nno file\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200),
        ("localhost:8420", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8420", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.nip.io", 421),
        ("localhost:80@evil.example", 421),
        ("10.0.0.7", 421),
        ("", 421),
    ],
)
def test_only_this_host_is_answered(quiet: Served, host: str, code: int) -> None:
    answer = quiet.client.get("/api/about", headers={"host": host})
    assert answer.status_code == code
    assert code == 200 or "is not this server" in answer.json()["error"]


def test_what_changes_something_needs_a_header_that_no_form_sends(quiet: Served) -> None:
    for method, path in (("POST", "/api/fit"), ("DELETE", "/api/fits/x"), ("PATCH", "/api/fits/x")):
        answer = quiet.client.request(method, path, headers={"X-Hybridfit": ""})
        assert answer.status_code == 403 and "X-Hybridfit: 1" in answer.json()["error"]


@pytest.mark.parametrize(
    ("origin", "refused"),
    [
        ("http://localhost", False),
        ("http://evil.example", True),
        ("http://localhost:9999", True),
        ("null", True),
        ("file://", True),
    ],
)
def test_requests_of_other_sites_are_refused(quiet: Served, origin: str, refused: bool) -> None:
    answer = quiet.client.post("/api/jobs/none/stop", headers={"origin": origin})
    assert answer.status_code == (403 if refused else 404)
    answer = quiet.client.get("/api/fits", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_a_token_is_asked_of_every_request_and_kept_in_a_cookie(tmp_path: Path) -> None:
    served = started(ServeSettings(session=tmp_path, host="0.0.0.0", token=SECRET, port=8420))
    try:
        client = served.client
        for path in ("/", "/api/about", "/api/openapi.json", "/page/index.html", "/?token=wrong", "/none"):
            assert client.get(path).status_code == 401, path
        assert client.get("/api/about", headers={"authorization": f"Bearer {SECRET}"}).status_code == 200
        assert client.get("/api/about", headers={"authorization": f"Bearer {SECRET}x"}).status_code == 401
        assert (
            client.get(f"/api/about?token={SECRET}").status_code == 401
        )  # logs and histories keep addresses
        answer = client.get(f"/?token={SECRET}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "hybridfit-8420" in cookie
        assert client.get("/").status_code == 200
        assert client.get("/api/about", headers={"host": "192.168.1.7:8420"}).status_code == 200
        assert client.get("/api/about", headers={"host": "evil.example"}).status_code == 421
    finally:
        served.state.close()


def test_answers_forbid_browsers_to_run_or_frame_anything(quiet: Served) -> None:
    for path in ("/", "/api/about", "/none", "/page/index.html"):
        headers = quiet.client.get(path).headers
        policy = headers["content-security-policy"]
        assert (
            "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/page//etc/passwd",
        "/page/..\\app.py",
        "/page/index.html%00.js",
        "/page/" + "a" * 5000,
    ],
)
def test_the_page_has_no_way_out_of_its_folder(quiet: Served, path: str) -> None:
    answer = quiet.client.get(path)
    assert answer.status_code == 404 and "error" in answer.json()


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_no_path_and_no_link_leads_out_of_a_folder(quiet: Served, tmp_path: Path) -> None:
    scans, outside = tmp_path / "scans", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.nc").touch()
    (scans / "inner").mkdir()
    (scans / "inner" / "scan.nc").touch()
    (scans / ".hidden.nc").touch()
    (scans / "out").symlink_to(outside)
    (scans / "file.nc").symlink_to(outside / "secret.nc")
    (scans / "within.nc").symlink_to(scans / "inner" / "scan.nc")
    found = quiet.client.get("/api/files", params={"folder": "scans"}).json()
    assert found["folders"] == ["inner"] and [file["name"] for file in found["files"]] == ["within.nc"]
    for path in ("..", "../outside", "out", "inner/../../outside", "/etc", "\0", "inner/.."):
        answer = quiet.client.get("/api/files", params={"folder": "scans", "path": path})
        assert answer.status_code == 400, path
    for path in ("file.nc", "out/secret.nc", "../outside/secret.nc", "/etc/passwd"):
        body = {"folder": "scans", "path": path, "library": "small", "semi_angle": 9.0}
        answer = quiet.client.post("/api/maps", json=body)
        assert answer.status_code == 400 and "no place below" in answer.json()["error"]
    assert quiet.client.get("/api/files", params={"folder": "other"}).status_code == 400
    with pytest.raises(InputError):
        below(scans, "out/secret.nc")


def test_uploads_are_cut_off_while_they_come_not_afterwards(tmp_path: Path) -> None:
    limits = replace(LIMITS, upload_bytes=200_000, json_bytes=1000)
    served = started(ServeSettings(session=tmp_path, limits=limits))
    try:
        kind = {"content-type": "application/octet-stream"}
        endless = repeat(bytes(50_000))
        code, answer, taken = streamed(served, "POST", "/api/fit?name=a.npy", kind, endless)
        assert code == 413 and taken == 5 and "is too large" in answer["error"]
        start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.npy"\r\n\r\n'
        kind = {"content-type": "multipart/form-data; boundary=x"}
        assert streamed(served, "POST", "/api/fit", kind, chain([start], endless))[::2] == (413, 5)
        kind = {"content-type": "application/json"}
        code, answer, taken = streamed(served, "PATCH", "/api/fits/x", kind, repeat(b"[" * 400))
        assert (code, taken) == (413, 3)
        large = {"file": ("a.npy", bytes(300_000))}  # which says how long it is
        assert served.client.post("/api/fit", files=large).status_code == 413
        assert list((tmp_path / "uploads").iterdir()) == []  # and nothing of them is left
    finally:
        served.state.close()


def test_an_upload_that_stops_coming_is_given_up(tmp_path: Path) -> None:
    served = started(ServeSettings(session=tmp_path, limits=replace(LIMITS, silence=0.1)))
    kind = {"content-type": "application/octet-stream"}
    try:
        code, answer, _ = streamed(served, "POST", "/api/fit", kind, iter([b"x" * 100]), ends=False)
        assert code == 408 and "nothing came for 0.1 s" in answer["error"]
        assert list((tmp_path / "uploads").iterdir()) == []
    finally:
        served.state.close()


@pytest.mark.parametrize(
    ("given", "shown", "kept"),
    [
        ("frame.tif", "frame.tif", "frame.tif"),
        ("../../etc/passwd", "passwd", "passwd"),
        ("C:\\data\\wedge 1.dm4", "wedge 1.dm4", "wedge_1.dm4"),
        ("<script>alert(1)</script>.png", "script>.png", "script.png"),
        ("a\x00\x1b[31m\u202e.tif", "a  [31m .tif", "a_31m.tif"),
        ("", "frame", "frame"),
        ("..", "frame", "frame"),
        ("CON.tif", "CON.tif", "CON_.tif"),
        ("x" * 500 + ".npy", "x" * 116 + ".npy", "x" * 60 + ".npy"),
        ("scan_x64_y64.raw", "scan_x64_y64.raw", "scan_x64_y64.raw"),
    ],
)
def test_names_of_uploads_are_shown_plainly_and_kept_harmlessly(given: str, shown: str, kept: str) -> None:
    assert (shown_name(given), file_name(given)) == (shown, kept)


@pytest.mark.parametrize(
    "options",
    [
        '{"library": "/etc/passwd.nc"}',
        '{"library": "../small"}',
        '{"expressions": {"blur": "__import__(1)"}}',
        '{"network": "/tmp/a"}',
        '{"semi_angle": NaN}',
        '{"semi_angle": 1e400}',
        '{"semi_angle": -3}',
        '{"fix": {"__class__": 1}}',
        '{"fix": [1]}',
        '{"dtype": "O, O"}',
        '{"shape": [1, 2, 3, 4, 5]}',
        "[" * 90_000,
        '{"a": ' * 10_000,
        "nonsense",
        '"text"',
        "\x00",
    ],
)
def test_options_that_cannot_be_are_said_in_one_line(quiet: Served, options: str) -> None:
    answer = quiet.client.post("/api/fit", files={"file": ("a.npy", b"1")}, data={"options": options})
    assert answer.status_code in (400, 413)
    assert "\n" not in answer.json()["error"] and len(answer.json()["error"]) < 500
    assert quiet.client.get("/api/jobs").json() == []
    assert list(quiet.state.settings.uploads.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        (b"rubbish" * 100, "multipart/form-data; boundary=x"),
        (b"rubbish", "multipart/form-data"),
        (NO_FILE, "multipart/form-data; boundary=x"),
        (b"{}", "application/json"),
        (b"", "application/octet-stream"),
        (b"", ""),
    ],
)  # fmt: skip
def test_forms_that_are_none_are_said_in_one_line(quiet: Served, body: bytes, kind: str) -> None:
    answer = quiet.client.post("/api/fit", content=body, headers={"content-type": kind})
    assert answer.status_code == 400 and "\n" not in answer.json()["error"]
    assert list(quiet.state.settings.uploads.iterdir()) == []


def test_a_note_with_a_script_is_text_and_no_control_characters(quiet: Served) -> None:
    session = quiet.state.session
    key = session.add({"file": "a", "status": "failed", "message": ""}, origin="page")
    answer = quiet.client.patch(f"/api/fits/{key}", json={"note": "<script>1</script>\x07\nline"})
    assert answer.json()["note"] == "<script>1</script> \nline"
    assert answer.headers["content-type"] == "application/json"
    table = quiet.client.get("/api/fits.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
