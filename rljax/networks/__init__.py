"""Networks as `(init, apply)` pairs, the linen modules behind them, and what their outputs mean."""

from rljax.networks.actor_critics import ActorCritic, actor_critic, actor_critic_network
from rljax.networks.actors_and_critics import ActorAndCritics, Choices, actor_and_critics
from rljax.networks.agents import of_agents
from rljax.networks.curiosity import (
    Dynamics,
    Numbered,
    RandomDistillation,
    dynamics,
    numbered,
    random_distillation,
    value_network,
)
from rljax.networks.distributions import (
    Categorical,
    Head,
    Normal,
    RelaxedCategorical,
    TanhNormal,
    head,
)
from rljax.networks.ensembles import EnsembleModel, ensemble_model
from rljax.networks.initializers import orthogonal
from rljax.networks.latent_models import LatentModel, latent_model
from rljax.networks.layers import CNN, MLP, NatureCNN, NoisyDense
from rljax.networks.mixers import Mixer, mixing, monotonic, total, with_mixer
from rljax.networks.modules import (
    ActorCriticModule,
    Outputs,
    Quantiles,
    RecurrentActorCriticModule,
)
from rljax.networks.network import Network, Pair, from_linen
from rljax.networks.normalization import RunningStatistics, normalized, with_normalized_values
from rljax.networks.q_networks import QNetwork, q_network, with_target
from rljax.networks.quantization import (
    activation_ranges,
    in_precision,
    quantized,
    quantized_weights,
)
from rljax.networks.recurrence import of_first_row, reset_carry, unroll
from rljax.networks.tables import q_table
from rljax.networks.units import hidden_kernels, without_dead_units
from rljax.networks.value_heads import (
    ValueHead,
    categorical,
    implicit_quantile,
    quantile,
    scalar,
    value_head,
)

__all__ = [
    "CNN",
    "NatureCNN",
    "MLP",
    "Mixer",
    "ActorAndCritics",
    "ActorCritic",
    "ActorCriticModule",
    "Categorical",
    "Choices",
    "Dynamics",
    "EnsembleModel",
    "Head",
    "LatentModel",
    "Network",
    "NoisyDense",
    "Normal",
    "Numbered",
    "Outputs",
    "Pair",
    "QNetwork",
    "Quantiles",
    "RandomDistillation",
    "RecurrentActorCriticModule",
    "RelaxedCategorical",
    "RunningStatistics",
    "TanhNormal",
    "ValueHead",
    "activation_ranges",
    "actor_and_critics",
    "actor_critic",
    "actor_critic_network",
    "categorical",
    "dynamics",
    "ensemble_model",
    "from_linen",
    "head",
    "in_precision",
    "hidden_kernels",
    "implicit_quantile",
    "latent_model",
    "mixing",
    "monotonic",
    "normalized",
    "numbered",
    "of_agents",
    "of_first_row",
    "orthogonal",
    "q_network",
    "q_table",
    "quantile",
    "quantized",
    "quantized_weights",
    "random_distillation",
    "reset_carry",
    "scalar",
    "total",
    "unroll",
    "value_head",
    "value_network",
    "with_mixer",
    "with_normalized_values",
    "with_target",
    "without_dead_units",
]
