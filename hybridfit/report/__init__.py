"""Reports: one HTML file of a fit, of several, or of a map, for reading, printing and keeping.

answers or map, and their origin → sections of HTML → one file without scripts, pictures inside
"""

from hybridfit.report.fits import fit_report
from hybridfit.report.maps import map_report
from hybridfit.report.origin import FileFacts, Origin, file_facts
from hybridfit.report.page import check_report_path, write_report

__all__ = [
    "FileFacts",
    "Origin",
    "check_report_path",
    "file_facts",
    "fit_report",
    "map_report",
    "write_report",
]
