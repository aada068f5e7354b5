"""Positions per second of AlphaZero's self-play, beside a loop written as in pgx's example.

    python benchmarks/studies/self_play.py --num-envs 64 --simulations 32

The example is `examples/alphazero/train.py` of https://github.com/sotetsuk/pgx. All play connect
four with the network, the number of games and of simulations, and Gumbel's search. "pgx" is the
loop of the example on pgx's game, with JAX's own convolution, as Haiku's layers in the example.
"pgx, layers of rljax" is the same loop with the layers of rljax. "rljax, pgx/connect_four" is the
agent's policy and rollout on the same game, and "rljax" on the game of rljax, both compiled as
`rljax.train` compiles. They take turns, and each figure is the median. How deep a tree grows, and
so how long a search takes, is up to the network: all have the same parameters.
"""

from collections.abc import Callable
from functools import partial

import click
import jax
import jax.numpy as jnp
import mctx
import pgx
from pgx.experimental import auto_reset
from searching import in_turns

import rljax
from rljax import networks
from rljax._cpu import unrolled
from rljax.actors import rollout
from rljax.envs.opponents import Against
from rljax.envs.states import WithState
from rljax.networks import reset_carry
from rljax.types import Params

HIDDEN = (128,)


def network() -> networks.Network:
    """What plays in all of them."""
    game = Against(rljax.make("pgx/connect_four"))
    return networks.actor_critic(game, "cnn", HIDDEN, "relu").net


def plain(params: Params, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same logits [N, 7] and values [N], by the functions of JAX that Haiku's layers call."""
    layers = params["params"]
    torso = layers["CNN_0"]
    kernel, bias = (torso["Conv3x3_0"]["Dense_0"][name] for name in ("kernel", "bias"))
    x = observation.astype(jnp.float32)
    kernel = kernel.reshape(3, 3, x.shape[-1], -1)
    axes = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=axes)
    x = jax.nn.relu(x + bias).reshape(len(x), -1)
    dense, out, value = torso["MLP_0"]["Dense_0"], layers["Outputs_0"]["Dense_0"], layers["value"]
    x = jax.nn.relu(x @ dense["kernel"] + dense["bias"])
    values = x @ value["kernel"] + value["bias"]
    return x @ out["kernel"] + out["bias"], values[:, 0]


def of_rljax(params: Params, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Its logits and values by its own layers."""
    return network().apply(params, observation, (), None)[0]


def example(
    forward: Callable, params: Params, num_envs: int, simulations: int, steps: int
) -> tuple[Callable, tuple]:
    """Self-play as in the example, and what it is given."""
    env = pgx.make("connect_four")

    def recurrent(params, key, action, state):
        player = state.current_player
        state = jax.vmap(env.step)(state, action)
        logits, value = forward(params, state.observation)
        logits = logits - jnp.max(logits, axis=-1, keepdims=True)
        logits = jnp.where(state.legal_action_mask, logits, jnp.finfo(logits.dtype).min)
        return mctx.RecurrentFnOutput(
            reward=state.rewards[jnp.arange(num_envs), player],
            discount=jnp.where(state.terminated, 0.0, -1.0),
            prior_logits=logits,
            value=jnp.where(state.terminated, 0.0, value),
        ), state

    def play(params, key):
        def step(state, key):
            key_search, key_reset = jax.random.split(key)
            logits, value = forward(params, state.observation)
            found = mctx.gumbel_muzero_policy(
                params=params,
                rng_key=key_search,
                root=mctx.RootFnOutput(prior_logits=logits, value=value, embedding=state),
                recurrent_fn=recurrent,
                num_simulations=simulations,
                invalid_actions=~state.legal_action_mask,
                qtransform=mctx.qtransform_completed_by_mix_value,
                gumbel_scale=1.0,
            )
            player, seen = state.current_player, state.observation
            keys = jax.random.split(key_reset, num_envs)
            state = jax.vmap(auto_reset(env.step, env.init))(state, found.action, keys)
            reward = state.rewards[jnp.arange(num_envs), player]
            return state, (seen, found.action_weights, reward, state.terminated)

        key, key_begin = jax.random.split(key)
        state = jax.vmap(env.init)(jax.random.split(key_begin, num_envs))
        return jax.lax.scan(step, state, jax.random.split(key, steps))[1]

    return jax.jit(play), (params, jax.random.key(1))


def ours(
    game: str, params: Params, num_envs: int, simulations: int, steps: int
) -> tuple[Callable, tuple]:
    """The first half of an iteration of the agent, from fresh games, and what it is given."""
    env = rljax.make(game)
    agent = rljax.alphazero(
        env,
        num_envs=num_envs,
        num_simulations=simulations,
        search="gumbel",
        network="cnn",
        hidden=HIDDEN,
        longest_game=2,
        warmup_env_steps=2 * num_envs,
        rollout_length=2,
    )
    state = jax.jit(agent.init)(jax.random.key(0))
    state = state.replace(learner=state.learner.replace(params=params))

    def play(state, key):
        def policy(params, obs, carry, key):
            return agent.policy(state, obs, carry, key)

        restart = partial(reset_carry, agent)
        return rollout(WithState(env), policy, restart, None, state.worker, key, steps)[1]

    given = state, jax.random.key(1)
    tuned = unrolled(play)
    return jax.jit(tuned, compiler_options=rljax.compiler_options(tuned, *given)), given


@click.command(help=__doc__.splitlines()[0])
@click.option("--num-envs", default=64, show_default=True)
@click.option("--simulations", default=32, show_default=True)
@click.option("--steps", default=16, show_default=True)
@click.option("--repeats", default=7, show_default=True)
@click.option("--seed", default=0, show_default=True, help="of the network")
def main(num_envs: int, simulations: int, steps: int, repeats: int, seed: int) -> None:
    """Time each of them, and print the table."""
    print(f"{num_envs} games, {simulations} simulations, {jax.devices()[0].platform}")
    given = network().init(jax.random.key(seed)), num_envs, simulations, steps
    programs = {
        "pgx": example(plain, *given),
        "pgx, layers of rljax": example(of_rljax, *given),
    }
    for name, game in {
        "rljax, pgx/connect_four": "pgx/connect_four",
        "rljax": "ConnectFourGame",
    }.items():
        programs[name] = ours(game, *given)
    in_turns(programs, [num_envs * steps] * len(programs), repeats, "positions/s")


if __name__ == "__main__":
    main()
