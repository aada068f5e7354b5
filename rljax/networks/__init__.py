"""Networks as `(init, apply)` pairs, the linen modules behind them, and action distributions."""

from rljax.networks.actor_critic import ActorCritic, actor_critic
from rljax.networks.distributions import Categorical, Head, Normal, TanhNormal, head
from rljax.networks.initializers import orthogonal
from rljax.networks.modules import (
    CNN,
    MLP,
    ActorCriticModule,
    Outputs,
    RecurrentActorCriticModule,
)
from rljax.networks.network import (
    Network,
    RunningStatistics,
    from_linen,
    network,
    normalized,
    reset_carry,
    unroll,
)

__all__ = [
    "CNN",
    "MLP",
    "ActorCritic",
    "ActorCriticModule",
    "Categorical",
    "Head",
    "Network",
    "Normal",
    "Outputs",
    "RecurrentActorCriticModule",
    "RunningStatistics",
    "TanhNormal",
    "actor_critic",
    "from_linen",
    "head",
    "network",
    "normalized",
    "orthogonal",
    "reset_carry",
    "unroll",
]
