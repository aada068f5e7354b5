"""What a hyperparameter can be, by its name: names mean the same to every agent."""

from collections.abc import Iterable

from rljax.errors import UsageError

FRACTIONS = {
    "gamma",
    "gae_lambda",
    "q_lambda",
    "trace_lambda",
    "tau",
    "epsilon_start",
    "epsilon_end",
    "exploration_fraction",
    "priority_exponent",
    "importance_start",
}
DIVISORS = {"temperature", "half_life"}


def check_number(name: str, numbers: Iterable[float], where: str) -> None:
    """Refuse what the hyperparameter cannot be: no fraction, below 0, or a divisor that is 0.

    `where` begins the sentence: the agent, or the file and key.
    """
    for number in numbers:
        if name in FRACTIONS:
            if not 0 <= number <= 1:
                raise UsageError(f"{where} must lie from 0 to 1, not be {number:g}")
        elif not (number > 0 if name in DIVISORS else number >= 0):
            least = "above" if name in DIVISORS else "at least"
            raise UsageError(f"{where} must be {least} 0, not {number:g}")
