"""A policy and an ensemble of critics that value its actions, in parameters of named parts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax import collectives, ops
from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions
from rljax.envs.agents import agent_axis, check_groups, joint_space
from rljax.envs.simulators import zeros
from rljax.errors import UsageError, check_positive
from rljax.networks.agents import of_agents
from rljax.networks.central_critics import critics_of_agents, joint_actions
from rljax.networks.critics import Critic, one_critic
from rljax.networks.distributions import Categorical, Distribution, Head, head_for_critics
from rljax.networks.encoding import read, read_action, refuse_memory
from rljax.networks.layers import MLP
from rljax.networks.modules import Outputs, PolicyModule
from rljax.networks.network import Features, Network, Pair, from_linen, is_given, viewed
from rljax.networks.normalization import fresh_statistics, standardized
from rljax.networks.value_heads import Estimate, ValueHead
from rljax.types import Action, Batch, Carry, Environment, Key, Obs, Params


class Choices(NamedTuple):
    """The K actions that a policy may take in each of [...] states, and how likely they are.

    In a Discrete space that is every action. Of a Box, and of a relaxed head, it is one, a sample,
    which stands for all.
    """

    action: Action | None  # [..., A]; None for all of a Discrete space
    probability: jax.Array  # [..., K]
    log_prob: jax.Array  # [..., K], of a Box the log-density of the action scaled to [-1, 1]
    cost: jax.Array | float = 0.0  # [...], what the policy pays for the size of its logits

    @property
    def entropy(self) -> jax.Array:
        """The entropy of the policy in nats [...], or from a sample an estimate of it."""
        return -jnp.sum(self.probability * self.log_prob, axis=-1)


class ActorAndCritics(NamedTuple):
    """A policy and E critics. Parameters are a dict of parts.

    "actor" and "critic" learn. "target_actor" and "target_critic" follow them, where asked for.
    The leaves of critics lead with E. With normalised observations there is a part "statistics",
    one for all networks. Of several agents, observations, actions and estimates have an axis M of
    agents behind all others that lead.
    """

    init: Callable[[Key], Params]
    actor: Network  # features to policy outputs, on a part of the parameters
    critic: Critic
    head: Head
    value: ValueHead
    encode: Callable[[Obs], Features]
    space: spaces.Discrete | spaces.Box  # of actions
    trained_critic: Callable[[Params, Features, Any], tuple[Estimate, Any]] | None = None
    """The critic in a loss: batches are normalised by their own statistics; besides, the running
    ones as they are then, {} for critics without."""
    joint: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """(actions of agents, those of the others) to what their critics read; None where critics read
    the first alone."""
    logit_penalty: jax.Array | float = 0.0
    """What a relaxed policy pays for its logits, times the mean of their squares."""

    @property
    def values_all(self) -> bool:
        """Whether critics value all actions of a Discrete space, K, or one action, K = 1."""
        return isinstance(self.space, spaces.Discrete) and not self.head.relaxed

    def features(self, params: Params, obs: Obs) -> Features:
        """What the networks read a view of, standardised where there are statistics."""
        features = self.encode(obs)
        if "statistics" in params:
            return standardized(params["statistics"], features)
        return features

    def distribution(self, params: Params, obs: Obs, part: str = "actor") -> Distribution:
        """The policy's distributions over raw actions [...] by a part of the parameters."""
        return self.head.distribution(self._outputs(params, obs, part))

    def estimate(
        self,
        params: Params,
        obs: Obs,
        action: Action | None,
        part: str = "critic",
        which: Any = None,
        others: Action | None = None,
    ) -> Estimate:
        """What critics make of actions [..., A], or [...] of a Discrete space: [E, ..., 1, *shape].

        Where they value all actions it is [E, ..., A, *shape], whatever `action` is.

        Args:
            part: "critic" or "target_critic".
            which: a slice or indices of some critics; None for all.
            others: the actions [..., M, A] or [..., M] that critics of several agents, where they
                read those of all, read of the agents that are not their own; None for `action`.
        """
        critics = params[part]
        if which is not None:
            critics = jax.tree.map(lambda x: x[which], critics)
        features, read = self.features(params, obs), self._read(action)
        if self.joint is not None:
            of_others = read if others is None else self._read(others)
            assert read is not None and of_others is not None, "these value one action"
            read = self.joint(read, of_others)
        # All critics are one network: products of matrices become one product of E of them.
        return jax.vmap(lambda critic: self.critic(critic, features, read))(critics)

    def trained_estimate(
        self, params: Params, obs: Obs, action: Action | None
    ) -> tuple[Estimate, Any]:
        """As `estimate`, in a loss: also the running statistics of normalised batches, then."""
        features, read = self.features(params, obs), self._read(action)
        critic = self.trained_critic
        assert critic is not None, "actor_and_critics makes one"
        return jax.vmap(lambda weights: critic(weights, features, read))(params["critic"])

    def _read(self, action: Action | None) -> jax.Array | None:
        """Actions scaled to [-1, 1], or one-hot, as critics read them; None if they value all."""
        return None if self.values_all else read_action(self.space, jnp.asarray(action))

    def choices(self, params: Params, obs: Obs, key: Key, part: str = "actor") -> Choices:
        """What the policy may do in states [T, N]; differentiable, and consumes the key.

        A sample does not depend on how N is divided among devices.
        """
        outputs = self._outputs(params, obs, part)
        distribution = self.head.distribution(outputs)
        if isinstance(distribution, Categorical):
            log_prob = jax.nn.log_softmax(distribution.logits)
            return Choices(None, jnp.exp(log_prob), log_prob)
        keys = collectives.row_keys(key, *outputs.shape[:2])
        sample = jax.vmap(jax.vmap(lambda out, k: self.head.distribution(out).sample(k)))
        raw = sample(outputs, keys)
        log_prob = distribution.log_prob(raw)[..., None]
        if not self.head.relaxed:
            return Choices(self.head.action(raw), jnp.ones_like(log_prob), log_prob)
        logits = jnp.where(ops.is_legal(outputs), outputs, 0.0)
        cost = self.logit_penalty * jnp.mean(jnp.square(logits), axis=-1)
        return Choices(raw, jnp.ones_like(log_prob), log_prob, cost)

    def taken(self, batch: Batch) -> jax.Array:
        """Which of the K actions that critics value was taken: 0 or 1, [T, N, K]."""
        if self.values_all:
            return jax.nn.one_hot(batch.action, self.space.n)  # type: ignore[union-attr]
        return jnp.ones((*batch.reward.shape, 1))

    def policy(
        self, params: Params, obs: Obs, carry: Carry, key: Key
    ) -> tuple[Action, dict[str, Any], Carry]:
        """Sample actions [N, ...] of observations [N, ...]; records nothing; consumes the key."""
        return self.head.action(self.distribution(params, obs).sample(key)), {}, carry

    def mode(self, params: Params, obs: Obs, carry: Carry) -> tuple[Action, Carry]:
        """The modes of the policy, actions [N, ...]."""
        return self.head.action(self.distribution(params, obs).mode()), carry

    def _outputs(self, params: Params, obs: Obs, part: str) -> jax.Array:
        outputs = self.actor.apply(params[part], self.features(params, obs), (), None)[0]
        return ops.only_legal(outputs, legal_actions(obs))


