"""Watching a folder: every new frame is fitted when its file is complete.

folder (listed again and again) → complete files → frames → fit → terminal, tables, session
"""

from hybridfit.watch.folder import Folder
from hybridfit.watch.ledger import Ledger
from hybridfit.watch.settings import WatchSettings, WatchTimes
from hybridfit.watch.tables import CsvTable, JsonLines
from hybridfit.watch.watching import Summary, Told, Watch

__all__ = [
    "CsvTable",
    "Folder",
    "JsonLines",
    "Ledger",
    "Summary",
    "Told",
    "Watch",
    "WatchSettings",
    "WatchTimes",
]
