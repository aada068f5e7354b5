"""rljax itself: the one side that does every kind of work."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import side

import rljax
from rljax import replay
from rljax.actors.rollouts import rollout, start
from rljax.agents import factory
from rljax.agents.assembly import random_policy
from rljax.envs import spaces
from rljax.envs.agents import agent_axis, joint_space
from rljax.envs.simulators import on_host
from rljax.envs.teams import as_one
from rljax.envs.wrappers import Wrapper
from rljax.errors import ceil_div
from rljax.experiments import directory
from rljax.experiments.config import Config, resolve
from rljax.experiments.experiment import build
from rljax.training.compilation import compile_training
from rljax.types import Agent, Extras, Transition

PACKAGES = ("rljax-core", "flax", "optax", "gymnax", "numpy")


def config(work) -> Config:
    """The work as `rljax train` would read it."""
    top = ("env", "agent", "total_env_steps", "actors", "driver")
    keys = {key: work[key] for key in top if key in work}
    for section in ("structure", "hparams"):
        keys |= {f"{section}.{key}": value for key, value in work[section].items()}
    return resolve(keys, {}, "the work")


def program(agent: Agent):
    """The whole of its training, from a key, or keys, to the last state and all metrics."""

    def train(key):
        return jax.lax.scan(
            lambda state, _: agent.step(state), agent.init(key), length=agent.num_iterations
        )

    return train


def last_tenth(metrics) -> float:
    """The mean return of the episodes that ended in the last tenth of the iterations."""
    tenth = ceil_div(len(metrics["charts/episodes"]), 10)
    return mean_return(metrics, slice(-tenth, None))


def regained(metrics) -> float:
    """The part of the negative return of the first iteration that is not lost in the last tenth."""
    return 1 - last_tenth(metrics) / mean_return(metrics, slice(1))


def mean_return(metrics, iterations: slice) -> float:
    """The mean return of the episodes that ended in these iterations."""
    episodes, returns = (
        np.asarray(metrics[f"charts/{name}"])[iterations]
        for name in ("episodes", "episodic_return")
    )
    return np.nansum(returns * episodes) / episodes.sum()


def answer_training(work) -> None:
    """Train as `rljax.train` does in one chunk: one seed or several, on one device or several."""
    devices, seeds = work.get("devices", 1), work["seeds"]
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)
    agent = build(config(work)) if "actors" in work else config(work).agent()
    steps = agent.env_steps(agent.num_iterations) * seeds
    key = jax.random.key(work["seed"])
    if seeds > 1:
        agent, key = rljax.vmap(agent), jax.random.split(key, seeds)
    if devices > 1:
        agent = rljax.pmap(agent, devices)

    def check(out):
        if work["agent"] == "q_learning":  # Returns while training are those of exploring, too.
            return rljax.evaluate(agent, out[0], jax.random.key(1), 1000).summary()["mean"]
        return last_tenth(out[1])

    began = time.perf_counter()
    init, chunk = compile_training(agent, key, agent.num_iterations)
    if on_host(agent.env):  # Policy and learner are compiled when they are first called.
        chunk.run(init(key), 1)
    compiling = time.perf_counter() - began

    def train(key):
        return chunk.run(init(key), agent.num_iterations)

    side.answer_compiled(train, compiling, [key], steps, check, PACKAGES)
    chunk.close()


def answer_rollouts(work) -> None:
    """Random actions, with all that a learner needs kept; the result is the mean return."""
    env = rljax.make(work["env"], **work["environment"])
    envs, length, rollouts = work["num_envs"], work["rollout_length"], work["rollouts"]
    policy = random_policy(joint_space(env, env.action_space))

    def one(loop, key):
        worker, _ = loop
        worker, batch = rollout(env, policy, lambda c, done: c, (), worker, key, length)
        last = jax.tree.map(lambda x: x[-1], batch)  # Carried, so that all of it has to be made.
        return (worker, last), (batch.reward.sum(), batch.done.sum())

    def run(key):
        key, key_start = jax.random.split(key)
        worker = start(env, (), envs, key_start)
        shapes = jax.eval_shape(
            lambda w, k: rollout(env, policy, lambda c, done: c, (), w, k, length), worker, key
        )[1]
        last = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), shapes)
        return jax.lax.scan(one, (worker, last), jax.random.split(key, rollouts))

    def check(out):
        rewards, episodes = out[1]
        return rewards.sum() / episodes.sum()

    key = jax.random.key(work["seed"])
    side.answer_program(run, [key], envs * length * rollouts, check, PACKAGES)


def answer_replay(work) -> None:
    """The cycles of a full buffer; the result is the part of samples that are what was added."""
    rows, envs, batch, cycles = (work[n] for n in ("rows", "num_envs", "batch_size", "cycles"))
    if work["prioritized"]:
        buffer = replay.prioritized(rows, batch, alpha=0.6, beta=0.4)
    else:
        buffer = replay.uniform(rows, batch)

    def step(time) -> Transition:
        """Its number is in everything: the observations, and the reward."""
        number = time.astype(jnp.float32)
        return Transition(
            obs=jnp.full((1, envs, 4), number),
            action=jnp.zeros((1, envs), jnp.int32),
            reward=jnp.full((1, envs), number),
            terminated=jnp.zeros((1, envs), bool),
            truncated=jnp.zeros((1, envs), bool),
            next_obs=jnp.full((1, envs, 4), number + 1),
            extras=Extras(),
        )

    def cycle(loop, key):
        state, time, right, _ = loop
        state = buffer.add(state, step(time))
        sample = buffer.sample(state, key)
        state = buffer.prioritize(state, sample.annotate(priority=sample.reward % 7 + 1))
        new = (sample.obs + 1 == sample.next_obs).all(-1) & (sample.reward > time - rows // envs)
        # The whole of the sample is carried, so that all of it has to be made.
        return (state, time + 1, right + new.mean(), sample), None

    full = rows // envs + 5
    fill = jax.jit(
        lambda: jax.lax.fori_loop(
            0,
            full,
            lambda time, state: buffer.add(state, step(time)),
            buffer.init(step(jnp.int32(0))),
        )
    )
    state = fill()
    sample = buffer.sample(state, jax.random.key(0))
    keys = jax.random.split(jax.random.key(work["seed"]), cycles)

    def run(state, sample, time, keys):
        return jax.lax.scan(cycle, (state, time, jnp.float32(0), sample), keys)[0]

    once, compiling = side.compiled(run, state, sample, jnp.int32(full), keys, donate_argnums=0)
    loop = (state, jnp.int32(full), jnp.float32(0), sample)

    def go_on():
        nonlocal loop
        loop = jax.block_until_ready(once(loop[0], loop[3], loop[1], keys))
        return loop[2] / cycles

    seconds, right = side.timed(go_on, side.LEAST_SECONDS)
    side.answer(cycles, seconds, right, compiling, PACKAGES)


def answer_spreading(work) -> None:
    """Training through `pmap` over one device, and plainly, in turns in one process."""
    agent = config(work).agent()
    answer_in_turns(work, {"pmap": rljax.pmap(agent, devices=1), "plain": agent})


def answer_variants(work) -> None:
    """Training as the work says, and with the structure of each variant, in turns."""
    agents = {"": config(work).agent()}
    for name, changes in work["variants"].items():
        agents[name] = config({**work, "structure": {**work["structure"], **changes}}).agent()
    answer_in_turns(work, agents)


def answer_axis(work) -> None:
    """IPPO of M agents in N environments, and PPO in M N environments of one agent, in turns."""
    together = config(work)
    env = together.env()
    count, (size,) = len(env.agents), env.observation_space.shape
    structure = {k: v for k, v in work["structure"].items() if k != "agent_index"}
    alone = {
        **work,
        "agent": "ppo",
        "total_env_steps": count * work["total_env_steps"],
        "structure": structure | {"num_envs": count * structure["num_envs"]},
    }
    single = config(alone)
    make_ppo = factory("ppo")
    ppo = make_ppo(
        Padded(as_one(rljax.make(work["env"], N=1)), size),
        total_env_steps=single.top.total_env_steps,
        hparams=make_ppo.Hparams(**single.hparams),
        **single.structure,
    )
    answer_in_turns(work, {"": together.agent(), "ppo": ppo}, score=regained)


@dataclass(frozen=True)
class Padded(Wrapper):
    """Observations of one axis, with zeros behind them: `size` numbers in all."""

    size: int

    @property
    def observation_space(self) -> spaces.Box:
        """Of any numbers."""
        return spaces.Box(-np.inf, np.inf, (self.size,))

    def _padded(self, obs):
        return jnp.pad(obs.ravel(), (0, self.size - obs.size))

    def reset(self, key):
        """A fresh episode; consumes the key."""
        state, obs = self.env.reset(key)
        return state, self._padded(obs)

    def step(self, key, state, action):
        """State, obs, reward, terminated, truncated; consumes the key."""
        state, obs, *rest = self.env.step(key, state, action)
        return state, self._padded(obs), *rest


def answer_in_turns(work, agents: dict[str, Agent], score=last_tenth) -> None:
    """Train agents in turns in one process: the first is our side, the others stand beside it.

    Their steps are those of each agent in each environment.
    """
    key, (ours, *others) = jax.random.key(work["seed"]), agents
    runs = {name: side.compiled(program(agent), key) for name, agent in agents.items()}
    seconds: dict[str, list[float]] = {name: [] for name in agents}
    results = {}
    for _ in range(work["runs"]):
        for name, (run, _) in runs.items():
            began = time.perf_counter()
            out = jax.block_until_ready(run(key))
            seconds[name].append(time.perf_counter() - began)
            results[name] = score(out[1])
    steps = {
        name: agent.env_steps(agent.num_iterations) * math.prod(agent_axis(agent.env))
        for name, agent in agents.items()
    }
    beside = {name: {"amount": steps[name], "seconds": seconds[name]} for name in others}
    # The least of all, so that none of them counts that learns nothing.
    result = min(results.values())
    side.answer(steps[ours], seconds[ours], result, runs[ours][1], PACKAGES, beside)


def answer_arithmetic(work) -> None:
    """FLOP/s of the epochs of PPO, and of products of 1024 x 1024 matrices beside them.

    An epoch's time is the difference between trainings with many epochs and with one, divided by
    their number: shuffle, gather, loss, gradient and optimizer, but not the rollout.
    """
    few, many = work["epochs"]
    key = jax.random.key(work["seed"])
    agents = {
        epochs: config({**work, "structure": {**work["structure"], "num_epochs": epochs}}).agent()
        for epochs in (few, many)
    }
    trains = {epochs: side.compiled(program(agent), key) for epochs, agent in agents.items()}
    size, products = 1024, 50
    matrices = jax.random.normal(key, (2, size, size)) / size**0.5
    multiply, _ = side.compiled(
        lambda m: jax.lax.fori_loop(0, products, lambda _, x: x @ m[1], m[0]), matrices
    )
    epochs_seconds: list[float] = []
    product_seconds: list[float] = []
    for _ in range(work["runs"]):
        taken = {}
        for epochs, (run, _) in trains.items():
            began = time.perf_counter()
            out = jax.block_until_ready(run(key))
            taken[epochs] = time.perf_counter() - began
        epochs_seconds.append(taken[many] - taken[few])
        began = time.perf_counter()
        jax.block_until_ready(multiply(matrices))
        product_seconds.append(time.perf_counter() - began)
    agent = agents[many]
    rows = agent.env_steps_per_iteration * agent.num_iterations * (many - few)
    side.answer(
        rows * flops_of_a_row(agent, work["structure"]["hidden"]) / 1e9,
        epochs_seconds,
        last_tenth(out[1]),
        trains[many][1],
        PACKAGES,
        {"matmul": {"amount": 2 * size**3 * products / 1e9, "seconds": product_seconds}},
    )


def flops_of_a_row(agent: Agent, hidden) -> int:
    """Of a gradient step, for an actor and a critic: 6 for each weight, and 2 less in layer one.

    A product of [1, I] and [I, O] is 2 I O. Each layer has one forward, one for the gradient of its
    weights and, unless it is the first, one for that of its input.
    """
    inputs, actions = int(np.prod(agent.env.observation_space.shape)), agent.env.action_space.n
    flops = 0
    for outputs in (actions, 1):
        sizes = [inputs, *hidden, outputs]
        layers = [i * o for i, o in zip(sizes, sizes[1:], strict=False)]
        flops += 6 * sum(layers) - 2 * layers[0]
    return flops


def answer_start(work) -> None:
    """Seconds from typing `rljax train` to the first metrics: with nothing compiled, and again."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Path(folder, "experiment.toml")
        experiment.write_text(config(work).toml())
        cold, _ = first_metrics(experiment, Path(folder), "cold")
        again, row = first_metrics(experiment, Path(folder), "again")
    beside = {"cold": {"amount": 1, "seconds": [cold]}}
    side.answer(1, [again], row["env_steps"], None, PACKAGES, beside)


def first_metrics(experiment: Path, folder: Path, name: str) -> tuple[float, dict]:
    """Seconds to the first row of metrics.jsonl, and that row."""
    run = folder / name
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    for variable in ("JAX_ENABLE_COMPILATION_CACHE", "JAX_COMPILATION_CACHE_DIR"):
        environment.pop(variable, None)
    command = [sys.executable, "-m", "rljax", "train", str(experiment), "--run-dir", str(run)]
    began = time.perf_counter()
    training = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        metrics = directory.RunDirectory(run).metrics
        while not (metrics.exists() and metrics.read_text().count("\n")):
            if training.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with code {training.returncode}")
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        return seconds, json.loads(metrics.read_text().splitlines()[0])
    finally:
        training.kill()
        training.wait()


KINDS = {
    "training": answer_training,
    "rollouts": answer_rollouts,
    "replay": answer_replay,
    "spreading": answer_spreading,
    "variants": answer_variants,
    "axis": answer_axis,
    "arithmetic": answer_arithmetic,
    "start": answer_start,
}

if __name__ == "__main__":
    KINDS[side.work()["kind"]](side.work())
