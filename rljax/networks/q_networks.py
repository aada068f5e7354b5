"""Action values: networks whose outputs a value head reads."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax import ops
from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions
from rljax.envs.agents import check_groups
from rljax.errors import UsageError
from rljax.networks.agents import of_agents
from rljax.networks.encoding import on_observations, read, refuse_memory
from rljax.networks.layers import NoisyDense, dense
from rljax.networks.modules import ActionValues, ImplicitQModule, QModule
from rljax.networks.network import Network, Pair, from_linen, is_given, on_part
from rljax.networks.value_heads import Chosen, Estimate, ValueHead
from rljax.types import Carry, Environment, Key, Obs, Params


class QNetwork(NamedTuple):
    """Action values: a network, and the head that says what its outputs stand for."""

    net: Network
    head: ValueHead
    target: Network | None = None
    """The same network on the parameters of a target network; None where there is none."""
    mix: Callable[[Params, Chosen, Obs], Chosen] | None = None
    """(params, chosen values [..., M] of agents, observations) to those of their team [...]; None
    where there is nothing to mix."""
    target_mix: Callable[[Params, Chosen, Obs], Chosen] | None = None
    """The same on the parameters of a target network."""

    def values(
        self, params: Params, obs: Obs, carry: Carry, key: Key | None
    ) -> tuple[jax.Array, Carry]:
        """Expected values [..., A] of observations [..., ...]; with key None, without noise."""
        estimate, carry = self.net.apply(params, obs, carry, key)
        return self.expected(estimate, obs), carry

    def expected(self, estimate: Estimate, obs: Obs) -> jax.Array:
        """Expected values [..., A] of an estimate, `ops.ILLEGAL` where `obs` forbids an action."""
        return ops.only_legal(self.head.q(estimate), legal_actions(obs))

    def chosen(self, params: Params, estimate: Estimate, policy: jax.Array, obs: Obs) -> Chosen:
        """The estimate [..., *shape] of the actions that a policy [..., A] takes, mixed."""
        chosen = self.head.pick(estimate, policy)
        return self.mix(params, chosen, obs) if self.mix else chosen

    def by_target(self) -> "QNetwork":
        """The values to bootstrap from: those of the target network, or without one the same."""
        return self._replace(net=self.target, mix=self.target_mix) if self.target else self


def with_target(q: QNetwork) -> QNetwork:
    """`q` on parameters of two parts: "online", which learn, and "target", which follow them.

    Who acts and evaluates reads the first; `updates.td_target` reads the second as well, and
    `updates.target_network` moves it.
    """

    def init(key: Key) -> Params:
        params = q.net.init(key)
        # Apart from the others: one buffer cannot be donated twice.
        return {"online": params, "target": jax.tree.map(jnp.copy, params)}

    def mix(part: str) -> Callable[[Params, Chosen, Obs], Chosen] | None:
        of = q.mix
        return of and (lambda params, chosen, obs: of(params[part], chosen, obs))

    return q._replace(
        net=on_part(q.net, "online")._replace(init=init),
        target=on_part(q.net, "target"),
        mix=mix("online"),
        target_mix=mix("target"),
    )


def q_network(
    env: Environment,
    kind: str | nn.Module | Pair = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    *,
    head: ValueHead,
    dueling: bool = False,
    noisy: bool = False,
    layer_norm: bool = False,
    normalize_observations: bool = False,
    agent: str = "this agent",
    scale_images: bool = True,
    sequences: bool = False,
    names: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
) -> QNetwork:
    """The network that reads an environment's observations and values its actions.

    Args:
        env: with a Discrete action space.
        kind: "mlp", "cnn", "nature_cnn", "gru", "lstm", "min_gru" or "gtrxl" (a torso, then that
            memory of size `hidden[-1]`), "auto" (for three axes cnn, or nature_cnn where both sides
            are 36 or more; else mlp), a linen module `(features, carry) -> (estimate, carry)`, with
            features [B, ...] and an estimate [B, A, *head.shape], whose noise is the rng stream
            "noise"; or a pair `(init, apply)` on float features, as the first two of a `Network`.
            The carry is ().
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        head: what the outputs stand for.
        dueling: whether outputs are the sum of a state's value and actions' advantages.
        noisy: whether the weights of the dense layers are noisy, as `NoisyDense`.
        layer_norm: whether each layer but the last is normalised before its activation.
        normalize_observations: whether to put running statistics between the two.
        agent: who asks, for error messages.
        scale_images: whether images (three axes of uint8) are divided by 255.
        sequences: whether the agent learns from sequences, as a network with memory needs.
        names: of observations that are a Dict, the parts that are read; None for all.
        groups: of several agents, for each the number of its parameters, see `of_agents`; None for
            one agent.

    Raises:
        UsageError: for a space, kind, activation or module that does not fit, in one sentence.
    """
    check_groups(env, groups, agent)
    if not isinstance(env.action_space, spaces.Discrete):
        raise UsageError(
            f"{agent} needs a Discrete action space, not {spaces.describe(env.action_space)}"
        )
    if not sequences:
        refuse_memory(kind, agent, "r2d2, which learns from sequences")
    if isinstance(kind, Network):
        raise UsageError(
            f"{agent} needs action values, not the outputs of a Network: use a module or a pair"
        )
    num_actions = env.action_space.n
    reader = read(
        env.observation_space, kind, hidden, activation, agent, scale_images, names, "actor_obs"
    )
    if is_given(kind):
        name = type(kind).__name__ if isinstance(kind, nn.Module) else "the network"
        if dueling or noisy or layer_norm:
            raise UsageError(
                f"dueling, noisy and layer_norm are for the networks that {agent} builds: "
                f"put them into {name}"
            )
        net = from_linen(kind, reader.shape) if isinstance(kind, nn.Module) else Network(*kind)
        _check_estimate(net, head, reader.shape, num_actions, name)
    else:
        layer = NoisyDense if noisy else dense
        torso = partial(reader.torso, layer=layer, layer_norm=layer_norm)
        outputs = partial(ActionValues, num_actions, layer, dueling)
        memory = reader.memory
        module: nn.Module = QModule(torso, outputs, head.shape, memory)
        if head.implicit:
            module = ImplicitQModule(torso, outputs, head.shape[0], layer, memory=memory)
        net = from_linen(module, reader.shape, memory().carry_size if memory else 0)
    if groups is not None:
        net = of_agents(net, groups, len(reader.shape))
    return QNetwork(on_observations(reader, net, normalize_observations), head)


def _check_estimate(
    net: Network, head: ValueHead, shape: tuple[int, ...], num_actions: int, name: str
) -> None:
    """Refuse a network whose estimate of one observation is not what the head reads."""
    wanted = [(num_actions, *head.shape)] + [head.shape] * head.implicit

    def apply(key: Key):
        return net.apply(net.init(key), jnp.zeros(shape), (), None)

    made = jax.eval_shape(apply, jax.random.key(0))
    found = [array.shape for array in jax.tree.leaves(made)]
    if found != wanted or not (isinstance(made, tuple) and len(made) == 2 and made[1] == ()):
        raise UsageError(
            f"{name} gives shapes {found} for one observation, where (estimate, carry) is due, "
            f"with shapes {wanted} and the carry ()"
        )
