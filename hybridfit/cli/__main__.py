"""`python -m hybridfit.cli` is `hybridfit`."""

import sys

from hybridfit.cli import main

sys.exit(main())
