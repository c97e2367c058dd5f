from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from tiankong.server.http.deadlines import FEW, Deadlines


@dataclass
class Guest:
    """What waits; notes when it is rung."""

    deadlines: Deadlines
    over: bool = False
    rung: list[float] = field(default_factory=list)

    def ring(self) -> None:
        self.rung.append(self.deadlines.loop.time())


def test_each_is_rung_once_at_its_time_in_any_order() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines, now = Deadlines(loop), loop.time()
        guests = {}
        for number in random.Random(0).sample(range(20), 20):
            at = now + 0.02 + number * 0.005
            guests[at] = Guest(deadlines)
            deadlines.add(at, guests[at])
        left = guests[min(guests)]
        left.over = True
        await asyncio.sleep(0.2)
        assert left.rung == []
        for at, guest in guests.items():
            if guest is not left:
                [rung] = guest.rung
                assert rung >= at - 0.0015
        rings = [guest.rung[0] for at, guest in sorted(guests.items()) if guest is not left]
        assert rings == sorted(rings)
        assert len(deadlines) == 0

    asyncio.run(scenario())


def test_a_time_that_has_passed_rings_at_once_but_not_within_the_call() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        guest = Guest(deadlines)
        deadlines.add(loop.time() - 5, guest)
        assert guest.rung == []
        await asyncio.sleep(0.01)
        assert len(guest.rung) == 1

    asyncio.run(scenario())


def test_an_earlier_one_is_not_held_up_by_a_later_one() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        late, early = Guest(deadlines), Guest(deadlines)
        deadlines.add(loop.time() + 60, late)
        deadlines.add(loop.time() + 0.01, early)
        await asyncio.sleep(0.05)
        assert (len(early.rung), late.rung) == (1, [])

    asyncio.run(scenario())


def test_what_is_over_is_forgotten_long_before_its_time() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        stays = Guest(deadlines)
        deadlines.add(loop.time() + 29, stays)
        for _ in range(20 * FEW):
            guest = Guest(deadlines)
            deadlines.add(loop.time() + 30, guest)
            guest.over = True
        assert len(deadlines) <= FEW

    asyncio.run(scenario())


def test_ringing_may_add_more() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        soon, added = Guest(deadlines), Guest(deadlines)

        class First(Guest):
            def ring(self) -> None:
                deadlines.add(loop.time() + 1.0, added)

        deadlines.add(loop.time() + 0.01, First(deadlines))
        deadlines.add(loop.time() + 0.03, soon)
        await asyncio.sleep(0.06)
        assert (len(soon.rung), added.rung) == (1, [])  # what was added later holds up nothing
        await asyncio.sleep(1.2)
        assert len(added.rung) == 1

    asyncio.run(scenario())
