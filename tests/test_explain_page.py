"""The example of docs/explain.md works as it is written, with a small library in place of the shipped one."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hybridfit.library.library import Library
from hybridfit.library.recipe import shipped_folder
from hybridfit.network.weights import Network

PAGE = Path(__file__).parent.parent / "docs" / "explain.md"
NAME = "SrTiO3_001_200kV"
SMALLER = {"g_max": "1.5", "semi_angle_max": "13.6", "tilt_max": "2.0", "sampling": "0.5"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, cache) -> tuple[dict, Path]:
    """Variables of the example, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("explain")
    shutil.copy(shipped_folder() / "SrTiO3.cif", folder)
    lines = ['cif = "SrTiO3.cif"', "zone = [0, 0, 1]", "in_plane = [1, 0, 0]", "energy_kv = 200.0"]
    lines += [f"{name} = {value}" for name, value in SMALLER.items()]
    (folder / "smaller.toml").write_text("\n".join([*lines, "thickness = { start = 24, stop = 36 }"]))
    library = Library.open(folder / "smaller.toml")
    shipped = Network.shipped(NAME, device="cpu")
    attrs = library.dataset.attrs
    origin = replace(
        shipped.origin,
        thickness=library.thickness_range,
        checksum=str(attrs["checksum"]),
        library_version=int(attrs["version"]),
    )
    network = Network(shipped.module, origin, device="cpu")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S))
    space: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Library, "open", lambda name: library if name == NAME else None)
        patch.setattr(Network, "for_library", lambda *_, **__: network)
        exec(compile(code, PAGE.name, "exec"), space)
    return space, folder


def test_the_example_says_what_the_page_says(ran):
    space, _ = ran
    assert space["sweep"].by.values.tolist() == ["network", "fit"]
    assert space["worst"] in (4, 8, 12, 14, 18)
    left_out = space["left_out"].sel(by="fit", radius=14)
    assert abs(float(left_out.thickness_change)) < 2 * float(left_out.thickness_stderr)
    share = space["maps"].thickness.where(space["inside"]).sum() / space["maps"].thickness.sum()
    assert 0.5 < float(share) < 1
    assert list(space["layers"]) == ["stem", "stages.0"]


def test_its_pictures_are_written(ran):
    assert {path.name for path in ran[1].glob("*.png")} == {"sweep.png", "saliency.png", "layers.png"}


def test_every_public_name_is_on_the_page():
    from hybridfit import explain

    text = PAGE.read_text(encoding="utf-8")
    assert all(name in text for name in explain.__all__)
