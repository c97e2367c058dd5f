"""The three small diffs of CONTRIBUTING.md still fit the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)


def test_there_are_three() -> None:
    assert len(DIFFS) == 3


@pytest.mark.parametrize("diff", DIFFS, ids=["engine", "setting", "command"])
def test_a_diff_applies(diff: str) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", "-"], cwd=ROOT, input=diff, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
