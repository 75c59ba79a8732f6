"""Threads that share work: every piece is done once, in order, whatever the numbers."""

from __future__ import annotations

import pytest

from hybridfit.pattern.pool import Pool


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_shares_are_all_of_the_work_in_order(workers, count):
    shares = Pool(workers).shares(lambda begin, end: list(range(begin, end)), count)
    assert [i for share in shares for i in share] == list(range(count))
    assert len(shares) == max(1, min(workers, count))
