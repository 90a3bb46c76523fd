"""Clocks, temperature and throttling of GPUs, through nvidia-ml-py if it is installed.

Not executed here on a GPU; names and signatures are those of nvidia-ml-py 13.
"""

from __future__ import annotations

import importlib
from typing import Any

#: reasons for lower clocks that make timings useless, by the end of their names in NVML
#: (``nvmlClocksEventReason...``); an idle GPU or a fixed clock is not such a reason
_HELD_BACK = (
    "SwPowerCap",
    "HwSlowdown",
    "SwThermalSlowdown",
    "HwThermalSlowdown",
    "HwPowerBrakeSlowdown",
)


def gpu_clocks() -> dict[str, Any] | None:
    """Read the driver version, and each GPU's clocks (MHz), degrees Celsius and throttling.

    Returns:
        JSON-ready values; None without nvidia-ml-py, driver or GPU.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        count = nvml.nvmlDeviceGetCount()
        if not count:
            return None
        return {
            "driver": str(nvml.nvmlSystemGetDriverVersion()),
            "gpus": [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(count)],
        }
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, handle: Any) -> dict[str, Any]:
    def asked(function: str, *arguments: Any) -> Any:
        # not every GPU provides everything: Jetsons have no temperature here
        try:
            return getattr(nvml, function)(handle, *arguments)
        except nvml.NVMLError:
            return None

    reasons = asked("nvmlDeviceGetCurrentClocksEventReasons") or 0
    return {
        "name": str(asked("nvmlDeviceGetName")),
        "sm_mhz": asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        "sm_most_mhz": asked("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        "memory_mhz": asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        "celsius": asked("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        "held_back_by": [
            name for name in _HELD_BACK if reasons & getattr(nvml, f"nvmlClocksEventReason{name}")
        ],
    }


def held_back_line(clocks: dict[str, Any] | None) -> str | None:
    """Return a warning about throttled GPUs; None if there are none."""
    slowed = [gpu for gpu in (clocks or {}).get("gpus", ()) if gpu["held_back_by"]]
    if not slowed:
        return None
    gpu = slowed[0]
    return (
        f"{gpu['name']} was held back by {', '.join(gpu['held_back_by'])} ({gpu['sm_mhz']} of "
        f"{gpu['sm_most_mhz']} MHz); fix its clocks with 'nvidia-smi -lgc', or let it cool"
    )
