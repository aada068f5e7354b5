"""Experiments on disk: start one, go on with one, take one up again in Python."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.distributed import distribute
from rljax.envs.simulators import on_host
from rljax.errors import RunError, UsageError
from rljax.experiments import config as configs
from rljax.experiments import directory, loggers, metrics
from rljax.experiments.checkpoints import Checkpoints
from rljax.experiments.config import Config, Top
from rljax.experiments.directory import RunDirectory
from rljax.experiments.hooks import evaluating, recording, saving
from rljax.parallel import processes
from rljax.parallel.pmap import pmap
from rljax.parallel.vmap import vmap
from rljax.training.compilation import described
from rljax.training.interrupts import Interrupts
from rljax.training.loop import train
from rljax.training.rows import Hook
from rljax.types import Agent, Key, State


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: RunDirectory
    state: State
    interrupted: int | None  # the signal that ended it early


def start(
    config: Config,
    path: Path | None = None,
    command: Sequence[str] = (),
    hooks: Callable[[Agent, RunDirectory], Sequence[Hook]] = lambda agent, run: (),
    may_exist: bool = False,
    report: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Train as a config says, into a new run directory (`runs/...` by default).

    With `may_exist`, a directory that is not a run yet will do. Where several processes make one
    run, each calls this with the same config and path, and the first of them writes the directory.
    `report` is told, in a sentence, of a logger that fails.

    Raises UsageError before anything is written if the config does not fit together, RunError if
    the directory exists, NonFiniteError if training met a NaN; what was saved by then is kept.
    """
    processes.check_same("config", json.dumps(config.values()).encode())
    loggers.check(config.logging.to)
    agent = build(config)
    path = path or directory.default_path(config)
    if processes.is_first():
        directory.create(path, config, command, may_exist)
    processes.wait("for the run directory")
    return _train(config, agent, directory.find(path), keys(config), hooks, report)


def resume(
    path: str | Path,
    flags: Mapping[str, str] | None = None,
    hooks: Callable[[Agent, RunDirectory], Sequence[Hook]] = lambda agent, run: (),
    report: Callable[[str], None] = lambda sentence: None,
    config: Config | None = None,
) -> Outcome:
    """Go on with a run from its last checkpoint, bit for bit as if it had never stopped.

    Args:
        path: the run.
        flags: changes to its config; only the length of the run, that of its schedules, the number
            of devices, evaluation, checkpoints and logging may change. A run that is made longer
            keeps its schedules: what has ended, such as the annealing of the learning rate, stays
            at its end, unless `schedule_env_steps` says otherwise.
        hooks: called with agent and run; further hooks of training.
        report: told, a sentence at a time, what was found.
        config: what the config should be, changes included; by default what it was.

    Raises RunError for a run that is damaged, UsageError for a change it cannot take.
    """
    run = directory.find(path)
    before = run.load_config()
    config = _with_flags(config or before, flags or {})
    config = _with_schedule(before, config, flags or {}, report)
    _check_change(before, config, report)
    processes.check_same("config", json.dumps(config.values()).encode())
    loggers.check(config.logging.to)
    agent = build(config)
    checkpoints = Checkpoints(run.checkpoints, config.checkpoint.keep)
    state, damage = checkpoints.restore_latest(template(config, agent))
    checkpoints.close()
    for sentence in checkpoints.lost:
        report(f"warning: {sentence}")
    for sentence in damage:
        report(f"warning: {sentence}; falling back to the one before it")
    done = iterations(state)
    if processes.is_first():
        metrics.rewind(run.metrics, done)
        run.write_config(config)
    left = agent.num_iterations - done
    if left <= 0 and state is not None:
        with ExitStack() as stack:
            _open_loggers(config, run, report, stack)  # They may lack what is there.
        report(f"{run.path} is complete: {done} of {agent.num_iterations} iterations are done")
        return Outcome(run, state, None)
    report(f"resuming {run.path} at iteration {done}; {left} of {agent.num_iterations} are left")
    return _train(config, agent, run, keys(config) if state is None else state, hooks, report)


def load(path: str | Path) -> tuple[Agent, State]:
    """The agent and the latest state of a run: `agent, state = rljax.load("runs/...")`.

    A run of several seeds gives a population; one of several devices is put on one device. Raises
    RunError for what is missing or damaged.
    """
    run = directory.find(path)
    config = run.load_config()
    agent = build(config, spread=False)
    if not run.checkpoints.is_dir():
        raise RunError(f"run {path} has no checkpoint yet")
    checkpoints = Checkpoints(run.checkpoints, read_only=True)
    state, _ = checkpoints.restore_latest(template(config, agent))
    checkpoints.close()
    if state is None:
        raise RunError(f"run {path} has no checkpoint yet")
    return agent, state


def build(config: Config, spread: bool = True) -> Agent:
    """The agent of a config, or the population of its seeds, on as many devices as it says.

    Without `spread` it is on one device, whatever the config says.
    """
    agent, top = config.agent(), config.top
    wanted = (top.actors, top.driver, top.ray_address, top.parameter_server)
    usual = (Top.actors, Top.driver, Top.ray_address, Top.parameter_server)
    if on_host(agent.env) or wanted != usual:
        agent = distribute(
            agent,
            top.actors,
            top.driver,
            ray_address=top.ray_address or None,
            parameter_server=top.parameter_server or None,
        )
    several = top.num_seeds > 1
    count = top.devices or jax.device_count()
    if jax.process_count() > 1 and count != jax.device_count():
        raise UsageError(
            f"devices = {count}, but {jax.process_count()} processes have {jax.device_count()}, "
            "and none may be left out: set devices = 0"
        )
    if count == 1 or not spread:
        return vmap(agent) if several else agent
    if top.spread == "seeds":
        return pmap(vmap(agent), count)
    return vmap(pmap(agent, count)) if several else pmap(agent, count)


