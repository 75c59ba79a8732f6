"""The session table: every fit with its numbers, images and note, in one file on disk.

Several processes may write to it at the same time: the server of `hybridfit serve`, `hybridfit watch`, and
whatever reads beside them.
"""

from hybridfit.session.kept import Kept, KeptAnswer, kept_of, with_curve
from hybridfit.session.spreadsheet import to_csv
from hybridfit.session.table import ORIGINS, Session, default_folder

__all__ = ["ORIGINS", "Kept", "KeptAnswer", "Session", "default_folder", "kept_of", "to_csv", "with_curve"]
