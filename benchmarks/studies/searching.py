"""Simulations per second of MuZero's search, beside mctx called as in its own examples.

    python benchmarks/studies/searching.py --num-envs 64 --simulations 32

Both search `--steps` times from the same observations of CartPole, with one network, one budget and
the exploration that `rljax.muzero` has by default. "acting" is the first half of an iteration: the
policy of the agent, and the environments that it acts in. "search" is the policy alone. "mctx" is
`mctx.muzero_policy` on the functions of the network, with nothing of rljax around it. The three
take turns, and each figure is the median of its times.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import click
import jax
import jax.numpy as jnp
import mctx

import rljax
from rljax import networks
from rljax.actors import rollout

HIDDEN: dict[str, Any] = {"hidden": (64, 64), "model_hidden": (64,), "state_size": 64}


def programs(num_envs: int, simulations: int, steps: int) -> dict[str, tuple[Callable, tuple]]:
    """By name, what to time, and what it is given."""
    env = rljax.make("CartPole-v1")
    sizes: dict[str, Any] = {"num_envs": num_envs, "num_simulations": simulations, **HIDDEN}
    agent = rljax.muzero(env, **sizes, batch_size=32)
    head = networks.value_head("c51", v_min=-300.0, v_max=300.0, rescale=True)
    model = networks.latent_model(env, **HIDDEN, head=head)
    state = jax.jit(agent.init)(jax.random.key(0))
    hparams, obs = agent.hparams, state.worker.obs
    keys = jax.random.split(jax.random.key(1), steps)

    def recurrent(params, key, action, embedding):
        embedding, reward = model.imagine(params, embedding, action)
        logits, value = model.predict(params, embedding)
        return mctx.RecurrentFnOutput(
            reward=head.q(reward),
            discount=jnp.full(num_envs, hparams.gamma),
            prior_logits=logits,
            value=head.q(value),
        ), embedding

    def plain(params, keys):
        def step(_, key):
            embedding = model.represent(params, obs)
            logits, value = model.predict(params, embedding)
            root = mctx.RootFnOutput(prior_logits=logits, value=head.q(value), embedding=embedding)
            found = mctx.muzero_policy(params, key, root, recurrent, simulations)
            summary = found.search_tree.summary()
            return None, (found.action, found.action_weights, summary.value)

        return jax.lax.scan(step, None, keys)[1]

    def searched(state, keys):
        def step(_, key):
            action, recorded, _ = agent.policy(state, obs, (), key)
            return None, (action, recorded)

        return jax.lax.scan(step, None, keys)[1]

    def acting(state, key):
        policy = partial(agent.policy, state)

        def with_params(params, obs, carry, key):
            return policy(obs, carry, key)

        return rollout(env, with_params, lambda carry, done: carry, None, state.worker, key, steps)

    return {
        "mctx": (jax.jit(plain), (state.learner.params, keys)),
        "search": (jax.jit(searched), (state, keys)),
        "acting": (jax.jit(acting), (state, keys[0])),
    }


def in_turns(
    programs: dict[str, tuple[Callable, tuple]], work: Sequence[int], repeats: int, unit: str
) -> None:
    """Time programs that take turns, and print the work that each does in a second, by the median.

    The first program is what the others are compared with.
    """
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, (run, arguments) in programs.items():
            begin = time.perf_counter()
            jax.block_until_ready(run(*arguments))
            if turn:  # The first one compiles.
                times[name].append(time.perf_counter() - begin)
    medians = map(median, times.values())
    speed = {name: n / seconds for name, n, seconds in zip(times, work, medians, strict=True)}
    first, *_ = speed
    print(f"| | {unit} | beside {first} |\n|---|---|---|")
    for name, found in speed.items():
        print(f"| {name} | {found:,.0f} | {found / speed[first]:.2f} |")


@click.command(help=__doc__.splitlines()[0])
@click.option("--num-envs", default=64, show_default=True)
@click.option("--simulations", default=32, show_default=True)
@click.option("--steps", default=16, show_default=True)
@click.option("--repeats", default=11, show_default=True)
def main(num_envs: int, simulations: int, steps: int, repeats: int) -> None:
    """Time each of them, and print the table."""
    print(f"{num_envs} environments, {simulations} simulations, {jax.devices()[0].platform}")
    built = programs(num_envs, simulations, steps)
    in_turns(built, [num_envs * simulations * steps] * len(built), repeats, "simulations/s")


if __name__ == "__main__":
    main()
