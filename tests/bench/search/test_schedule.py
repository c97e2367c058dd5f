from __future__ import annotations

from itertools import pairwise

import pytest
from made_up import TEN_MINUTES

from tiankong.bench.search.schedule import Schedule, needed, usual_budget
from tiankong.bench.search.space import space
from tiankong.toolkit.errors import UnusableInputError


@pytest.mark.parametrize(("budget", "choices"), [(600, 40), (300, 10), (1200, 80)])
def test_a_schedule_keeps_to_its_budget(budget: float, choices: int) -> None:
    schedule = Schedule.within(budget, choices)
    cells = sum(count for count, _ in schedule.rungs)
    spent = sum(count * seconds for count, seconds in schedule.rungs) + cells * 3.5
    assert spent < budget
    assert [count for count, _ in schedule.rungs][::-1][:2] in ([2, 5], [2, 4], [2, 3])
    seconds = [each for _, each in schedule.rungs]
    assert all(later == 2 * earlier for earlier, later in pairwise(seconds))


def test_a_budget_too_small_is_refused_with_one_that_is_not() -> None:
    with pytest.raises(UnusableInputError, match=r"--budget (\d+)m or more") as caught:
        Schedule.within(60, 40)
    minutes = int(str(caught.value).split("--budget ")[1].split("m")[0])
    assert Schedule.within(minutes * 60, 40)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "pytorch"])
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 6, 8, 12, 16, 48, 64, 128, 255])
def test_nobody_has_to_name_a_budget(engine: str, cores: int) -> None:
    for batches in (True, False):
        choices = len(space(engine, cores, batches=batches))
        budget = usual_budget(choices)
        assert budget >= needed(choices, 2.0)
        assert Schedule.within(budget, choices).rungs[0][1] >= 1.99
        assert budget == TEN_MINUTES or (cores > 2 and budget % 60 == 0 and budget < 3600)
