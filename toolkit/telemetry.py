"""The dependencies' telemetry, switched off before any of them is imported.

Importing ``tiankong`` calls :func:`switch_off`, so every process of this project does, and the
processes that it starts inherit the variables.  docs/reliability.md lists what each dependency
would send.  This module imports nothing else of the project and needs nothing installed: noxfile
runs it as a file.
"""

from __future__ import annotations

import os
import sys

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime from 1.29 on; it reads this once, at its import
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, hf_xet, transformers, Optimum
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers: asks the hub to convert a model
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variables and the values that switch telemetry off."""
FOR_ALL = {"DO_NOT_TRACK": "1"}
"""What others keep to (https://consoledonottrack.com), huggingface_hub among them."""
WITHOUT_SWITCH = "openvino_telemetry"
"""OpenVINO and NNCF import this module to send events, and send none if it cannot be imported."""
CONSENT = "~/intel/openvino_telemetry"  # holds 1 where the user ran opt_in_out --opt_in


def switch_off() -> None:
    """Keep every dependency from sending anything, unless the user asked for it.

    A variable that the user has set keeps its value (an empty one counts as not set), and
    OpenVINO's telemetry runs if its own file says that the user agreed to it.  ``FOR_ALL`` would
    overrule a switch of the user's, so it is set only where there is none.
    """
    own = any(os.environ.get(name) not in (None, "", value) for name, value in SWITCHES.items())
    for name, value in (SWITCHES if own else SWITCHES | FOR_ALL).items():
        if not os.environ.get(name):
            os.environ[name] = value
    if not _agreed():
        # None makes an import raise ModuleNotFoundError.
        sys.modules.setdefault(WITHOUT_SWITCH, None)  # type: ignore[arg-type]


def _agreed() -> bool:
    """Tell whether the user has agreed to OpenVINO's telemetry."""
    try:
        with open(os.path.expanduser(CONSENT), encoding="utf-8") as file:
            return file.readline().strip() == "1"
    except (OSError, ValueError):
        return False
