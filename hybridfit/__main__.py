"""`python -m hybridfit`: the command, where it is not on the path."""

import sys

from hybridfit.cli import main

sys.exit(main())
