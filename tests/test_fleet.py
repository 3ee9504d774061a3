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
    return after_an_hour(SMALL)


def after_an_hour(fleet: Fleet) -> World:
    """
    When all of a fleet have sent what an outage of an hour left.
    """
    world = World(fleet)
    world.run(until_s=400)
    return world


@pytest.mark.parametrize("like_hosts", [1_000, 3_000, 6_000, 10_000])
def test_all_hosts_drain_none_waits_twice_the_average_and_little_is_throttled(
    like_hosts: int,
) -> None:
    """
    A hundred hosts with the part of the quota that they would have in a fleet of so many.
    """
    world = after_an_hour(Fleet(100, lines_per_s=100.0, quota_per_s=5_000 * 100 / like_hosts))
    ends = [host.drained_s for host in world.hosts]
    assert world.undrained == 0
    assert max(ends) <= 2 * sum(ends) / len(ends)
    taken, throttled = sum(world.taken_by_s.values()), sum(world.throttled_by_s.values())
    assert 0 < throttled < 0.05 * (taken + throttled)


def test_a_host_that_is_alone_sends_the_backlog_of_an_hour_in_twelve_seconds() -> None:
    world = after_an_hour(Fleet(1, lines_per_s=100.0))
    assert world.hosts[0].drained_s <= 12


def test_hosts_that_want_more_than_there_is_for_good_use_it_and_little_is_throttled() -> None:
    """
    With ten streams each, and DELAY 4, these want 250 requests a second.
    """
    world = World(Fleet(100, outage_s=10.0, quota_per_s=160.0))
    world.run(until_s=600, is_over=lambda: False)
    taken, throttled = (
        sum(count for second, count in by_s.items() if second >= 300)
        for by_s in (world.taken_by_s, world.throttled_by_s)
    )
    assert taken > 0.85 * 300 * 160
    assert throttled < 0.05 * (taken + throttled)


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
