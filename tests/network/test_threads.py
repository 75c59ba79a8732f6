"""One network, used by several threads at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hybridfit.network.crop import crops
from hybridfit.network.weights import Network

THREADS = 8


def test_threads_get_the_answers_that_one_gets(untrained):
    """From the first use on, when the copy for inference is made, with batches of other sizes beside it."""
    rng = np.random.default_rng(5)
    frames = rng.random((THREADS, 96, 96))
    valid = np.ones((96, 96), bool)
    counts = 1 + np.arange(THREADS) % 3
    centres = [rng.uniform(30, 60, (n, 2)) for n in counts]
    alone = Network(untrained.module, untrained.origin, device="cpu")
    cut = [crops(f, valid, c, np.full(len(c), 1.5)) for f, c in zip(frames, centres, strict=True)]
    expected = [alone.predict(each, 12.0) for each in cut]
    shared = Network(untrained.module, untrained.origin, device="cpu")
    barrier = threading.Barrier(THREADS)

    def work(i: int):
        barrier.wait()
        said = [
            shared.predict(crops(frames[i], valid, centres[i], np.full(counts[i], 1.5)), 12.0)
            for _ in range(3)
        ]
        return said

    with ThreadPoolExecutor(THREADS) as pool:
        for answers, right in zip(pool.map(work, range(THREADS)), expected, strict=True):
            for said in answers:
                for a, b in zip(said, right, strict=True):
                    np.testing.assert_array_equal(a, b)
