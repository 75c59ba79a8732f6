"""Composition of patterns on the camera: arrays in, arrays out."""
