"""Critics of several agents, which read what all of them observe and do, or one of them.

Source: Lowe et al. 2017, eq. 6, https://arxiv.org/abs/1706.02275.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax.errors import UsageError
from rljax.networks.agents import of_agents
from rljax.networks.critics import Critic, one_critic
from rljax.networks.encoding import Reader
from rljax.networks.layers import MLP
from rljax.networks.network import Features, Network
from rljax.networks.value_heads import Estimate, ValueHead
from rljax.types import Carry, Key, Params


def critics_of_agents(
    reader: Reader,
    torso: Callable[[], nn.Module],
    size: int,
    value: ValueHead,
    groups: Sequence[int],
    central: bool,
    agent: str = "this agent",
) -> tuple[Callable[[Key], Params], Critic]:
    """The critics of M agents: fresh parameters, and what they make of features and actions.

    Features are [..., M, ...], actions what `joint_actions` gives, or [..., M, A] where critics are
    not central. Estimates are [..., M, 1, *shape].

    Args:
        reader: of the features of one agent.
        torso: of a critic that is not given.
        size: A, how many numbers the action of an agent has.
        value: what outputs stand for.
        groups: for each agent the number of its critic, see `of_agents`.
        central: whether a critic reads what all agents observe and do, or only its own agent.
        agent: who asks, for error messages.

    Raises UsageError for central critics that are convolutional networks.
    """
    if central:
        reader, size = _joint_reader(reader, groups, agent), len(groups) * size
    # Each agent's view is made of all features, before agents are apart.
    init, apply, _ = one_critic(reader._replace(view=lambda seen: seen), torso, size, 1, value)

    def of_one(params: Params, inputs: tuple, carry: Carry, key: Key | None):
        return apply(params, *inputs), carry

    net = of_agents(Network(init, of_one), groups, len(reader.shape))

    def critic(params: Params, features: Features, action: jax.Array | None) -> Estimate:
        return net.apply(params, (reader.view(features), action), (), None)[0]

    return net.init, critic


def _joint_reader(reader: Reader, groups: Sequence[int], agent: str) -> Reader:
    """A reader that shows each agent what all observe: features [..., M, F] as [..., M, M x F].

    Where agents share parameters, the place of the agent follows, one-hot.
    """
    if isinstance(reader.kind, str) and reader.torso.func is not MLP:  # type: ignore[attr-defined]
        raise UsageError(
            f"a critic of {agent} reads what all agents observe side by side: give it "
            f"critic_network 'mlp', not {reader.kind!r}"
        )
    count, rank, size = len(groups), len(reader.shape), math.prod(reader.shape)
    shared = len(set(groups)) < count

    def view(features: Features) -> jax.Array:
        seen = reader.view(features)
        leading = seen.shape[: seen.ndim - rank - 1]
        of_all = seen.reshape(*leading, 1, count * size)
        parts = [of_all, jnp.eye(count)] if shared else [of_all]
        wide = [jnp.broadcast_to(x, (*leading, count, x.shape[-1])) for x in parts]
        return jnp.concatenate(wide, axis=-1)

    return reader._replace(view=view, shape=(count * size + count * shared,))


def joint_actions(own: jax.Array, others: jax.Array) -> jax.Array:
    """What each of M central critics reads of actions [..., M, A]: those of all, [..., M, M x A].

    The action of its own agent is that of `own`, and those of the other agents are of `others`.
    """
    count = own.shape[-2]
    is_own = jnp.eye(count, dtype=bool)[..., None]
    joint = jnp.where(is_own, own[..., None, :, :], others[..., None, :, :])
    return joint.reshape(*own.shape[:-1], -1)
