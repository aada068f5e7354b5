"""Deep Q-networks (Mnih et al. 2015, https://doi.org/10.1038/nature14236) and their extensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax import networks, updates
from rljax.actors import (
    Exploration,
    ExplorationHparams,
    exploring_actor,
    random_policy,
    recording_values,
    with_random_actions,
)
from rljax.actors import exploration as explorations
from rljax.agents.assembly import check_hparams, off_policy
from rljax.agents.curiosity import Curiosity, CuriosityHparams
from rljax.agents.replays import ReplayHparams, Windows, relabelled, replay_of
from rljax.agents.schedule import Schedule
from rljax.envs.agents import joint_space
from rljax.errors import UsageError
from rljax.hparams import fraction, non_negative
from rljax.types import Agent, Batch, Environment, Update
from rljax.updates import (
    chain,
    clipped_adam,
    fresh_carry,
    gradient,
    learning_rate,
    next_estimates,
    observation_statistics,
    q_loss,
    stateless,
    target_network,
    td,
    td_target,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(ExplorationHparams, CuriosityHparams, ReplayHparams):
    """The hyperparameters of DQN: traced, so a sweep compiles once."""

    lr: float = non_negative(2.5e-4)
    """Adam's learning rate (at the start, where it is annealed)."""
    gamma: float = fraction(0.99)
    """Discount per step."""
    tau: float = fraction(1.0)
    """How far the target network moves each time: 1 is a copy."""
    max_grad_norm: float = non_negative(10.0)
    """Global norm at which gradients are clipped."""
    adam_eps: float = non_negative(1e-5)
    """Adam's denominator offset."""
    priority_mix: float = fraction(0.9)
    """What the largest error of a sequence counts in its priority; the mean counts the rest."""