def keys(config: Config) -> Key:
    """The key of the run's seed, or keys [P] of the seeds that count up from it.

    So a member of a population is the run that its seed alone would have been.
    """
    top = config.top
    if top.num_seeds == 1:
        return jax.random.key(top.seed)
    return jax.vmap(jax.random.key)(top.seed + jnp.arange(top.num_seeds))


def template(config: Config, agent: Agent) -> State:
    """Structure, shapes, dtypes and placement of the run's state, without computing it."""
    return described(agent, jax.eval_shape(agent.init, keys(config)))


def _with_flags(config: Config, flags: Mapping[str, str]) -> Config:
    if not flags:
        return config
    given = {key: value for key, value in config.values().items() if value is not None}
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    return configs.resolve(given, flags)


def _with_schedule(
    before: Config, config: Config, flags: Mapping[str, str], report: Callable[[str], None]
) -> Config:
    """The config with the schedules that the run began with, unless it names others itself."""
    length = before.top.schedule_env_steps or before.top.total_env_steps
    is_given = config.top.schedule_env_steps or "schedule_env_steps" in flags
    if is_given or length == config.top.total_env_steps:
        return config
    if config.top.total_env_steps > length:
        report(
            f"schedules stay those of {length:,} environment steps, and keep their last values "
            "after that (an annealed learning rate is 0 then): --schedule-env-steps changes that"
        )
    return replace(
        config,
        top=replace(config.top, schedule_env_steps=length),
        sources={**config.sources, "schedule_env_steps": "the run before it was resumed"},
    )


def _check_change(before: Config, config: Config, report: Callable[[str], None]) -> None:
    for key, (old, new) in configs.differences(before, config).items():
        if not key.startswith(configs.RESUMABLE):
            raise UsageError(
                f"a resumed run cannot change {key} (from {old!r} to {new!r}): start a new run"
            )
        report(f"{key}: {old!r} is now {new!r}")


def _train(
    config: Config,
    agent: Agent,
    run: RunDirectory,
    begin: Key | State,
    more: Callable[[Agent, RunDirectory], Sequence[Hook]],
    report: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    interrupts = Interrupts()
    begun_at = agent.env_steps(iterations(begin))
    every = config.logging.interval_env_steps
    with ExitStack() as stack:
        checkpoints = Checkpoints(run.checkpoints, config.checkpoint.keep)
        stack.callback(checkpoints.close)
        state, _ = train(
            agent,
            begin,
            hooks=[
                evaluating(config, agent, run, begun_at),
                *([recording(run)] if processes.is_first() else []),
                *_open_loggers(config, run, report, stack),
                saving(config, agent, checkpoints, interrupts, begun_at),
                *(more(agent, run) if processes.is_first() else []),
            ],
            chunk_iterations=max(1, every // agent.env_steps_per_iteration) if every else None,
            interrupts=interrupts,
            warn=lambda sentence: report(f"warning: {sentence}"),
        )
    complete = iterations(state) >= agent.num_iterations
    return Outcome(run, state, None if complete else interrupts.received)


def _open_loggers(
    config: Config, run: RunDirectory, report: Callable[[str], None], stack: ExitStack
) -> list[Hook]:
    """The loggers of a run, up to date; before `saving`, so that no checkpoint is ahead of them."""
    if not processes.is_first():
        return []
    rows = metrics.read(run.metrics)

    def warn(sentence: str) -> None:
        report(f"warning: {sentence}")

    return [
        stack.enter_context(loggers.Logger(name, run.path, config.values(), rows, warn))
        for name in dict.fromkeys(config.logging.to)
    ]


def iterations(state: State | Key | None) -> int:
    """How many iterations a state has behind it; none for a key or nothing."""
    return int(np.max(processes.fetch(state.iteration))) if isinstance(state, State) else 0


def member(agent: Agent, config: Config, state: State, index: int) -> tuple[Agent, State]:
    """One seed of a run: the plain agent and its own state."""
    count = config.top.num_seeds
    if not 0 <= index < count:
        raise UsageError(
            f"seed number {index} is not in the run, which has {count} (0 to {count - 1})"
        )
    if count == 1:
        return agent, state
    return config.agent(), jax.tree.map(lambda x: x[index], state)


def play(agent: Agent, state: State, key: Key, max_steps: int) -> dict[str, Any]:
    """One episode step by step: env_state, obs, reward, and next_obs, each NumPy [T, ...]."""
    from rljax.envs import autoreset
    from rljax.envs.action_masks import observed

    @jax.jit
    def run(state: State, key: Key):
        key, key_reset = jax.random.split(key)
        env_state, obs = autoreset.reset(agent.env, key_reset)

        def step(loop, key):
            env_state, obs, carry, over = loop
            action, carry = agent.act(state, jax.tree.map(lambda x: x[None], obs), carry, None)
            following, next_obs, reward, terminated, truncated = autoreset.step(
                agent.env, key, env_state, action[0]
            )
            seen = {
                "env_state": following,
                "obs": observed(next_obs),
                "reward": reward,
                "over": over,
            }
            return (following, next_obs, carry, over | terminated | truncated), seen

        begin = (env_state, obs, agent.initial_carry((1,)), jnp.bool_(False))
        return jax.lax.scan(step, begin, jax.random.split(key, max_steps))[1]

    seen = jax.device_get(run(state, key))
    length = int(np.sum(~seen["over"]))
    return jax.tree.map(lambda x: x[:length], seen)
