"""The machine that a program runs on."""

import platform
from pathlib import Path


def processor() -> str:
    """The name of the processor, as Linux reports it, or as Python does elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")
