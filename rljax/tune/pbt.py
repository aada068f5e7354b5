"""Population-based training (Jaderberg et al. 2017, https://arxiv.org/abs/1711.09846)."""

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from rljax import collectives
from rljax.errors import UsageError, ceil_div, check_positive
from rljax.parallel.vmap import vmap
from rljax.training.rows import LATEST
from rljax.tune import ranges
from rljax.tune.fitness import fitness, selection_key, worst_first
from rljax.tune.ranges import Range
from rljax.types import Agent, Hparams, Key, Metrics, State


def pbt(
    agent: Agent,
    bounds: Mapping[str, Range | tuple],
    *,
    interval_env_steps: int | None = None,
    num_episodes: int = 16,
    deterministic: bool = True,
    fraction: float = 0.25,
    perturb: tuple[float, float] = (0.8, 1.25),
    resample_probability: float = 0.25,
) -> Agent:
    """A population whose worst members are replaced by its best, with hyperparameters mutated.

    Members train as those of `rljax.vmap(agent)`. Every so often each is evaluated on full
    episodes, and the worst of them become copies of some of the best (truncation selection,
    section 4.1.1 of the paper) in all but their key: parameters, optimiser, environments and
    replay buffer. Then the copies' hyperparameters are perturbed. All of it is part of `step`, so
    it compiles, saves, resumes and spreads over devices as any step does. A member that is not
    finite is replaced, too, and never copied.

    `init(keys [P], hparams=None)` samples hyperparameters within the bounds if it is given none.
    States are those of `rljax.vmap(agent)`: `jax.tree.map(lambda x: x[i], states)` is a state of
    the agent.

    Args:
        agent: one agent, on one device or on several.
        bounds: name of a hyperparameter to `(low, high)` or `(low, high, "log")`.
        interval_env_steps: environment steps of a member from one selection to the next, rounded
            up to whole iterations; by default a twentieth of the run.
        num_episodes: full episodes for each member at a selection.
        deterministic: whether these are played with greedy actions, or sampled ones.
        fraction: the part of the population that is replaced; as many are copied from.
        perturb: a hyperparameter of scale "log" is multiplied by one or the other; one of scale
            "linear" moves by the logarithm of it, in units of its range.
        resample_probability: how often one is sampled anew instead.

    Raises:
        UsageError: for bounds, fractions and counts that do not fit, in one sentence.

    >>> import jax, rljax
    >>> agent = rljax.ppo(rljax.make("CartPole-v1"), num_envs=4, rollout_length=8)
    >>> population = rljax.pbt(agent, {"lr": (1e-4, 1e-2, "log"), "gamma": (0.9, 0.999)})
    >>> keys = jax.random.split(jax.random.key(0), 8)
    >>> population.init(keys).hparams.lr.shape
    (8,)
    """
    if agent.population_axes:
        raise UsageError("pbt makes a population itself: give it an agent, not rljax.vmap of one")
    bounds = ranges.checked(bounds, agent.hparams)
    per_iteration = agent.env_steps_per_iteration
    if interval_env_steps is None:
        interval_env_steps = max(1, agent.num_iterations * per_iteration // 20)
    check_positive(interval_env_steps=interval_env_steps, num_episodes=num_episodes)
    interval = ceil_div(interval_env_steps, per_iteration)
    if not 0 < fraction <= 0.5:
        raise UsageError(f"fraction must be above 0 and at most 0.5, not {fraction}")
    if not 0 <= resample_probability <= 1:
        raise UsageError(f"resample_probability must be from 0 to 1, not {resample_probability}")
    if len(perturb) != 2 or min(perturb) <= 0:
        raise UsageError(f"perturb must be two factors above 0, not {perturb}")

    members = vmap(agent)
    measure = fitness(agent, num_episodes, deterministic)

    def init(keys: Key, hparams: Hparams | None = None) -> State:
        if hparams is None:
            keys, hparams = jax.vmap(sample)(keys)
        states = members.init(keys, hparams)
        if size(states) < 2:
            raise UsageError("a population of 1 has nobody to learn from: begin with more keys")
        return states

    def sample(key: Key) -> tuple[Key, Hparams]:
        """The key to begin with, and hyperparameters."""
        key, *keys = jax.random.split(key, 1 + len(bounds))
        fractions = map(jax.random.uniform, keys)
        sampled = {name: bounds[name].at(x) for name, x in zip(bounds, fractions, strict=True)}
        return key, replace(agent.hparams, **sampled)

    def size(states: State) -> int:
        return len(states.iteration) * collectives.shares_of_members()

    def select(states: State) -> tuple[Metrics, Hparams, jax.Array]:
        """What to report, next hyperparameters, and the parents [P] of all: oneself, to stay."""
        key_play, key_parents, key_explore = jax.random.split(selection_key(states), 3)
        found, env_steps = collectives.members(measure(states, key_play))
        parents = choose_parents(found, fraction, key_parents)
        hparams = collectives.members(states.hparams)
        inherited = jax.tree.map(lambda x: x[parents], hparams)
        mutated = explore(inherited, bounds, perturb, resample_probability, key_explore)
        is_new = parents != jnp.arange(len(parents))
        hparams = jax.tree.map(lambda new, old: jnp.where(is_new, new, old), mutated, hparams)
        report = {"fitness": found, "parent": parents, "evaluation_env_steps": env_steps}
        report = {name: x.astype(jnp.float32) for name, x in report.items()}
        return *collectives.own_members((report, hparams)), parents

    def rest(states: State) -> tuple[Metrics, Hparams, jax.Array]:
        nothing = jnp.full(states.iteration.shape, jnp.nan)
        report = dict.fromkeys(("fitness", "parent", "evaluation_env_steps"), nothing)
        return report, states.hparams, jnp.arange(size(states))

    def step(states: State) -> tuple[State, Metrics]:
        states, metrics = members.step(states)
        due = states.iteration[0] % interval == 0  # Members advance in lock-step.
        report, hparams, parents = jax.lax.cond(due, select, rest, states)
        states = replace(copied(states, parents), hparams=hparams)
        report |= {name: getattr(hparams, name) for name in bounds}
        return states, metrics | {LATEST + name: value for name, value in report.items()}

    return members._replace(init=init, step=step, members_may_fail=True)


def choose_parents(fitness: jax.Array, fraction: float, key: Key) -> jax.Array:
    """Whose copy each member becomes, [P]: its own, but for losers; consumes the key.

    Losers are the worst `fraction` (at least one member) and all with fitness NaN, winners as many
    of the best, of which each loser samples one.
    """
    size = len(fitness)
    count = max(1, int(fraction * size))
    order = worst_first(fitness)
    has_failed = jnp.isnan(fitness)
    loses = has_failed.at[order[:count]].set(True)
    winners = jnp.minimum(count, jnp.sum(~has_failed))
    sampled = order[size - 1 - jax.random.randint(key, (size,), 0, jnp.maximum(winners, 1))]
    return jnp.where(loses & (winners > 0), sampled, jnp.arange(size))


def explore(
    hparams: Hparams,
    bounds: Mapping[str, Range],
    perturb: tuple[float, float],
    resample_probability: float,
    key: Key,
) -> Hparams:
    """Hyperparameters [P], those in `bounds` perturbed or sampled anew; consumes the key."""
    changed = {}
    for name, key_name in zip(bounds, jax.random.split(key, len(bounds)), strict=True):
        key_draw, key_factor, key_which = jax.random.split(key_name, 3)
        value, within = getattr(hparams, name), bounds[name]
        factor = jax.random.choice(key_factor, jnp.array(perturb), value.shape)
        changed[name] = jnp.where(
            jax.random.bernoulli(key_which, resample_probability, value.shape),
            within.at(jax.random.uniform(key_draw, value.shape)),
            perturbed(within, value, factor),
        )
    return replace(hparams, **changed)


def perturbed(within: Range, value: jax.Array, factor: jax.Array) -> jax.Array:
    """Values [P] times `factor` [P] or, on the scale "linear", moved by log(factor) of the range.

    A factor would never leave 0, and would take a discount of 0.99 out of any sensible range.
    """
    if within.scale == "log":
        return within.clip(value * factor)
    return within.clip(value + jnp.log(factor) * (within.high - within.low))


def lineage(parents: np.ndarray, member: int) -> np.ndarray:
    """Where the ancestors of a member were: its place [rows] in the population at every row.

    Args:
        parents: [rows, P] the metric `population/parent` of a history, NaN where none was chosen.
        member: whose ancestors, by its place in the last row.
    """
    places = np.empty(len(parents), int)
    for row in reversed(range(len(parents))):
        places[row] = member
        if not np.isnan(parents[row, member]):
            member = int(parents[row, member])
    return places


def copied(states: State, parents: jax.Array) -> State:
    """States in which every member is a copy of its parent, but for its key and hyperparameters.

    One member at a time, so that a large replay is written in place.
    """
    is_new = parents != jnp.arange(len(parents))
    (new,) = jnp.nonzero(is_new, size=len(parents))

    def copy(i: jax.Array, parts):
        return collectives.copy_member(parts, parents[new[i]], new[i])

    parts = (states.learner, states.worker)
    learner, worker = jax.lax.fori_loop(0, jnp.sum(is_new), copy, parts)
    return replace(states, learner=learner, worker=worker)
