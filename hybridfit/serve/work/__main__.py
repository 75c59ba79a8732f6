"""`python -m hybridfit.serve.work SETTINGS`: a worker process, started by `hybridfit.serve.lane`."""

from hybridfit.serve.work.loop import main

if __name__ == "__main__":
    main()
