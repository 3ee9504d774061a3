"""
A small fleet on a simulated clock, with a quota that is as small: what docs/fleet.md promises.
"""

from __future__ import annotations

from itertools import pairwise

import fleet_model
import pytest
from fleet_model import Fleet, Host, Quota, World

from shipper import backoff, batch, brake

SMALL = Fleet(200, lines_per_s=100.0, quota_per_s=1_000.0)
"""As 1,000 hosts are to 5,000 requests a second."""


@pytest.fixture(scope="module")
def drained() -> World:
    world = World(SMALL)
    world.run(until_s=200)
    return world


def test_all_hosts_drain_and_none_waits_twice_the_average(drained: World) -> None:
    ends = [host.drained_s for host in drained.hosts]
    assert drained.undrained == 0
    assert max(ends) <= 2 * sum(ends) / len(ends)


def test_after_the_recovery_less_than_a_twentieth_is_throttled(drained: World) -> None:
    taken, throttled = sum(drained.taken_by_s.values()), sum(drained.throttled_by_s.values())
    assert 0 < throttled < 0.05 * (taken + throttled)


def test_every_event_is_delivered_once_in_whole_ranges(drained: World) -> None:
    for host in drained.hosts:
        for stream in host.streams:
            ranges = sorted(stream.delivered)
            assert ranges[0][0] == 0
            covered = [after[0] for before, after in pairwise(ranges) if before[1] != after[0]]
            in_flight = [start for start in covered if start < stream.left]
            assert in_flight == []
            assert (
                sum(min(end, stream.left) - first for first, end in ranges if first < stream.left)
                == stream.left
            )


def test_the_quota_is_never_exceeded(drained: World) -> None:
    taken = 0
    for second in range(int(drained.now_s)):
        taken += drained.taken_by_s.get(second, 0)
        assert taken <= SMALL.quota_per_s * (second + 1 + SMALL.burst_s)


def test_in_an_outage_a_host_probes_once_in_one_or_two_seconds() -> None:
    world = World(Fleet(20))
    world.run(until_s=-20.0)
    before = world.probes
    world.run(until_s=-10.0)
    assert 10 / 2.1 <= (world.probes - before) / 20 <= 10 / 1.0


def test_the_same_seed_tells_the_same() -> None:
    def ends() -> list[float]:
        world = World(Fleet(20, lines_per_s=100.0, quota_per_s=50.0, seed=7))
        world.run(until_s=100)
        return [host.drained_s for host in world.hosts]

    assert ends() == ends()


def test_a_bucket_gives_no_more_than_it_has() -> None:
    quota = Quota(10, 5, 0)
    assert [quota.take(0) for _ in range(6)] == [True] * 5 + [False]
    assert quota.take(0.1)
    assert not quota.take(0.1)


def test_a_host_waits_slows_down_and_packs_by_the_products_own_classes() -> None:
    world = World(Fleet(1))
    held = vars(world.hosts[0]).values()
    assert {type(value) for value in held} >= {brake.Brake, backoff.Every}
    assert fleet_model.LIMITS is batch.LIMITS
    assert isinstance(world.hosts[0], Host)
