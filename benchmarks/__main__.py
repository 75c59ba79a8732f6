"""Run one study; where it crashes, keep a line of why for RESULTS.md.

Run with: python -m benchmarks NAME [options of the study]
"""

from __future__ import annotations

import importlib
import sys
import traceback

from benchmarks.common import out_folder
from benchmarks.studies import failure, names

CRASHED, MISSED, INTERRUPTED = 1, 3, 130  # Python itself ends with 1, too


def main(arguments: list[str]) -> int:
    """Run the study that the first argument names; returns 0 or one of the codes above."""
    if not arguments or arguments[0] not in names():
        print(f"give the name of a study: {', '.join(names())}", file=sys.stderr)
        return 2
    name, *rest = arguments
    reason = failure(name)
    try:
        reason.unlink(missing_ok=True)
        return MISSED if importlib.import_module(f"benchmarks.{name}").main(rest) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        out_folder().mkdir(parents=True, exist_ok=True)
        reason.write_text(f"{type(error).__name__}: {' '.join(str(error).split())}\n", encoding="utf-8")
        return CRASHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
