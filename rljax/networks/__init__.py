"""Networks as `(init, apply)` pairs, the linen modules behind them, and what their outputs mean."""

from rljax.networks.actor_critics import ActorCritic, actor_critic
from rljax.networks.distributions import Categorical, Head, Normal, TanhNormal, head
from rljax.networks.initializers import orthogonal
from rljax.networks.modules import (
    CNN,
    MLP,
    ActorCriticModule,
    NoisyDense,
    Outputs,
    Quantiles,
    RecurrentActorCriticModule,
)
from rljax.networks.network import (
    Network,
    Pair,
    RunningStatistics,
    from_linen,
    network,
    normalized,
    reset_carry,
    unroll,
)
from rljax.networks.tables import q_table
from rljax.networks.values import (
    QNetwork,
    ValueHead,
    categorical,
    implicit_quantile,
    q_network,
    quantile,
    scalar,
    value_head,
)

__all__ = [
    "CNN",
    "MLP",
    "ActorCritic",
    "ActorCriticModule",
    "Categorical",
    "Head",
    "Network",
    "NoisyDense",
    "Normal",
    "Outputs",
    "Pair",
    "QNetwork",
    "Quantiles",
    "RecurrentActorCriticModule",
    "RunningStatistics",
    "TanhNormal",
    "ValueHead",
    "actor_critic",
    "categorical",
    "from_linen",
    "head",
    "implicit_quantile",
    "network",
    "normalized",
    "orthogonal",
    "q_network",
    "q_table",
    "quantile",
    "reset_carry",
    "scalar",
    "unroll",
    "value_head",
]