def dqn(
    env: Environment,
    *,
    num_envs: int = 10,
    rollout_length: int = 1,
    total_env_steps: int = 500_000,
    schedule_env_steps: int | None = None,
    buffer_size: int = 10_000,
    batch_size: int = 128,
    updates_per_iteration: int = 1,
    warmup_env_steps: int = 1_000,
    target_period: int = 50,
    hidden: Sequence[int] = (120, 84),
    activation: str = "relu",
    network: str | nn.Module | networks.Pair = "auto",
    double: bool = False,
    dueling: bool = False,
    n_step: int = 1,
    sequence_length: int = 1,
    burn_in: int = 0,
    overlap: int = 0,
    stored_carry: bool = True,
    rescale_values: bool = False,
    prioritized: bool = False,
    initial_priorities: bool = False,
    hindsight: int = 0,
    exploration: str | Exploration = "epsilon_greedy",
    noisy: bool = False,
    head: str | networks.ValueHead = "scalar",
    loss: str | Callable = "squared",
    num_atoms: int = 51,
    v_min: float | None = None,
    v_max: float | None = None,
    normalize_observations: bool = False,
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
    mixer: str | networks.Mixer = "none",
    anneal_lr: bool = False,
    curiosity: str = "none",
    first: Update | None = None,
    hparams: Hparams | None = None,
    agent: str = "dqn",
) -> Agent:
    """Q-learning with a network, a replay buffer and a target network.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, warm-up included; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (learning rate, exploration,
            importance weights); by default `total_env_steps`.
        buffer_size: steps in the replay buffer, over all environments; rounded up to whole
            rollouts.
        batch_size: steps, or sequences of them, B sampled for an update.
        updates_per_iteration: updates after each T x N steps.
        warmup_env_steps: random steps before the first update; rounded up to whole rollouts.
        target_period: updates between two moves of the target network.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "nature_cnn", "gru", "lstm", "min_gru" or "gtrxl" (a memory of size
            `hidden[-1]`, for sequences), "auto", a linen module or a pair `(init, apply)`.
        double: whether the online network chooses the action that the target network values.
        dueling: whether values are the sum of a state's value and actions' advantages.
        n_step: how many rewards a target sums before it bootstraps.
        sequence_length: consecutive steps L that are sampled and learnt from together.
        burn_in: steps in front of each sequence over which a network with memory is unrolled, for
            its carry alone.
        overlap: how many of its L steps a sequence shares with the next one; `rollout_length` is a
            multiple of L - overlap.
        stored_carry: whether a memory begins a sequence with the carry of who acted; else with that
            of an episode's beginning.
        rescale_values: whether the heads scalar and c51 learn values made small by `ops.rescaled`.
        prioritized: whether to sample by the size of the last error.
        initial_priorities: whether a new step has the error of who acted as its priority, instead
            of the largest so far; for prioritized = True and the scalar head.
        hindsight: for an environment with goals, how many steps ahead a sample may look for another
            goal, one that was reached there; 0 for none.
        exploration: "epsilon_greedy" (annealed), "boltzmann", "fixed_epsilons", with an epsilon for
            each environment, or "ez_greedy", which repeats each random action for a random time,
            and so gets to where single ones do not; or an `actors.Exploration`.
        noisy: whether noise in the weights explores, instead of epsilon.
        head: "scalar", or a distribution over returns: "c51", "qr" or "iqn"; or a
            `networks.ValueHead`.
        loss: of the scalar head: "squared", or "huber" for rewards of about 1 and outliers (far
            from its target it moves by the sign of errors alone, so rare terminations count
            little); or a function from errors [...] to losses [...].
        num_atoms: of a distribution: atoms (c51), quantiles (qr) or samples of them (iqn).
        v_min: the least discounted return that is possible; c51 needs it.
        v_max: the largest.
        normalize_observations: by running statistics, kept in the parameters.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that the network reads, such as
            ["state"]; by default all.
        groups: of an environment of several agents, for each the number of its parameters: iql, vdn
            and qmix set it.
        mixer: of several agents, what makes one value of theirs, for the reward of their team:
            "sum", "monotonic" (of the global state), or a `networks.Mixer`; "none" for the values
            and rewards of each agent.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        curiosity: intrinsic rewards, added to the others: "none", "counts" (of states and actions),
            "rnd" (errors in predicting a random network) or "icm" (of a model of features).
        first: an update of your own, which is given every rollout once, before it is added to the
            replay buffer (of what it writes, the fields of a step).
        hparams: the hyperparameters; `Hparams()` by default.
        agent: who this is, in error messages.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, agent)
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
        warmup_env_steps=warmup_env_steps,
        updates_per_iteration=updates_per_iteration,
    )
    windows = Windows(n_step, sequence_length, burn_in, overlap, hindsight)
    replay = replay_of(schedule, buffer_size, batch_size, windows, prioritized)
    q = networks.q_network(
        env,
        network,
        hidden,
        activation,
        dueling=dueling,
        noisy=noisy,
        head=networks.value_head(head, loss, num_atoms, v_min, v_max, rescale=rescale_values),
        normalize_observations=normalize_observations,
        scale_images=scale_images,
        agent=agent,
        sequences=sequence_length > 1,
        names=actor_obs,
        groups=groups,
    )
    if mixer != "none":
        q = networks.with_mixer(q, networks.mixing(mixer, env), agent)
    q = networks.with_target(q)
    recurrent = q.net.recurrent
    first_extras = ("carry",) if recurrent and stored_carry else ()
    actions = joint_space(env, env.action_space)
    actor = exploring = exploring_actor(exploration, q, actions, noisy)
    network_carry = explorations(exploration).network_carry
    warmup = random_policy(actions)
    if recurrent:
        warmup = with_random_actions(exploring.policy(hparams, jnp.float32(0)), actions)
    if initial_priorities:
        if not prioritized or q.head.shape or q.mix:
            raise UsageError(
                f"{agent}: initial_priorities are errors of values for a prioritized replay: they "
                'need prioritized = True, head = "scalar" and no mixer'
            )
        warmup = recording_values(warmup, q, network_carry)
        actor = exploring._replace(
            policy=lambda hp, progress: recording_values(
                exploring.policy(hp, progress), q, network_carry
            )
        )

    if hindsight and curiosity != "none":
        raise UsageError(
            f"{agent}: hindsight computes rewards anew, so intrinsic rewards would be lost: choose "
            "hindsight or curiosity"
        )
    other_goals = relabelled(env, hindsight)
    curious = Curiosity(curiosity, env, network, hidden, agent=agent)

    def of_network(params, batch: Batch, key):
        return batch.annotate(carry=network_carry(batch.extras["carry"])), {}

    def fresh(hp: Hparams, progress: jax.Array) -> Update:
        statistics = observation_statistics(q.net.encode, "online", *(("agents",) if q.mix else ()))
        return chain(
            first,
            updates.team_reward(env, agent) if q.mix else None,
            curious.as_reward(hp),
            stateless(of_network) if recurrent else None,
            td.initial_priorities(q, hp.gamma, n_step) if initial_priorities else None,
            statistics if normalize_observations else None,
        )

    def update(hp: Hparams, progress: jax.Array) -> Update:
        next_policy = td.double if double else td.greedy
        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = clipped_adam(lr, hp.max_grad_norm, hp.adam_eps)
        remember = chain(
            None if stored_carry else fresh_carry(q.net),
            updates.burn_in(q, burn_in),
            next_estimates(q),
        )
        return chain(
            other_goals(hp),
            target_network(hp.tau, target_period),
            remember if recurrent else None,
            td.n_step(hp.gamma, n_step, rows=sequence_length),
            td_target(q, next_policy),
            gradient(q_loss(q), optimizer, part="online"),
        )

    return off_policy(
        env,
        actor=actor,
        update=update,
        replay=partial(replay, first_extras=first_extras),
        hparams=hparams,
        schedule=schedule,
        fresh=fresh,
        warmup=warmup,
    )


dqn.Hparams = Hparams  # type: ignore[attr-defined]
