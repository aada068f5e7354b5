"""REINFORCE (Williams 1992, https://doi.org/10.1007/BF00992696)."""

from collections.abc import Sequence

from flax import linen as nn

from rljax import networks
from rljax.agents.assembly import check_hparams
from rljax.agents.policy_gradient import Hparams, policy_gradient
from rljax.errors import check_positive
from rljax.types import Agent, Environment, Update
from rljax.updates import gae, rewards_to_go


def reinforce(
    env: Environment,
    *,
    num_envs: int = 16,
    rollout_length: int = 128,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    baseline: bool = True,
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    network: str | nn.Module | networks.Network | networks.Pair = "auto",
    distribution: str = "normal",
    scale_images: bool = True,
    anneal_lr: bool = True,
    first: Update | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """The Monte Carlo policy gradient, one step on each rollout.

    The weight of an action is the discounted reward that followed it. With a baseline, learnt
    values are taken off, and stand for the rest of an episode that a rollout or a time limit cuts.
    Without one nothing can: steps whose episode goes on past the rollout are left out, so
    `rollout_length` should be well above an episode's length.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (of the learning rate);
            by default `total_env_steps`.
        baseline: whether to take learnt values off the returns.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "gru", "auto", a linen module, a pair `(init, apply)`, or a
            `networks.Network`, which may have a memory.
        distribution: of continuous actions: "normal" (clipped) or "tanh_normal" (squashed).
        scale_images: whether images (three axes of uint8) are divided by 255.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the numbers; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, "reinforce")
    check_positive(
        num_envs=num_envs, rollout_length=rollout_length, total_env_steps=total_env_steps
    )
    ac = networks.actor_critic(
        env,
        network,
        hidden,
        activation,
        distribution,
        scale_images=scale_images,
        agent="reinforce",
    )

    def advantage(hp: Hparams) -> Update:
        # With lambda = 1 the advantage is the return minus the value.
        return gae(ac.value, hp.gamma, 1.0) if baseline else rewards_to_go(hp.gamma)

    return policy_gradient(
        env,
        ac,
        advantage,
        hparams,
        num_envs,
        rollout_length,
        total_env_steps,
        schedule_env_steps,
        anneal_lr,
        first,
        learn_values=baseline,
    )


reinforce.Hparams = Hparams  # type: ignore[attr-defined]
