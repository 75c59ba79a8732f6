"""`python -m hybridfit`: the command, where it is not on the path."""

from hybridfit.cli import main

main()
