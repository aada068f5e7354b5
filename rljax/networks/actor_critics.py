"""A network and an action head as the functions that policy-gradient agents are made of."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax import ops
from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions
from rljax.envs.agents import check_groups
from rljax.errors import UsageError
from rljax.networks.agents import of_agents
from rljax.networks.distributions import Distribution, Head, head
from rljax.networks.encoding import Reader, on_observations, read
from rljax.networks.modules import ActorCriticModule, Outputs, RecurrentActorCriticModule
from rljax.networks.network import Features, Network, Pair, from_linen, is_given
from rljax.networks.recurrence import of_first_row, unroll
from rljax.types import Action, Batch, Carry, Environment, Key, Obs, Params


class ActorCritic(NamedTuple):
    """A stochastic policy and a value function that share parameters and a carry."""

    net: Network
    head: Head

    def policy(
        self, params: Params, obs: Obs, carry: Carry, key: Key
    ) -> tuple[Action, dict[str, Any], Carry]:
        """Sample actions [N, ...]; records raw_action and log_prob; consumes the key."""
        # Folded and not split, which costs nothing where the network has no noise.
        (outputs, _), carry = self.net.apply(params, obs, carry, jax.random.fold_in(key, 0))
        distribution = self.head.distribution(outputs)
        raw = distribution.sample(key)
        recorded = {"raw_action": raw, "log_prob": distribution.log_prob(raw)}
        return self.head.action(raw), recorded, carry

    def mode(self, params: Params, obs: Obs, carry: Carry) -> tuple[Action, Carry]:
        """The modes of the policy, actions [N, ...]."""
        distribution, carry = self.distribution(params, obs, carry)
        return self.head.action(distribution.mode()), carry

    def distribution(self, params: Params, obs: Obs, carry: Carry) -> tuple[Distribution, Carry]:
        """The policy [N, ...], without the noise of its network."""
        (outputs, _), carry = self.net.apply(params, obs, carry, None)
        return self.head.distribution(outputs), carry

    def value(
        self, params: Params, obs: Obs, carry: Carry, done: jax.Array | None = None
    ) -> tuple[jax.Array, Carry]:
        """Values [...] of observations [..., ...], each with a carry of its own, and the next ones.

        With done [L, B], of sequences: values [L, B] of observations [L, B, ...], with the carry
        [B, ...] before the first step, and the carry behind each step.
        """
        if done is None:
            (_, values), carry = self.net.apply(params, obs, carry, None)
        else:
            (_, values), carry = unroll(self.net, params, obs, carry, done)
        return values, carry

    def outputs(self, params: Params, batch: Batch) -> jax.Array:
        """The policy's outputs for a batch [T, N, K], as `unroll` gives them."""
        return self.unroll(params, batch)[1]

    def unroll(
        self, params: Params, batch: Batch, key: Key | None = None
    ) -> tuple[Distribution, jax.Array, jax.Array]:
        """Distributions, their outputs [L, B, K] and values [L, B] over sequences.

        The carry starts from what was stored with the first step and is differentiated through.
        """
        carry = of_first_row(batch.extras["carry"])
        (outputs, values), _ = unroll(self.net, params, batch.obs, carry, batch.done, key)
        return self.head.distribution(outputs), outputs, values

    def kl(self, old_outputs: jax.Array, new_outputs: jax.Array) -> jax.Array:
        """KL[old, new] in nats [...] of policies given by their outputs [..., K]."""
        old, new = self.head.distribution(old_outputs), self.head.distribution(new_outputs)
        return old.kl(new)  # type: ignore[arg-type, union-attr]


def actor_critic(
    env: Environment,
    kind: str | nn.Module | Network | Pair = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    distribution: str | Head = "normal",
    normalize_observations: bool = False,
    agent: str = "this agent",
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    critic_obs: Sequence[str] | None = None,
    critic_hidden: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
) -> ActorCritic:
    """The actor-critic for an environment's spaces; see `actor_critic_network` and `head`.

    Raises UsageError, naming `agent`, for a space that neither can handle, and for an environment
    of several agents without `groups`.
    """
    check_groups(env, groups, agent)
    action_head = head(env.action_space, distribution, agent)
    net = actor_critic_network(
        env.observation_space,
        action_head,
        kind,
        hidden,
        activation,
        normalize_observations,
        agent,
        scale_images,
        actor_obs,
        critic_obs,
        critic_hidden,
        groups,
    )
    return ActorCritic(net, action_head)


