"""Dyna: tables that also learn from imagined steps (Sutton and Barto 2018, chapter 8).

Each of them is Q-learning with a model of the environment. They differ in what they imagine.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from rljax.actors import Exploration
from rljax.agents import tabular
from rljax.agents.assembly import check_hparams
from rljax.agents.schedule import Schedule
from rljax.hparams import fraction, non_negative
from rljax.networks import QNetwork
from rljax.types import Agent, Environment, Update
from rljax.updates import dyna, tables, td
from rljax.updates import prioritized_sweeping as sweeping


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(tabular.Hparams):
    """The hyperparameters of Dyna: traced, so a sweep compiles once."""

    model_memory: float = fraction(1.0)
    """How much of what it knew of a cell the model keeps at a visit: 1 counts all, 0 knows the last
    step only, as in the book, for environments that change."""
    kappa: float = non_negative(1e-3)
    """Of `dyna_q_plus`: imagined rewards are larger by kappa x sqrt(steps since the last try)."""
    priority_threshold: float = non_negative(1e-4)
    """Of `prioritized_sweeping`: how wrong the value of a cell must be to be queued."""


ARGUMENTS = """

    The model counts what followed each state and action, so it has S x A x (S + 1) numbers. It is
    one for all environments.

    Args:
        env: with Discrete observations S and actions A; from `rljax.make`, or any object with the
            members of `rljax.types.Environment`.
        planning_steps: imagined steps for each real one; 0 for none. They follow each other, in
            rows of `num_envs` that are learnt from at once.
        num_envs: environments N stepped side by side; what several of them say of one cell in one
            update counts by its mean.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (of exploration);
            by default `total_env_steps`.
        exploration: "epsilon_greedy" (annealed), "boltzmann", "fixed_epsilons" or
            "ez_greedy", or an `actors.Exploration`.
        step_size: how the learning rate falls: "constant", "harmonic" or "visit_count".
        initial_value: what every cell starts from; above the largest return, it makes the learner
            try everything (optimism).
        curiosity: intrinsic rewards, added to the others: "none", "counts" (of states and actions),
            "rnd" (errors in predicting a random network) or "icm" (of a model of features).
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, and for a model of more than
            2^26 numbers, in one sentence.
    """


def _greedily(table: QNetwork, hp: Hparams, step: tables.StepSize, policy) -> list[Update]:
    """Q-learning, of real and of imagined steps."""
    return [td.td_target(table, td.greedy), tables.table_step(step)]


def _planning(name: str, summary: str, plan: Callable[[Hparams, Update, int], Update]):
    """The factory of an agent that plans."""

    def make(
        env: Environment,
        *,
        planning_steps: int = 5,
        num_envs: int = 1,
        rollout_length: int = 1,
        total_env_steps: int = 100_000,
        schedule_env_steps: int | None = None,
        exploration: str | Exploration = "epsilon_greedy",
        step_size: str = "constant",
        initial_value: float = 0.0,
        curiosity: str = "none",
        first: Update | None = None,
        hparams: Hparams | None = None,
    ) -> Agent:
        return tabular.table_agent(
            name,
            env,
            _greedily,
            schedule=Schedule(
                num_envs=num_envs,
                rollout_length=rollout_length,
                total_env_steps=total_env_steps,
                schedule_env_steps=schedule_env_steps,
            ),
            exploration=exploration,
            step_size=step_size,
            initial_value=initial_value,
            curiosity=curiosity,
            first=first,
            hparams=check_hparams(hparams, Hparams, name),
            plan=lambda hp, learn: plan(hp, learn, planning_steps),
        )

    make.__name__ = make.__qualname__ = name
    make.__doc__ = summary + ARGUMENTS
    make.Hparams = Hparams  # type: ignore[attr-defined]
    return make


dyna_q = _planning(
    "dyna_q",
    "Dyna-Q (Sutton and Barto 2018, section 8.2): imagines steps that it has seen before.",
    lambda hp, learn, planning_steps: dyna(learn, planning_steps, hp.model_memory),
)

dyna_q_plus = _planning(
    "dyna_q_plus",
    """Dyna-Q+ (Sutton and Barto 2018, section 8.3): imagines more reward where it was long ago.

    So it notices what has changed in an environment since.""",
    lambda hp, learn, planning_steps: dyna(learn, planning_steps, hp.model_memory, hp.kappa),
)

prioritized_sweeping = _planning(
    "prioritized_sweeping",
    "Prioritized sweeping (Sutton and Barto 2018, section 8.4): plans where values are most wrong.",
    lambda hp, learn, planning_steps: sweeping(
        learn, hp.gamma, planning_steps, hp.priority_threshold, hp.model_memory
    ),
)
