"""AlphaZero (Silver et al. 2018, https://doi.org/10.1126/science.aar6404).

A policy and a value function guide a search, which plays against itself and is what they learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from rljax import networks, ops
from rljax.actors.planning import Estimate, planning_actor
from rljax.actors.tree_search import SearchHparams, check_search
from rljax.agents.assembly import check_hparams, off_policy
from rljax.agents.mcts import evaluated, searchable
from rljax.agents.replays import Windows, replay_of
from rljax.agents.schedule import Schedule
from rljax.envs.opponents import game_of
from rljax.errors import UsageError, check_count, check_positive
from rljax.hparams import non_negative
from rljax.types import Agent, Batch, Environment, HasSymmetries, Update
from rljax.updates import (
    actor_critic_loss,
    chain,
    fresh_carry,
    gradient,
    learning_rate,
    n_step,
    search_policy_loss,
    symmetric,
    value_target,
    without_states,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(SearchHparams):
    """The hyperparameters of AlphaZero: traced, so a sweep compiles once."""

    lr: float = non_negative(2e-3)
    """Adam's learning rate (at the start, where it is annealed)."""
    value_coef: float = non_negative(1.0)
    """Weight of the value loss."""
    weight_decay: float = non_negative(1e-4)
    """How fast weights decay: by lr x weight_decay in each gradient step."""
    max_grad_norm: float = non_negative(10.0)
    """Global norm at which gradients are clipped."""


def alphazero(
    env: Environment,
    *,
    num_simulations: int = 32,
    play_simulations: int | None = None,
    search: str = "puct",
    longest_game: int = 64,
    exploring_moves: int | None = None,
    random_moves: int = 0,
    symmetries: bool = True,
    num_envs: int = 64,
    rollout_length: int = 16,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    buffer_size: int = 65_536,
    batch_size: int = 256,
    updates_per_iteration: int = 8,
    warmup_env_steps: int = 8_192,
    max_depth: int | None = None,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    network: str | nn.Module | networks.Network | networks.Pair = "mlp",
    anneal_lr: bool = False,
    first: Update | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """Self-play with a search, whose visits the policy learns, and whose outcomes the value does.

    One network plays both sides of all games. Evaluations are against a player who moves at random;
    `rljax eval RUN --against` has others.

    Args:
        env: a zero-sum game of two players in turns, see `rljax.types.TwoPlayerGame`.
        num_simulations: nodes that are added to the tree before each move.
        play_simulations: the same where it is evaluated and plays others; None for as many.
        search: "puct", or "gumbel" (Danihelka et al. 2022), which learns with few simulations, too.
        longest_game: moves n after which the outcome of a game is estimated by the value function
            instead; of a game that ends sooner it is the outcome itself.
        exploring_moves: after so many moves of a game the best ones are played; None for no such
            bound.
        random_moves: each of so many first moves of a game is random with probability 1/2, so that
            games differ where the policy no longer doubts. Greedy play has none.
        symmetries: whether to learn from boards turned and mirrored, where the game has symmetries.
        num_envs: games N played side by side.
        rollout_length: moves T of each between updates.
        total_env_steps: how many moves to play, warm-up included; rounded up to whole iterations.
        schedule_env_steps: moves over which schedules run (of the learning rate); by default
            `total_env_steps`.
        buffer_size: moves in the replay buffer, over all games; rounded up to whole rollouts.
        batch_size: moves B sampled for an update.
        updates_per_iteration: updates after each T x N moves.
        warmup_env_steps: moves before the first update, by a search with a fresh network; at least
            `longest_game` x `num_envs`.
        max_depth: how many moves to look ahead, at most; None for no bound.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "nature_cnn", "auto", a linen module, a pair `(init, apply)`, or a
            `networks.Network` without memory.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        first: an update of your own, which is given every rollout once, before it is added to the
            replay buffer.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for a game, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, "alphazero")
    check_search(search, num_simulations)
    if play_simulations is not None:
        check_positive(play_simulations=play_simulations)
    check_positive(longest_game=longest_game)
    check_count(random_moves=random_moves)
    game = game_of(env, "alphazero")
    searched = searchable(game, "alphazero")
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
        warmup_env_steps=warmup_env_steps,
        updates_per_iteration=updates_per_iteration,
    )
    windows = Windows(longest_game, n_step_name="longest_game")
    replay = replay_of(schedule, buffer_size, batch_size, windows, False)
    ac = networks.actor_critic(evaluated(searched), network, hidden, activation, agent="alphazero")
    if ac.net.recurrent:
        raise UsageError(
            "alphazero sees all of a game, and its search carries no memory along: "
            'let network be "mlp" or "cnn"'
        )
    turns = symmetric(game) if symmetries and isinstance(game, HasSymmetries) else None

    def estimate(hp: Hparams) -> Estimate:
        return lambda params, key, states, obs, ended: ac.net.apply(params, obs, (), None)[0]

    actor = planning_actor(
        searched,
        ac.net.init,
        estimate,
        lambda hp: 1.0,
        num_simulations=num_simulations,
        kind=search,
        max_depth=max_depth,
        exploring_steps=exploring_moves,
        random_steps=random_moves,
        best_simulations=play_simulations,
    )

    def value_loss(value: jax.Array, batch: Batch) -> jax.Array:
        return ops.value_loss(value, batch.extras["target"])

    def update(hp: Hparams, progress: jax.Array) -> Update:
        loss = actor_critic_loss(ac, search_policy_loss, value_loss, hp.value_coef, 0.0)
        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = optax.chain(
            optax.clip_by_global_norm(hp.max_grad_norm),
            optax.adamw(lr, weight_decay=hp.weight_decay),
        )
        return chain(
            n_step(-1.0, longest_game, rows=1),
            value_target(ac),
            turns,
            fresh_carry(ac.net),
            gradient(loss, optimizer),
        )

    agent = off_policy(
        searched,
        actor=actor,
        update=update,
        replay=partial(replay, first_extras=("search_policy",)),
        hparams=hparams,
        schedule=schedule,
        fresh=lambda hp, progress: chain(first, without_states()),
        warmup=actor.policy(hparams, jnp.float32(0)),
    )
    return agent._replace(env=evaluated(searched))


alphazero.Hparams = Hparams  # type: ignore[attr-defined]
