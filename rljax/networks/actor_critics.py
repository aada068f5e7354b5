"""A network and an action head as the functions that policy-gradient agents are made of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from rljax.networks.distributions import Distribution, Head, head
from rljax.networks.network import Network, Pair, network, unroll
from rljax.types import Action, Actor, Batch, Carry, Environment, Key, Obs, Params


class ActorCritic(NamedTuple):
    """A stochastic policy and a value function that share parameters and memory."""

    net: Network
    head: Head

    @property
    def recurrent(self) -> bool:
        """Whether it remembers anything between steps."""
        return bool(jax.tree.leaves(jax.eval_shape(lambda: self.net.initial_carry((1,)))))

    @property
    def actor(self) -> Actor:
        """What a rollout needs to know of it."""
        return Actor(
            self.net.init,
            lambda hparams, progress: self.policy,
            self.mode,
            self.net.initial_carry,
        )

    def policy(
        self, params: Params, obs: Obs, carry: Carry, key: Key
    ) -> tuple[Action, dict[str, Any], Carry]:
        """Sample actions [N, ...]; records raw_action and log_prob; consumes the key."""
        (outputs, _), carry = self.net.apply(params, obs, carry)
        distribution = self.head.distribution(outputs)
        raw = distribution.sample(key)
        recorded = {"raw_action": raw, "log_prob": distribution.log_prob(raw)}
        return self.head.action(raw), recorded, carry

    def mode(self, params: Params, obs: Obs, carry: Carry) -> tuple[Action, Carry]:
        """The likeliest actions [N, ...]."""
        (outputs, _), carry = self.net.apply(params, obs, carry)
        return self.head.action(self.head.distribution(outputs).mode()), carry

    def value(self, params: Params, obs: Obs, carry: Carry) -> tuple[jax.Array, Carry]:
        """Values [...] of observations [..., ...], each with its own memory."""
        (_, values), carry = self.net.apply(params, obs, carry)
        return values, carry

    def outputs(self, params: Params, batch: Batch) -> jax.Array:
        """The policy's outputs for a batch [T, N, K], given the memory stored with each step."""
        return self.net.apply(params, batch.obs, batch.extras["carry"])[0][0]

    def unroll(self, params: Params, batch: Batch) -> tuple[Distribution, jax.Array, jax.Array]:
        """Distributions, their outputs [L, B, K] and values [L, B] over sequences.

        Memory starts from what was stored with the first step and is differentiated through.
        """
        carry = jax.tree.map(lambda x: x[0], batch.extras["carry"])
        outputs, values = unroll(self.net, params, batch.obs, carry, batch.done)
        return self.head.distribution(outputs), outputs, values

    def kl(self, old_outputs: jax.Array, new_outputs: jax.Array) -> jax.Array:
        """KL[old, new] in nats [...] of policies given by their outputs [..., K]."""
        old, new = self.head.distribution(old_outputs), self.head.distribution(new_outputs)
        return old.kl(new)  # type: ignore[arg-type]


def actor_critic(
    env: Environment,
    kind: str | nn.Module | Network | Pair = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    distribution: str = "normal",
    normalize_observations: bool = False,
    agent: str = "this agent",
    scale_images: bool = True,
) -> ActorCritic:
    """The actor-critic for an environment's spaces; see `network` and `head` for the arguments.

    Raises UsageError, naming `agent`, for a space that neither can handle.
    """
    action_head = head(env.action_space, distribution, agent)
    net = network(
        env.observation_space,
        action_head,
        kind,
        hidden,
        activation,
        normalize_observations,
        agent,
        scale_images,
    )
    return ActorCritic(net, action_head)
