"""Agents over devices: their environments, or the members of a population, split between them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from rljax import collectives as axes
from rljax.envs.simulators import on_host
from rljax.errors import UsageError, check_divides
from rljax.parallel.vmap import one_each
from rljax.types import Agent, Batch, Hparams, Key, Metrics, State

ParamRule = Callable[[str, jax.ShapeDtypeStruct], Spec]
"""(path of a leaf of the learner, such as "params/params/Dense_0/kernel", its shape) to how it is
split over the axis "model"; `PartitionSpec()` for not at all."""


def pmap(
    agent: Agent,
    devices: int | Sequence[jax.Device] | np.ndarray | None = None,
    param_rule: ParamRule | None = None,
) -> Agent:
    """The agent, spread over devices: what leads its states is split between them.

    - `pmap(agent)` splits the N environments and the replay. Each device learns from its share,
      gradients are averaged over all of them, and the learner is the same everywhere: the batch is
      the one of a single device with N environments.
    - `pmap(vmap(agent))` splits the members of a population, a share on each device, with
      nothing to say to each other.
    - `vmap(pmap(agent))` is a population each of whose members is spread over all devices.

    Args:
        agent: an agent, or a population of them.
        devices: how many, or which ones; by default all, those of other hosts included. An array
            [D, M] splits environments over D, and parameters over M devices each.
        param_rule: with such an array, how parameters and what the optimizer keeps of them are
            split over the axis "model".

    Raises:
        UsageError: for devices that are not there and counts that do not divide, in one sentence.

    >>> import jax, rljax
    >>> agent = rljax.ppo(rljax.make("CartPole-v1"), num_envs=4, rollout_length=8)
    >>> state = rljax.pmap(agent, devices=1).init(jax.random.key(0))
    >>> len(state.worker.obs.sharding.device_set)
    1
    """
    if agent.placement is not None:
        raise UsageError("this agent is spread over devices already: apply pmap once")
    grid = _grid(devices)
    if (grid.ndim == 2) != (param_rule is not None):
        raise UsageError(
            "to split parameters, give both devices as an array [D, M] and a param_rule: "
            f"devices has {grid.ndim} axes and param_rule is {param_rule}"
        )
    if agent.population_axes:
        if grid.ndim == 2:
            raise UsageError("a population is split by its members: use vmap(pmap(agent, ...))")
        return _spread_members(agent, grid)
    return _spread_environments(agent, grid, param_rule)


def over_members(
    function: Callable[..., Any], devices: int | Sequence[jax.Device] | np.ndarray | None = None
) -> Callable[..., Any]:
    """A function of trees that lead with members, as one in which each device does its share.

    What it gives back leads with them, too. By default all devices take part.
    """
    mesh, split = _mesh(_grid(devices), axes.MEMBERS), Spec(axes.MEMBERS)
    return jax.shard_map(function, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)


def _spread_members(agent: Agent, grid: np.ndarray) -> Agent:
    split = NamedSharding(_mesh(grid, axes.MEMBERS), Spec(axes.MEMBERS))

    def init(keys: Key, hparams: Hparams | None = None) -> State:
        members = keys.shape[0]
        check_divides("the number of members", members, "the number of devices", grid.size)
        given = () if hparams is None else (one_each(agent.hparams, hparams, members),)
        return over_members(agent.init, grid)(keys, *given)

    def placement(states: State) -> State:
        return jax.tree.map(lambda x: split, states)

    return agent._replace(
        init=init,
        step=over_members(agent.step, grid),
        learn=over_members(agent.learn, grid),
        placement=placement,
    )


def _spread_environments(agent: Agent, grid: np.ndarray, rule: ParamRule | None) -> Agent:
    mesh = _mesh(grid, axes.ENVIRONMENTS, axes.MODEL)
    same, split, batches = Spec(), Spec(axes.ENVIRONMENTS), Spec(None, axes.ENVIRONMENTS)
    specs: Any = State(same, same, same, learner=same, worker=split)  # type: ignore[arg-type]
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    num_envs = shapes.worker.episode_length.shape[0]
    check_divides("num_envs", num_envs, "the number of devices", len(grid))

    def per_device(function, in_specs, out_specs):
        mapped = jax.shard_map(
            function,
            mesh=mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            axis_names={axes.ENVIRONMENTS},
            check_vma=False,  # With it, gradients of what is not split arrive already summed.
        )
        return jax.jit(mapped)  # Axes that are left to the compiler need one.

    def reported(state: State, metrics: Metrics) -> tuple[State, Metrics]:
        metrics = axes.pmean(metrics)
        if len(grid) > 1:
            metrics[axes.REPLICAS_DIFFER] = axes.differ(state.learner).astype(jnp.float32)
        return state, metrics

    def step_here(state: State) -> tuple[State, Metrics]:
        return reported(*agent.step(state))

    def learn_here(state: State, batch: Batch) -> tuple[State, Metrics]:
        return reported(*agent.learn(state, batch))

    def placement(state: State) -> State:
        shardings = jax.tree.map(
            lambda spec, part: jax.tree.map(lambda x: NamedSharding(mesh, spec), part),
            specs,
            state,
        )
        if rule is None:
            return shardings
        return replace(
            shardings,
            learner=jax.tree.map_with_path(
                lambda path, x: NamedSharding(
                    mesh, rule(jax.tree_util.keystr(path, simple=True, separator="/"), x)
                ),
                state.learner,
            ),
        )

    def constrained(state: State) -> State:
        """With a split learner where it belongs: the compiler would choose freely."""
        if rule is None:
            return state
        learner = jax.lax.with_sharding_constraint(state.learner, placement(state).learner)
        return replace(state, learner=learner)

    init_everywhere = per_device(agent.init, (same, same), specs)
    step_everywhere = per_device(step_here, (specs,), (specs, same))
    learn_everywhere = per_device(learn_here, (specs, batches), (specs, same))

    def init(key: Key, hparams: Hparams | None = None) -> State:
        return constrained(init_everywhere(key, agent.hparams if hparams is None else hparams))

    def step(state: State) -> tuple[State, Metrics]:
        state, metrics = step_everywhere(state)
        return constrained(state), metrics

    def learn(state: State, batch: Batch) -> tuple[State, Metrics]:
        state, metrics = learn_everywhere(state, batch)
        return constrained(state), metrics

    if on_host(agent.env):
        remember = agent.remember and per_device(agent.remember, (specs, batches), specs)
        end = agent.end_episodes and per_device(agent.end_episodes, (specs, split), specs)
        return agent._replace(
            init=init, learn=learn, remember=remember, end_episodes=end, placement=placement
        )
    spread = agent._replace(init=init, step=step, learn=learn, placement=placement)
    # Counts that do not divide are found now, and not from inside a compiled run.
    jax.eval_shape(lambda key: spread.step(spread.init(key)), jax.random.key(0))
    return spread


def _grid(devices: Any) -> np.ndarray:
    """Devices as an array [D] or [D, M]."""
    there = jax.devices()
    if devices is None:
        return np.array(there)
    if isinstance(devices, int):
        if not 1 <= devices <= len(there):
            hint = (
                f"; set JAX_NUM_CPU_DEVICES={devices} in the environment for as many of one CPU"
                if there[0].platform == "cpu" and devices > 0
                else ""
            )
            raise UsageError(f"{devices} devices are asked for, but there are {len(there)}{hint}")
        return np.array(there[:devices])
    grid = np.array(devices)
    if grid.ndim not in (1, 2) or not grid.size:
        raise UsageError(f"devices must be [D] or [D, M], not of shape {list(grid.shape)}")
    if not all(isinstance(x, jax.Device) for x in grid.flat) or len({*grid.flat}) < grid.size:
        raise UsageError("devices must be different ones out of jax.devices()")
    return grid


def _mesh(grid: np.ndarray, *names: str) -> Mesh:
    return Mesh(grid, names[: grid.ndim], axis_types=(AxisType.Auto,) * grid.ndim)
