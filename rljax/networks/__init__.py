"""Networks as `(init, apply)` pairs, the linen modules behind them, and action distributions."""

from rljax.networks.distributions import Categorical, Head, Normal, TanhNormal, head
from rljax.networks.initializers import orthogonal
from rljax.networks.modules import CNN, MLP, ActorCritic, Outputs, RecurrentActorCritic
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
    "Categorical",
    "Head",
    "Network",
    "Normal",
    "Outputs",
    "RecurrentActorCritic",
    "RunningStatistics",
    "TanhNormal",
    "from_linen",
    "head",
    "network",
    "normalized",
    "orthogonal",
    "reset_carry",
    "unroll",
]
