"""The search: library points and trial cameras are paired and ranked by χ².

settings    every constant that decides something
cameras     which centres and scales are tried
templates   library points on rings
rings       χ² of templates and frame on rings about a camera
trials      all templates with all cameras that are tried on one frame
full        the full search: all library points, many cameras
match       the library match: all library points, a few cameras that go downhill
window      the windowed search: library points and cameras near a seed
"""
