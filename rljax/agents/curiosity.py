"""Curiosity as one word: intrinsic rewards in front of the chain of any agent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rljax import networks, updates
from rljax.envs import spaces
from rljax.errors import UsageError, check_known
from rljax.hparams import fraction, non_negative
from rljax.networks.memory import MEMORIES
from rljax.networks.network import is_given
from rljax.types import Batch, Environment, Key, Metrics, Params, Update
from rljax.updates.curiosity import REWARD

KINDS = ("none", "counts", "rnd", "icm")
LAMBDA = 0.95  # of the advantages of intrinsic rewards


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CuriosityHparams:
    """The hyperparameters of curiosity; nothing reads them without it."""

    curiosity_coef: float = non_negative(1.0)
    """What an intrinsic reward of 1 is worth."""
    curiosity_gamma: float = fraction(0.99)
    """Discount per step of intrinsic rewards, where they are scaled or have values of their own."""
    curiosity_lr: float = non_negative(1e-3)
    """Adam's learning rate of the networks of curiosity."""


class Curiosity:
    """Curiosity of one kind about one environment; "none" adds nothing to a chain.

    Raises UsageError for a kind that is not known, or does not fit the spaces.
    """

    def __init__(
        self,
        kind: str,
        env: Environment,
        network: Any = "auto",
        hidden: Sequence[int] = (64, 64),
        num_minibatches: int = 1,
        agent: str = "this agent",
    ):
        check_known("curiosity", kind, KINDS)
        self._minibatches = num_minibatches
        self._estimate: Callable[[Any], Update] | None = None
        if kind == "none":
            return
        # Networks like those of the agent, but for a carry, and for modules of one's own.
        network = "auto" if is_given(network) or network in MEMORIES else network
        hidden, space, actions = hidden or (64,), env.observation_space, env.action_space
        self._value = networks.value_network(space, network, hidden, agent=agent)
        if kind == "counts":
            if not isinstance(actions, spaces.Discrete):
                raise UsageError(
                    f"{agent}: curiosity 'counts' counts Discrete actions, not "
                    f"{spaces.describe(actions)}: use 'rnd' or 'icm'"
                )
            states, number = networks.numbered(space, agent), actions.n
            self._estimate = lambda hp: updates.counts(states, number)
        elif kind == "rnd":
            distillation = networks.random_distillation(space, network, hidden, agent=agent)
            self._estimate = lambda hp: updates.rnd(
                distillation, hp.curiosity_gamma, optax.adam(hp.curiosity_lr), num_minibatches
            )
        else:
            dynamics = networks.dynamics(space, actions, network, hidden, agent=agent)
            self._estimate = lambda hp: updates.chain(
                updates.icm(dynamics, optax.adam(hp.curiosity_lr), num_minibatches=num_minibatches),
                updates.reward_scaling(hp.curiosity_gamma, reward=REWARD, episodic=False),
            )

    def as_reward(self, hp: Any) -> Update | None:
        """An update that adds intrinsic rewards to rewards, for one stream of values."""
        if self._estimate is None:
            return None
        return updates.chain(self._estimate(hp), updates.bonus(hp.curiosity_coef))

    def beside(self, advantage: Callable[[Any, Any], Update]) -> Callable[[Any, Any], Update]:
        """`advantage`, an update of (actor-critic, hparams), with that of intrinsic rewards added.

        Intrinsic rewards have a value function of their own, whose returns do not end with
        episodes.

        Source: Burda et al. 2019, section 2.3, https://arxiv.org/abs/1810.12894.
        """
        estimate = self._estimate
        if estimate is None:
            return advantage

        def both(actor_critic: Any, hp: Any) -> Update:
            return updates.chain(
                estimate(hp),
                updates.with_own_parameters(self._value.init, self._intrinsic_advantage(hp)),
                advantage(actor_critic, hp),
                _added(hp.curiosity_coef),
            )

        return both

    def _intrinsic_advantage(self, hp: Any) -> Update:
        """Of parameters of the intrinsic value alone: writes advantages, then learns the value."""

        def value(params: Params, obs, carry=(), done=None):
            return self._value.apply(params, obs, (), None)[0], carry

        def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
            error = value(params, batch.obs)[0] - batch.extras["intrinsic_target"]
            mean = 0.5 * jnp.mean(jnp.square(error))
            return mean, {"losses/intrinsic_value_loss": mean}

        return updates.chain(
            updates.gae(
                value,
                hp.curiosity_gamma,
                LAMBDA,
                reward=REWARD,
                prefix="intrinsic_",
                episodic=False,
            ),
            updates.epochs(
                updates.gradient(loss, optax.adam(hp.curiosity_lr)), 1, self._minibatches
            ),
        )


def _added(coef) -> Update:
    """Add coef x intrinsic_advantage to advantage."""

    def apply(params: Params, batch: Batch, key: Key):
        total = batch.extras["advantage"] + coef * batch.extras["intrinsic_advantage"]
        return batch.annotate(advantage=total), {}

    return updates.stateless(apply)
