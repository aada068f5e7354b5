"""REINFORCE (Williams 1992, https://doi.org/10.1007/BF00992696)."""

from typing import Any

from rljax.agents import policy_gradient as base
from rljax.agents.policy_gradient import Hparams
from rljax.agents.variants import variant_of
from rljax.networks import ActorCritic
from rljax.types import Agent, Environment, Update
from rljax.updates import gae, rewards_to_go


@variant_of(base.policy_gradient, *base.CHOSEN)
def reinforce(
    env: Environment, *, rollout_length: int = 128, baseline: bool = True, **arguments: Any
) -> Agent:
    """The Monte Carlo policy gradient, one step on each rollout.

    The weight of an action is the discounted reward that followed it. With a baseline, learnt
    values are taken off, and stand for the rest of an episode that a rollout or a time limit cuts.
    Without one nothing can: steps whose episode goes on past the rollout are left out, so
    `rollout_length` should be well above an episode's length.

    Args:
        baseline: whether to take learnt values off the returns.
    """

    def advantage(ac: ActorCritic, hp: Hparams) -> Update:
        # With lambda = 1 the advantage is the return minus the value.
        return gae(ac.value, hp.gamma, 1.0) if baseline else rewards_to_go(hp.gamma)

    return base.policy_gradient(
        env,
        advantage=advantage,
        learn_values=baseline,
        agent="reinforce",
        rollout_length=rollout_length,
        **arguments,
    )


reinforce.Hparams = Hparams  # type: ignore[attr-defined]
