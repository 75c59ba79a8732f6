"""Maps as TIFF: 32-bit floats, with scale and labels as ImageJ reads them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from hybridfit.errors import InputError
from hybridfit.scan.export import write_tiff


def test_a_stack_has_scale_and_labels(make_map, tmp_path):
    scan, path = make_map(step=0.5), tmp_path / "map.tif"
    assert write_tiff(scan, path) == [path]
    with tifffile.TiffFile(path) as file:
        about, tags = file.imagej_metadata, file.pages[0].tags
        values = file.asarray()
        assert file.is_imagej and values.dtype == np.float32
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == pytest.approx(2.0)
    labels = list(about["Labels"])
    assert about["unit"] == "nm" and labels[0] == "thickness (nm)" and labels[-1] == "status"
    assert values.shape == (len(labels), 12, 16)
    np.testing.assert_allclose(values[labels.index("tilt_y (mrad)")], scan["tilt_y"].values, rtol=1e-6)


def test_a_folder_has_a_file_for_each(make_map, tmp_path):
    files = write_tiff(make_map(), tmp_path / "pictures")
    assert tmp_path / "pictures" / "thickness.tif" in files and len(files) == 16
    with tifffile.TiffFile(files[0]) as file:
        assert file.asarray().shape == (12, 16) and "unit" not in file.imagej_metadata
    (tmp_path / "pictures" / "tilt_x.tif").write_text("notes")
    with pytest.raises(InputError, match="there already"):
        write_tiff(make_map(), tmp_path / "pictures")
    with pytest.raises(InputError, match="does not exist"):
        write_tiff(make_map(), tmp_path / "no" / "pictures")
