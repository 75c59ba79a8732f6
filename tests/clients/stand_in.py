"""A stand-in for the module DigitalMicrograph: what it has, with its arguments, and nothing else.

Names and behaviour are those of GMS 3.5 and later, as published scripts use them: tags come as (found,
value), arrays share the memory of images, dimension 0 is x, and units may be bytes.
"""

from __future__ import annotations

import re

import numpy as np

TYPES = {"int16": 1, "float32": 2, "complex64": 3, "uint8": 6, "int32": 7, "int8": 9, "uint16": 10,
         "uint32": 11, "float64": 12, "complex128": 13}  # fmt: skip
DIALOG = re.compile(
    r'(number|string) answer\nif \( Get(Number|String)\( "([^"\n]*)", (.+), answer \) \)\n'
    r'    GetPersistentTagGroup\(\)\.TagGroupSetTagAs(Float|String)\( "([^"]+)", answer \)\n'
    r'else\n    GetPersistentTagGroup\(\)\.TagGroupSetTagAsString\( "([^"]+)", "yes" \)\n'
)


class TagGroup:
    def __init__(self, **tags):
        self._tags = dict(tags)

    def GetTagAsFloat(self, path):
        value = self._tags.get(path)
        return (True, float(value)) if isinstance(value, (int, float)) else (False, 0.0)

    def GetTagAsString(self, path):
        value = self._tags.get(path)
        return (True, value) if isinstance(value, str) else (False, "")

    def SetTagAsFloat(self, path, value):
        assert type(value) is float
        self._tags[path] = value

    def SetTagAsString(self, path, value):
        assert type(value) is str
        self._tags[path] = value


class Annotation:
    def __init__(self, left, top, text, size):
        self._told = (float(left), float(top), str(text), float(size))

    def SetForegroundColor(self, red, green, blue):
        assert 0 <= min(red, green, blue) and max(red, green, blue) <= 1


class Display:
    def __init__(self):
        self._children = []

    def AddChildAtEnd(self, child):
        assert isinstance(child, Annotation)
        self._children.append(child)


class Image:
    def __init__(self, array, name="", tags=None, unit="", scale=1.0, kind=None):
        self._array, self._name, self._tags = array, name, tags or TagGroup()
        self._calibration = [[0.0, scale, unit] for _ in array.shape]
        self._shown, self._display, self._kind = False, Display(), kind

    def GetName(self):
        return self._name

    def SetName(self, name):
        self._name = str(name)

    def GetNumDimensions(self):
        return self._array.ndim

    def GetDataType(self):
        return self._kind or TYPES[self._array.dtype.name]

    def GetNumArray(self):
        return self._array

    def GetTagGroup(self):
        return self._tags

    def GetDimensionCalibration(self, dimension, format):
        assert format == 0
        return tuple(self._calibration[dimension])

    def SetDimensionCalibration(self, dimension, origin, scale, unit, format):
        assert format == 0 and isinstance(unit, str)
        self._calibration[dimension] = [float(origin), float(scale), unit]

    def ShowImage(self):
        self._shown = True

    def GetImageDisplay(self, index):
        assert self._shown and index == 0  # an image has no display before it is shown
        return self._display


class DigitalMicrograph:
    """The module itself; `answers` are those of the user to its questions, None to cancel."""

    def __init__(self, front=None, answers=(), remembered=None, goes_on=True):
        self._front, self._answers, self._goes_on = front, list(answers), goes_on
        self._tags = TagGroup(**(remembered or {}))
        self._created, self._dialogs, self._asked = [], [], []

    def GetFrontImage(self):
        if self._front is None:
            raise RuntimeError("No image is displayed")
        return self._front

    def CreateImage(self, array):
        assert array.flags.c_contiguous and array.flags.owndata and array.dtype.name in TYPES
        self._created.append(Image(array))
        return self._created[-1]

    def NewTextAnnotation(self, left, top, text, size):
        return Annotation(left, top, text, size)

    def GetPersistentTagGroup(self):
        return self._tags

    def OkDialog(self, text):
        self._dialogs.append(str(text))

    def OkCancelDialog(self, text):
        self._dialogs.append(str(text))
        return self._goes_on

    def ExecuteScriptString(self, script):
        """Only the questions of the client are understood."""
        found = DIALOG.fullmatch(script)
        assert found, script
        declared, what, words, default, kind, path, cancelled = found.groups()
        assert declared == what.lower() and (what, kind) in (("Number", "Float"), ("String", "String"))
        assert float(default) if what == "Number" else default[0] == default[-1] == '"'
        self._asked.append(words)
        answer = self._answers.pop(0) if self._answers else default.strip('"')
        if answer is None:
            self._tags.SetTagAsString(cancelled, "yes")
        elif kind == "Float":
            self._tags.SetTagAsFloat(path, float(answer))
        else:
            self._tags.SetTagAsString(path, str(answer))


def pattern(counts=None, **options):
    """An image of a pattern, named as DigitalMicrograph names it."""
    array = np.random.default_rng(0).poisson(50, (64, 64)).astype(np.float32) if counts is None else counts
    return Image(array, **{"name": "Ceta 1", **options})
