"""The interface as it describes itself."""

from __future__ import annotations

from serving import Served

from hybridfit.fitting.settings import METHODS
from hybridfit.model import AVERAGING, PARAMETERS
from hybridfit.pattern.background import NAMES
from hybridfit.serve import models
from hybridfit.serve.settings import Limits
from hybridfit.thresholds import thresholds_of

ROUTES = {
    "/api/about": {"get"},
    "/api/libraries": {"get", "post"},
    "/api/fit": {"post"},
    "/api/preview": {"post"},
    "/api/jobs": {"get"},
    "/api/jobs/{key}": {"get"},
    "/api/jobs/{key}/events": {"get"},
    "/api/jobs/{key}/stop": {"post"},
    "/api/jobs/{key}/resume": {"post"},
    "/api/fits": {"get"},
    "/api/fits.csv": {"get"},
    "/api/fits/{key}": {"get", "patch", "delete"},
    "/api/fits/{key}/images": {"get"},
    "/api/fits/{key}/picture.{kind}": {"get"},
    "/api/fits/{key}/result.json": {"get"},
    "/api/fits/{key}/row.csv": {"get"},
    "/api/fits/{key}/report.html": {"get"},
    "/api/files": {"get"},
    "/api/maps": {"get", "post"},
    "/api/maps/{key}": {"get"},
    "/api/maps/{key}/values": {"get"},
    "/api/maps/{key}/events": {"get"},
    "/api/maps/{key}/fit": {"post"},
    "/api/maps/{key}/map.nc": {"get"},
    "/api/maps/{key}/map.{kind}": {"get"},
    "/api/maps/{key}/report.html": {"get"},
}


def test_every_route_is_described_with_what_it_answers(quiet: Served) -> None:
    described = quiet.client.get("/api/openapi.json").json()
    found = {path: set(methods) for path, methods in described["paths"].items()}
    assert {path: found.get(path) for path in ROUTES} == ROUTES
    for path, methods in described["paths"].items():
        for method, about in methods.items():
            good = next(answer for code, answer in about["responses"].items() if code.startswith("2"))
            assert about.get("summary") and about.get("description"), path
            assert good.get("content") or method == "delete", path
            assert about["responses"]["400"]["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/Problem"
            }


def test_every_upload_may_be_a_bare_array(quiet: Served) -> None:
    paths = quiet.client.get("/api/openapi.json").json()["paths"]
    described = {}
    for name in ("fit", "identify", "preview"):
        about = paths[f"/api/{name}"]["post"]["parameters"]
        assert all(each["in"] == "query" and each["description"] and not each["required"] for each in about)
        described[name] = {each["name"]: each for each in about}
    waits = described["fit"].pop("wait")
    assert waits == described["identify"].pop("wait") and waits["schema"]["default"] == 0
    assert described["fit"] == described["identify"] == described["preview"]
    assert set(described["fit"]) == {"name", "options", "shape", "dtype", "offset"}
    for name in described:
        answer = quiet.client.post(f"/api/{name}?dtype={'x' * 17}", content=b"bytes")
        assert answer.status_code == 400 and "dtype" in answer.json()["error"], answer.text


def test_what_may_be_asked_is_what_fits_know(quiet: Served) -> None:
    about = quiet.client.get("/api/about").json()
    assert about["methods"] == list(METHODS)
    assert about["backgrounds"] == list(NAMES) or set(about["backgrounds"]) == set(NAMES)
    assert [p["name"] for p in about["parameters"]] == [*PARAMETERS, *AVERAGING]
    held = {p["name"] for p in about["parameters"] if p["held"]}
    assert held == {"semi_angle", *AVERAGING}
    models.About.model_validate(about)


def test_errors_of_unknown_places_are_json(quiet: Served) -> None:
    for method, path, code in (
        ("GET", "/api/none", 404),
        ("PUT", "/api/fits", 405),
        ("GET", "/api/jobs/none", 404),
        ("GET", "/api/maps/none", 404),
        ("GET", "/api/fits/none/picture.png", 404),
        ("GET", "/api/files", 400),
        ("POST", "/api/maps", 400),
    ):
        answer = quiet.client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (code, ["error"]), path


def test_lists_of_libraries_say_what_is_built(quiet: Served) -> None:
    found = {each["name"]: each["built"] for each in quiet.client.get("/api/libraries").json()}
    assert found == {"small": True, "later": False}
    answer = quiet.client.post("/api/libraries", json={"name": "small"})
    assert answer.status_code == 400 and "is built already" in answer.json()["error"]
    first = quiet.client.post("/api/libraries", json={"name": "later"}).json()["job"]
    assert (
        quiet.client.post("/api/libraries", json={"name": "later"}).json()["job"] == first
    )  # once is enough
    later = next(each for each in quiet.client.get("/api/libraries").json() if each["name"] == "later")
    assert later["job"] == first and not {"path", "file"} & set(later)
    assert quiet.client.post(f"/api/jobs/{first}/stop").json()["state"] == "stopped"
    assert quiet.client.post(f"/api/jobs/{first}/resume").json()["state"] == "queued"


def test_limits_say_why() -> None:
    assert all(each.why and each.study for each in thresholds_of(Limits))
