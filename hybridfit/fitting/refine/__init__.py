"""Least squares from a seed, with honest errors."""

from hybridfit.fitting.quick_lmfit import import_lmfit

import_lmfit()  # before the modules of this folder do