def actor_critic_network(
    space: spaces.Space,
    head: Head,
    kind: str | nn.Module | Network | Pair = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    normalize_observations: bool = False,
    agent: str = "this agent",
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    critic_obs: Sequence[str] | None = None,
    critic_hidden: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
) -> Network:
    """The actor-critic that reads a space's observations.

    Args:
        space: what it observes.
        head: what its outputs must be.
        kind: "mlp" (a torso each for policy and value), "cnn" or "nature_cnn" (one torso for
            both), "gru", "lstm", "min_gru" or "gtrxl" (a torso, then that memory of size
            `hidden[-1]`, and policy and value on it), "auto" (for three axes cnn, or nature_cnn
            where both sides are 36 or more; else mlp), a linen module with the call signature of
            `ActorCriticModule`, a pair `(init, apply)` on float features, as the first two of a
            `Network`, or a `Network`, which may be recurrent.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        normalize_observations: whether to put running statistics between the two.
        agent: who asks, for error messages.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that the policy reads; None for all.
        critic_obs: the parts that the value function reads. Where they are others, each of the two
            has a torso of its own.
        critic_hidden: sizes of the dense layers of the value function; None for `hidden`.
        groups: of several agents, for each the number of its parameters, see `of_agents`; None for
            one agent.

    Raises:
        UsageError: for a space, kind, activation or part that does not fit, in one sentence.

    Source of a critic that reads more than its policy: Pinto et al. 2018,
    https://arxiv.org/abs/1710.06542.
    """

    def reader_of(sizes: Sequence[int], names: Sequence[str] | None, setting: str) -> Reader:
        return read(space, kind, sizes, activation, agent, scale_images, names, setting)

    of_actor = reader_of(hidden, actor_obs, "actor_obs")
    of_critic = reader_of(critic_hidden or hidden, critic_obs, "critic_obs")
    torso, shape = of_actor.torso, of_actor.shape
    outputs = partial(Outputs, head.num_outputs, head.state_independent_std)
    same_view = critic_obs == actor_obs
    apart = not same_view or critic_hidden is not None
    if apart and (of_actor.memory or is_given(kind)):
        what = "a network of its own" if is_given(kind) else f"network {kind!r}"
        raise UsageError(
            f"{what} is one for policy and value of {agent}: leave out critic_hidden, and let "
            "actor_obs and critic_obs be the same"
        )
    match of_actor.kind:
        case tuple():
            net = Network(*of_actor.kind)
            _check_outputs(net, shape, head, agent)
        case nn.Module():
            net = from_linen(of_actor.kind, shape)
        case _ if of_actor.memory:
            recurrent = RecurrentActorCriticModule(torso, outputs, of_actor.memory)
            net = from_linen(recurrent, shape, of_actor.memory().carry_size)
        case _:
            shared = of_actor.kind in ("cnn", "nature_cnn") and not apart
            module = ActorCriticModule(torso, outputs, shared, of_critic.torso)
            net = from_linen(module, shape if same_view else (shape, of_critic.shape))

    if groups is not None:
        net = of_agents(net, groups, len(shape))

    def views(features: Features) -> tuple[jax.Array, jax.Array]:
        return of_actor.view(features), of_critic.view(features)

    view = of_actor.view if same_view else views
    return with_legal_logits(on_observations(of_actor, net, normalize_observations, view))


def with_legal_logits(inner: Network) -> Network:
    """`inner`, an actor-critic, whose policy never takes actions that a `MaskedObs` forbids."""

    def legal(outputs: tuple[jax.Array, jax.Array], obs: Obs) -> tuple[jax.Array, jax.Array]:
        logits, values = outputs
        return ops.only_legal(logits, legal_actions(obs)), values

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        outputs, carry = inner.apply(params, obs, carry, key)
        return legal(outputs, obs), carry

    def unroll(params: Params, obs: Obs, carry: Carry, done: jax.Array, key: Key | None):
        assert inner.unroll is not None
        outputs, carries = inner.unroll(params, obs, carry, done, key)
        return legal(outputs, obs), carries

    return inner._replace(apply=apply, unroll=unroll if inner.unroll else None)


def _check_outputs(net: Network, shape: tuple[int, ...], head: Head, agent: str) -> None:
    """Refuse functions whose outputs for one observation are not what the head reads."""

    def apply(key: Key):
        return net.apply(net.init(key), jnp.zeros((1, *shape)), net.initial_carry((1,)), key)

    found = jax.eval_shape(apply, jax.random.key(0))
    wanted = f"((outputs [..., {head.num_outputs}], values [...]), carry)"
    match found:
        case ((outputs, values), _) if outputs.shape == (1, head.num_outputs):
            if values.shape == (1,):
                return
    shapes = jax.tree.map(lambda x: x.shape, found)
    raise UsageError(
        f"the network of {agent} gives {shapes} for one observation, where {wanted} is due"
    )
