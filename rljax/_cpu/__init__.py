"""What XLA's CPU backend is slow at, done in another way with the same results.

Programs for other devices are what they would be without it. See `switch` for how to turn it off.
"""

from rljax._cpu.compiler import compiler_options, options_of, options_to_run_once
from rljax._cpu.fetching import fetch
from rljax._cpu.loops import scan
from rljax._cpu.pieces import in_pieces
from rljax._cpu.product import product
from rljax._cpu.scattering import sums_at
from rljax._cpu.switch import is_on, tuning
from rljax._cpu.threefry import unrolled

__all__ = [
    "compiler_options",
    "fetch",
    "in_pieces",
    "is_on",
    "options_of",
    "options_to_run_once",
    "product",
    "scan",
    "sums_at",
    "tuning",
    "unrolled",
]
