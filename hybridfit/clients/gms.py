"""Fit the front image of DigitalMicrograph with a running `hybridfit serve`.

Open this file in the Python script window of GMS 3.5 or later and run it, or install it as a menu entry.
It needs the standard library and numpy, which GMS has; hybridfit runs elsewhere, or on the same machine:

    hybridfit serve

The semi-angle is read from the tags of the image.  What no tag says is asked once and remembered in the
global tags, under "hybridfit".  Set ASK_AGAIN to be asked anew.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

SERVER = "http://127.0.0.1:8420"
LIBRARY = "SrTiO3_001_200kV"
ASK_AGAIN = False
SECONDS = 600  # that a fit may take: the first one of a crystal has to read its library
GAP = 4  # px between experiment, fit and residual
GROUP = "hybridfit"  # of the global tags
SEMI_ANGLE_TAGS = (
    "EELS:Experimental Conditions:Convergence semi-angle (mrad)",
    "EELS:Convergence semi-angle (mrad)",
    "Microscope Info:Convergence semi-angle (mrad)",
    "hybridfit:semi-angle (mrad)",
)
VOLTAGE_TAG = "Microscope Info:Voltage"  # V
CAMERA_LENGTH_TAG = "Microscope Info:STEM Camera Length"  # mm
RGB, COMPLEX = (23,), (3, 5, 13, 27, 28)  # data types of DigitalMicrograph


class Problem(Exception):
    """Something that the user can mend; its words are shown in a dialog."""


class NoServer(Problem):
    """Nothing answers at the address, or another program; the address is asked for again."""


def front_image(dm):
    """The image in front; a Problem where there is none, or none that is a diffraction pattern."""
    try:
        image = dm.GetFrontImage()
    except Exception:  # DigitalMicrograph raises what its version raises
        image = None
    if image is None:
        raise Problem(
            "There is no image. Open or record a diffraction pattern, click on it, and run this again."
        )
    name = image.GetName()
    dimensions = image.GetNumDimensions()
    if dimensions == 1:
        raise Problem(f"{name} is a line plot. Click on a diffraction pattern, and run this again.")
    if dimensions > 2:
        raise Problem(
            f"{name} has {dimensions} dimensions. Take one frame of a stack, or the mean of a 4D-STEM data "
            "set over a unit cell, as an image of its own."
        )
    kind = image.GetDataType()
    if kind in RGB:
        raise Problem(f"{name} is an RGB picture, which has lost the intensities. Take the recorded image.")
    if kind in COMPLEX:
        raise Problem(f"{name} is complex. Take its modulus squared, or the recorded image.")
    return image


def pixels(image):
    """A copy of the numbers of an image, rows by columns, in the byte order of the server."""
    array = np.array(image.GetNumArray())  # a copy: the array of the image is its memory
    if array.ndim != 2 or array.dtype.kind not in "buif":
        name = image.GetName()
        raise Problem(f"{name} holds {array.dtype} values of shape {array.shape}, no image of intensities.")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def tag(tags, path):
    """A number among tags; None where there is none above 0."""
    there, value = tags.GetTagAsFloat(path)
    return float(value) if there and math.isfinite(value) and value > 0 else None


def mrad_per_pixel(image, kv):
    """The calibration of an image in mrad per pixel; None where it has none in angles."""
    _, scale, unit = image.GetDimensionCalibration(0, 0)
    unit = unit.decode("latin-1") if isinstance(unit, bytes) else str(unit)
    unit = unit.strip().replace(" ", "")
    if not scale > 0:
        return None
    per_nm = {"1/nm": 1.0, "nm-1": 1.0, "nm^-1": 1.0, "1/A": 10.0, "1/\u00c5": 10.0, "A-1": 10.0}
    if unit in ("mrad", "rad"):
        return scale * (1.0 if unit == "mrad" else 1e3)
    if unit not in per_nm or kv is None:
        return None
    wavelength_nm = 1.22643 / math.sqrt(1e3 * kv * (1 + 0.978476e-3 * kv))
    return 1e3 * wavelength_nm * scale * per_nm[unit]


def ask(dm, name, words, default, number):
    """Ask for a number or a text, remember the answer in the global tags, and return it."""
    kind, what = ("Float", "Number") if number else ("String", "String")
    value = f"{float(default)!r}" if number else f'"{_quoted(default)}"'
    path = f"{GROUP}:{name}"
    script = (
        f'{what.lower()} answer\nif ( Get{what}( "{_quoted(words)}", {value}, answer ) )\n'
        f'    GetPersistentTagGroup().TagGroupSetTagAs{kind}( "{path}", answer )\n'
        f'else\n    GetPersistentTagGroup().TagGroupSetTagAsString( "{GROUP}:cancelled", "yes" )\n'
    )
    dm.ExecuteScriptString(script)
    tags = dm.GetPersistentTagGroup()
    if tags.GetTagAsString(f"{GROUP}:cancelled")[1]:
        tags.SetTagAsString(f"{GROUP}:cancelled", "")
        raise Problem("Nothing was fitted: the question was cancelled.")
    return remembered(dm, name, number)


def remembered(dm, name, number):
    """What was answered before; None where nothing was."""
    tags, path = dm.GetPersistentTagGroup(), f"{GROUP}:{name}"
    there, value = tags.GetTagAsFloat(path) if number else tags.GetTagAsString(path)
    return value if there and value != "" else None


def known(dm, name, words, default, number, again):
    """What was answered before, or the answer now; texts without spaces around them."""
    value = None if again else remembered(dm, name, number)
    if value is None:
        value = ask(dm, name, words, default, number)
    return float(value) if number else str(value).strip()


def _quoted(text):
    """A text within the quotes of a DM script."""
    return str(text).replace("\\", "\\\\").replace('"', "'").replace("\n", " ")


class Server:
    """A running `hybridfit serve`."""

    def __init__(self, address, token=""):
        address = address.strip().rstrip("/")
        self.address = address if "://" in address else "http://" + address
        self.token = token
        # a proxy of the laboratory does not know this machine
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path):
        """The JSON of an address."""
        return self._ask(path, None)

    def fit(self, array, name, options, wait=10):
        """Send an array; the job, which may have ended."""
        query = {
            "wait": f"{wait:g}",
            "name": name,
            "shape": f"{array.shape[0]},{array.shape[1]}",
            "dtype": array.dtype.str if array.dtype.itemsize > 1 else array.dtype.name,
            "options": json.dumps(options),
        }
        found = self._ask("/api/fit?" + urllib.parse.urlencode(query), array.tobytes(), wait)
        return found if "state" in found else self.get("/api/jobs/{}".format(found["job"]))

    def ended(self, job, seconds=SECONDS):
        """Wait for the end of a job."""
        end = time.time() + seconds
        while job["state"] in ("queued", "running"):
            if time.time() > end:
                raise Problem(f"The fit has not ended after {seconds} s; see the page at {self.address}.")
            time.sleep(0.3)
            job = self.get("/api/jobs/{}".format(job["id"]))
        if job["state"] != "done" or not job.get("fits"):
            raise Problem("The fit failed: %s" % (job.get("error") or "the server says no more"))
        return job

    def _ask(self, path, body, wait=0.0):
        headers = {"X-Hybridfit": "1", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        try:
            request = urllib.request.Request(self.address + path, data=body, headers=headers)
            with self._opener.open(request, timeout=30 + wait) as answer:
                return self._json(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 401:
                raise WrongToken() from None
            raise Problem(self._words(error)) from None
        except (OSError, ValueError, http.client.HTTPException) as error:  # the last two: no address at all
            reason = getattr(error, "reason", error)
            raise NoServer(
                f"There is no hybridfit server at {self.address} ({reason}). Start it with: hybridfit serve"
            ) from None

    def _words(self, error):
        try:
            return str(json.loads(error.read().decode("utf-8"))["error"])
        except Exception:
            return f"{self.address} answers with error {error.code}. Is it a hybridfit server?"

    def _json(self, text):
        try:
            found = json.loads(text.decode("utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, (dict, list)):
            raise NoServer(f"{self.address} answers, but it is no hybridfit server.")
        return found


class WrongToken(Exception):
    """The server wants a token, or another one."""


def with_token(dm, server, work):
    """Do something with the server; where it wants a token, ask for it once."""
    try:
        return work()
    except WrongToken:
        words = "Token of the hybridfit server (hybridfit serve --token)"
        server.token = str(ask(dm, "token", words, "", False)).strip()
    try:
        return work()
    except WrongToken:
        raise Problem(
            "The server does not take this token. Ask who started it (hybridfit serve --token)."
        ) from None


def line_of(name, result):
    """The answer in a line."""
    return "{}: {}".format(name, ", ".join([str(result["status"]).replace("_", " "), *numbers_of(result)]))


def numbers_of(result):
    """Thickness and tilt with their errors, a text each."""
    out = []
    shown = [
        ("thickness", "thickness_nm", "nm"),
        ("tilt x", "tilt_x_mrad", "mrad"),
        ("tilt y", "tilt_y_mrad", "mrad"),
    ]
    for label, key, unit in shown:
        found = result.get(key)
        if found and found["value"] is not None:
            error = "" if found["stderr"] is None else " +/- {:.2g}".format(found["stderr"])
            out.append("{} {:.4g}{} {}".format(label, found["value"], error, unit))
    return out


def montage(images):
    """Experiment, fit and residual side by side, and by how much the residual is enlarged."""
    rows, columns = images["shape"]
    experiment, fit = (
        np.frombuffer(base64.b64decode(images[key]), "<f4").reshape(rows, columns)
        for key in ("experiment", "fit")
    )
    residual = experiment - fit
    inside = np.isfinite(experiment) & np.isfinite(fit)
    low, high = float(np.min(fit[inside])), float(np.max(fit[inside]))
    largest = float(np.percentile(np.abs(residual[inside]), 99)) or 1.0
    times = 2.0 ** math.floor(math.log(max(0.5 * (high - low) / largest, 1.0), 2))
    middle = 0.5 * (low + high)
    gap = np.full((rows, GAP), high, np.float32)
    parts = [np.where(inside, part, low) for part in (experiment, fit, middle + times * residual)]
    return np.hstack([parts[0], gap, parts[1], gap, parts[2]]).astype(np.float32), times


def show(dm, name, result, images):
    """Show experiment, fit and residual as an image with annotations."""
    array, times = montage(images)
    rows, columns = images["shape"]
    out = dm.CreateImage(array.copy())
    out.SetName(f"hybridfit of {name}")
    scale = (result.get("scale_px_per_mrad") or {}).get("value")
    extent = images.get("extent")
    if scale and extent:
        step = abs(extent[1] - extent[0]) / columns / scale
        for dimension in (0, 1):
            out.SetDimensionCalibration(dimension, 0.0, step, "mrad", 0)
    out.ShowImage()
    tags = out.GetTagGroup()
    for key in ("thickness_nm", "tilt_x_mrad", "tilt_y_mrad"):
        found = result.get(key)
        if found and found["value"] is not None:
            tags.SetTagAsFloat(f"hybridfit:{key}", float(found["value"]))
    tags.SetTagAsString("hybridfit:status", str(result["status"]))
    tags.SetTagAsString("hybridfit:message", str(result["message"]))
    display = out.GetImageDisplay(0)
    size = max(5, rows // 16)
    words = ["experiment", "fit", f"residual x {times:g}"]
    for top, texts in ((2, words), (rows - 1.5 * size, numbers_of(result))):
        for i, text in enumerate(texts):
            note = dm.NewTextAnnotation(i * (columns + GAP) + 2, top, text, size)
            display.AddChildAtEnd(note)
            note.SetForegroundColor(1.0, 1.0, 0.3)
    return out


def run(dm):
    """Fit the front image; the line that says the answer."""
    image = front_image(dm)
    name, tags, array = image.GetName(), image.GetTagGroup(), pixels(image)
    volts = tag(tags, VOLTAGE_TAG)
    kv = None if volts is None else volts / 1e3
    again = ASK_AGAIN
    server = Server(known(dm, "server", "Address of the hybridfit server", SERVER, False, again))
    server.token = "" if again else str(remembered(dm, "token", False) or "")
    libraries = with_token(dm, server, lambda: server.get("/api/libraries"))
    library = known(
        dm, "library", "Simulation library (crystal, zone axis, kV)", _likely(libraries, kv), False, again
    )
    _check_energy(dm, libraries, library, kv)
    semi_angle = next((v for v in (tag(tags, path) for path in SEMI_ANGLE_TAGS) if v), None)
    if semi_angle is None:
        semi_angle = known(dm, "semi-angle (mrad)", "Convergence semi-angle (mrad)", 13.6, True, again)
    options = {"library": library, "semi_angle": semi_angle, "origin": "api"}
    job = with_token(dm, server, lambda: server.fit(array, name, options))
    fit = with_token(dm, server, lambda: server.get("/api/fits/{}".format(server.ended(job)["fits"][0])))
    result = fit["result"]
    line = line_of(name, result)
    print(f"hybridfit: {line} ({library}, semi-angle {semi_angle:g} mrad)")
    print("hybridfit: {}".format(result["message"]))
    for words in _remarks(image, tags, kv, result):
        print(f"hybridfit: {words}")
    if result.get("thickness_nm"):
        try:
            images = server.get("/api/fits/{}/images".format(fit["id"]))
        except Problem as problem:
            print(f"hybridfit: no picture: {problem}")
        else:
            show(dm, name, result, images)
    return line


def _likely(libraries, kv):
    """The library to suggest: the built ones of this voltage first."""
    built = [each for each in libraries if each.get("built")]
    fitting = [each for each in built if kv is None or abs(each.get("energy_kv", 0) - kv) < 0.02 * kv]
    names = [each["name"] for each in (fitting or built)]
    return LIBRARY if LIBRARY in names or not names else names[0]


def _check_energy(dm, libraries, library, kv):
    """Ask whether to go on where image and library have different voltages."""
    energy = next((each.get("energy_kv") for each in libraries if each.get("name") == library), None)
    if kv is None or not energy or abs(energy - kv) < 0.02 * kv:
        return
    words = (
        f"The image was recorded at {kv:g} kV, the library {library} is for {energy:g} kV. Fit all the same?"
    )
    if not dm.OkCancelDialog(words):
        raise Problem(f"Nothing was fitted. Take a library for {kv:g} kV: set ASK_AGAIN in this script.")


def _remarks(image, tags, kv, result):
    """What the calibration of the image says otherwise than the fit."""
    scale = (result.get("scale_px_per_mrad") or {}).get("value")
    own = mrad_per_pixel(image, kv)
    if not scale or own is None or abs(own * scale - 1) < 0.05:
        return []
    length = tag(tags, CAMERA_LENGTH_TAG)
    where = "" if length is None else f" (camera length {length:g} mm)"
    return [f"the image is calibrated with {own:.4g} mrad/px{where}, the fit found {1 / scale:.4g}"]


def main(dm):
    """Run, and show in a dialog what is wrong."""
    try:
        return run(dm)
    except Problem as problem:
        if isinstance(problem, NoServer):
            dm.GetPersistentTagGroup().SetTagAsString(f"{GROUP}:server", "")
        print(f"hybridfit: {problem}")
        dm.OkDialog(str(problem))
        return None


if __name__ == "__main__":
    import DigitalMicrograph as DM

    main(DM)