def actor_and_critics(
    env: Environment,
    kind: str | nn.Module | Pair = "auto",
    hidden: Sequence[int] = (256, 256),
    activation: str = "relu",
    *,
    value: ValueHead,
    num_critics: int = 1,
    critic_kind: str | nn.Module | Pair = "auto",
    stochastic: bool = True,
    targets: Sequence[str] = ("critic",),
    parts: Mapping[str, Callable[[Key], Any]] | None = None,
    layer_norm: bool = False,
    batch_norm: bool = False,
    normalize_observations: bool = False,
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    critic_obs: Sequence[str] | None = None,
    critic_hidden: Sequence[int] | None = None,
    relaxation: str | None = None,
    groups: Sequence[int] | None = None,
    central: bool = False,
    agent: str = "this agent",
) -> ActorAndCritics:
    """The policy and the critics for an environment's spaces.

    Args:
        env: with a Box of one axis and finite bounds as its space of actions; of a stochastic
            policy it may be Discrete.
        kind: of the policy: "mlp", "cnn", "nature_cnn", "auto" (by the observations), a linen
            module `(features, carry) -> (outputs [..., O], carry)` or a pair `(init, apply)`, as
            the first two of a `Network`. The carry is ().
        hidden: sizes of the dense layers, of each network.
        activation: one of tanh, relu, elu, gelu, silu.
        value: what the outputs of critics stand for.
        num_critics: E. They are alike, and begin with weights of their own.
        critic_kind: of a critic: a name as for `kind`, a linen module
            `(features, action) -> estimate [..., K, *value.shape]`, or a pair: `init(key)` and
            `apply(params, features, action)`. Actions [..., A] are scaled to [-1, 1], and K is 1;
            in a Discrete space the action is None, and K is the number of actions.
        stochastic: whether the policy is a distribution, over a Box that of `networks.head` of kind
            "tanh_normal", with densities of actions scaled to [-1, 1]; or one action.
        targets: parts of the parameters that are followed by a part "target_...".
        parts: further parts by their names, each from a key to what it begins as.
        layer_norm: whether each layer of a critic but the last is normalised before its activation.
        batch_norm: whether what enters a layer of a critic is normalised over batches, see
            `modules.BatchRenorm`. Losses use `trained_estimate`.
        normalize_observations: whether to put running statistics in front of all networks.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that the policy reads; None for all.
        critic_obs: the parts that the critics read.
        critic_hidden: sizes of the dense layers of each critic; None for `hidden`.
        relaxation: of a policy that is not stochastic, in a Discrete space: how gradients pass its
            samples, see `distributions.relaxed`; None to refuse such a space.
        groups: of several agents, for each the number of its parameters, see `of_agents`; None for
            one agent.
        central: whether their critics read what all agents observe and do.
        agent: who asks, for error messages.

    Raises:
        UsageError: for a space, kind, activation or part that does not fit, in one sentence.
    """
    check_groups(env, groups, agent)
    check_positive(num_critics=num_critics)
    if value.implicit:
        raise UsageError(f'{agent} has no fractions to sample: use head "scalar", "c51" or "qr"')
    for given in (kind, critic_kind):
        refuse_memory(given, agent, "ppo, which learns from sequences")
    if isinstance(critic_kind, Network) or ((layer_norm or batch_norm) and is_given(critic_kind)):
        raise UsageError(
            f"a critic_network of one's own for {agent} is a linen module or a pair, and "
            "layer_norm and batch_norm are for the critics that it builds itself"
        )
    space = env.action_space
    action_head = head_for_critics(space, stochastic, relaxation, agent)
    assert not isinstance(space, spaces.Dict), "no head is for these"

    reader_of = partial(
        read,
        env.observation_space,
        activation=activation,
        agent=agent,
        scale_images=scale_images,
    )
    of_actor = reader_of(kind, hidden, names=actor_obs, setting="actor_obs")
    of_critic = reader_of(
        critic_kind, critic_hidden or hidden, names=critic_obs, setting="critic_obs"
    )
    outputs = partial(Outputs, action_head.num_outputs, False)
    match of_actor.kind:
        case tuple():
            actor = Network(*of_actor.kind)
        case nn.Module():
            actor = from_linen(of_actor.kind, of_actor.shape)
        case _:
            actor = from_linen(PolicyModule(of_actor.torso, outputs), of_actor.shape)
    if batch_norm and of_critic.torso.func is not MLP:  # type: ignore[attr-defined]
        raise UsageError(
            f"{agent} normalises the layers of an MLP, and not those of {of_critic.kind!r}: give "
            "it critic_network 'mlp', or use sac"
        )
    torso = partial(of_critic.torso, layer_norm=layer_norm)
    torso = partial(torso, batch_norm=True) if batch_norm else torso
    match space:
        case spaces.Box():
            size, count = space.shape[0], 1
        case _:
            size, count = (space.n, 1) if action_head.relaxed else (0, space.n)
    if groups is None:
        init_critic, critic, trained_critic = one_critic(of_critic, torso, size, count, value)
    else:
        actor = of_agents(actor, groups, len(of_actor.shape))
        of_agent = critics_of_agents(of_critic, torso, size, value, groups, central, agent)
        init_critic, critic, trained_critic = *of_agent, None

    further = parts or {}

    def init(key: Key) -> Params:
        key_actor, key_critics, *keys = jax.random.split(key, 2 + len(further))
        critics = jax.vmap(init_critic)(jax.random.split(key_critics, num_critics))
        params: dict[str, Any] = {"actor": actor.init(key_actor), "critic": critics}
        # Apart from the others: one buffer cannot be donated twice.
        params |= {f"target_{part}": jax.tree.map(jnp.copy, params[part]) for part in targets}
        begins = zip(further.items(), keys, strict=True)
        params |= {name: begin(key_part) for (name, begin), key_part in begins}
        if normalize_observations:
            params["statistics"] = fresh_statistics(of_actor.features)
        return params

    actor = viewed(actor, of_actor.view)
    made = ActorAndCritics(
        init,
        actor,
        critic,
        action_head,
        value,
        of_actor.encode,
        space,
        trained_critic,
        joint_actions if central else None,
    )
    _check_outputs(made, env, agent)
    return made


def _check_outputs(made: ActorAndCritics, env: Environment, agent: str) -> None:
    """Refuse networks whose outputs for one observation are not what the heads read."""
    actions = joint_space(env, made.space)

    def shapes(key: Key):
        params = made.init(key)
        obs = jax.tree.map(lambda x: x[None], zeros(joint_space(env, env.observation_space)))
        action = jnp.zeros((1, *actions.shape), actions.dtype)
        return made._outputs(params, obs, "actor"), made.estimate(params, obs, action)

    outputs, estimate = jax.eval_shape(shapes, jax.random.key(0))
    leading = agent_axis(env)
    count = made.space.n if made.values_all else 1  # type: ignore[union-attr]
    found = outputs.shape[1:], estimate.shape[2:]
    wanted = (*leading, made.head.num_outputs), (*leading, count, *made.value.shape)
    if found != wanted:
        raise UsageError(
            f"the networks of {agent} give policy outputs {found[0]} and an estimate {found[1]} "
            f"for one observation, where {wanted[0]} and {wanted[1]} are due"
        )
