"""Control with tables (Sutton and Barto 2018, chapters 6, 7 and 12).

The algorithms differ in what their target believes comes next, and in which cells a step moves;
the rest is `_control`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from rljax.actors import Exploration, ExplorationHparams, with_traces
from rljax.actors import exploration as explorations
from rljax.agents.assembly import check_hparams, on_policy
from rljax.agents.curiosity import Curiosity, CuriosityHparams
from rljax.agents.schedule import Schedule
from rljax.errors import UsageError, check_known
from rljax.hparams import fraction, non_negative, positive
from rljax.networks import QNetwork, q_table
from rljax.types import Agent, Environment, Update
from rljax.updates import chain, tables, td


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(ExplorationHparams, CuriosityHparams):
    """The hyperparameters of tabular control: traced, so a sweep compiles once."""

    lr: float = non_negative(0.1)
    """Learning rate, at the start."""
    gamma: float = fraction(0.99)
    """Discount per step."""
    half_life: float = positive(1000.0)
    """Updates after which a "harmonic" learning rate has halved."""
    visit_exponent: float = non_negative(0.6)
    """How fast a "visit_count" learning rate falls: lr / (updates of the cell)^exponent."""
    trace_lambda: float = fraction(0.9)
    """How slowly the traces of `q_lambda` fade: 0 is Q-learning, 1 nearly Monte Carlo."""


STEP_SIZES: dict[str, Callable[[Hparams], tables.StepSize]] = {
    "constant": lambda hp: tables.constant(hp.lr),
    "harmonic": lambda hp: tables.harmonic(hp.lr, hp.half_life),
    "visit_count": lambda hp: tables.visit_count(hp.lr, hp.visit_exponent),
}

Algorithm = Callable[[QNetwork, Any, tables.StepSize, Any], list[Update]]
"""(table, hparams, learning rate, exploring policy) to the updates that follow `n_step`."""

Planner = Callable[[Any, Update], Update]
"""(hparams, the update that learns from steps) to one that learns from imagined ones, too."""

ARGUMENTS = """

    Args:
        env: with Discrete observations S and actions A; from `rljax.make`, or any object with the
            members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side; what several of them say of one cell in one
            update counts by its mean.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (of exploration);
            by default `total_env_steps`.
        n_step: how many rewards a target sums before it bootstraps; at most `rollout_length`,
            and 1 for `q_lambda`.
        exploration: "epsilon_greedy" (annealed), "boltzmann", "fixed_epsilons" or
            "ez_greedy", or an `actors.Exploration`; for `sarsa` and `expected_sarsa`, one that
            gives probabilities.
        step_size: how the learning rate falls: "constant", "harmonic" or "visit_count".
        initial_value: what every cell starts from; above the largest return, it makes the learner
            try everything (optimism).
        curiosity: intrinsic rewards, added to the others: "none", "counts" (of states and actions),
            "rnd" (errors in predicting a random network) or "icm" (of a model of features).
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """


def table_agent(
    name: str,
    env: Environment,
    algorithm: Algorithm,
    *,
    schedule: Schedule,
    exploration: str | Exploration,
    step_size: str,
    initial_value: float,
    curiosity: str,
    first: Update | None,
    hparams: Hparams,
    n_step: int = 1,
    num_tables: int = 1,
    traces: bool = False,
    asks_policy: bool = False,
    plan: Planner | None = None,
) -> Agent:
    """The agent called `name`; with `plan`, it learns from imagined steps, too."""
    if traces and n_step != 1:
        raise UsageError(
            f"{name} sums the errors of single steps along its traces: n_step must be 1, not "
            f"{n_step}; trace_lambda says how far a reward reaches"
        )
    check_known("step_size", step_size, STEP_SIZES)
    explore = explorations(exploration)
    if asks_policy and explore.probabilities is None:
        raise UsageError(
            f"{name} asks how likely each action is, which exploration {exploration!r} does "
            "not say: use 'epsilon_greedy' or 'boltzmann'"
        )
    table = q_table(env, initial_value, num_tables, agent=name)
    curious = Curiosity(curiosity, env, agent=name)
    actor = explore.actor(table, env.action_space)

    def update(hp: Hparams, progress: jax.Array) -> Update:
        step = STEP_SIZES[step_size](hp)
        policy = explore.probabilities and explore.probabilities(hp, progress)
        parts = [td.n_step(hp.gamma, n_step), *algorithm(table, hp, step, policy)]
        parts = [plan(hp, chain(*parts))] if plan else parts
        return chain(first, curious.as_reward(hp), *parts)

    return on_policy(
        env,
        actor=with_traces(actor, table) if traces else actor,
        update=update,
        hparams=hparams,
        schedule=schedule,
    )


def _control(name: str, summary: str, algorithm: Algorithm, **kind: Any):
    """The factory of a tabular agent; `kind` is what else `table_agent` takes."""

    def make(
        env: Environment,
        *,
        num_envs: int = 16,
        rollout_length: int = 1,
        total_env_steps: int = 1_000_000,
        schedule_env_steps: int | None = None,
        n_step: int = 1,
        exploration: str | Exploration = "epsilon_greedy",
        step_size: str = "constant",
        initial_value: float = 0.0,
        curiosity: str = "none",
        first: Update | None = None,
        hparams: Hparams | None = None,
    ) -> Agent:
        return table_agent(
            name,
            env,
            algorithm,
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
            n_step=n_step,
            **kind,
        )

    make.__name__ = make.__qualname__ = name
    make.__doc__ = summary + ARGUMENTS
    make.Hparams = Hparams  # type: ignore[attr-defined]
    return make


q_learning = _control(
    "q_learning",
    "Q-learning (Watkins and Dayan 1992, https://doi.org/10.1007/BF00992698).",
    lambda table, hp, step, policy: [
        td.td_target(table, td.greedy),
        tables.table_step(step),
    ],
)

sarsa = _control(
    "sarsa",
    """SARSA (Rummery and Niranjan 1994; Sutton and Barto 2018, section 6.4).

    A target has the action that is taken next, where that is in the rollout. For the last step of
    each rollout, an action is sampled from the same policy instead, because the next one is chosen
    after the update. So with `rollout_length` 1 all of them are sampled: the mean is the same.""",
    lambda table, hp, step, policy: [
        td.td_target(table, td.taken(policy)),
        tables.table_step(step),
    ],
    asks_policy=True,
)

expected_sarsa = _control(
    "expected_sarsa",
    "Expected SARSA (van Seijen et al. 2009, https://doi.org/10.1109/ADPRL.2009.4927542).",
    lambda table, hp, step, policy: [
        td.td_target(table, td.expected(policy)),
        tables.table_step(step),
    ],
    asks_policy=True,
)

double_q_learning = _control(
    "double_q_learning",
    "Double Q-learning (van Hasselt 2010): one table chooses, the other judges.",
    lambda table, hp, step, policy: [
        tables.double_table_target(),
        tables.table_step(step, tables.visited_in_one_table),
    ],
    num_tables=2,
)

q_lambda = _control(
    "q_lambda",
    "Watkins's Q(lambda) (Watkins 1989), with eligibility traces.",
    lambda table, hp, step, policy: [
        td.td_target(table, td.greedy),
        tables.trace_step(step),
    ],
    traces=True,
)
