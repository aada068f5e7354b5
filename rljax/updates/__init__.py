"""The parts algorithms are made of: pure functions from experience to new parameters."""

from rljax.types import Update
from rljax.updates.advantages import gae, n_step_advantage, rewards_to_go, vtrace
from rljax.updates.agents import team_reward
from rljax.updates.composition import chain, in_parts, stateless, with_own_parameters
from rljax.updates.critics import (
    batch_statistics,
    critic_loss,
    critic_target,
    joint_critic_loss,
    smallest,
    smoothed,
    without_largest,
)
from rljax.updates.curiosity import bonus, counts, icm, rnd
from rljax.updates.delays import every
from rljax.updates.distillation import distillation_loss, kickstarting, teachers
from rljax.updates.imagination import imagined_rollouts, model_loss, model_statistics
from rljax.updates.kl import adaptive_kl
from rljax.updates.lag import remember_parameters
from rljax.updates.losses import actor_critic_loss
from rljax.updates.minibatches import epochs
from rljax.updates.normalization import (
    observation_statistics,
    reward_scaling,
    scaled_rewards,
    target_statistics,
)
from rljax.updates.optimization import clipped_adam, gradient, learning_rate
from rljax.updates.planning import dyna, prioritized_sweeping
from rljax.updates.policies import actor_loss, average, least, temperature_loss
from rljax.updates.relabelling import hindsight
from rljax.updates.self_play import (
    search_policy_loss,
    symmetric,
    value_target,
    without_states,
)
from rljax.updates.sequences import burn_in, fresh_carry, next_estimates
from rljax.updates.sparsity import cubic_sparsity, pruning
from rljax.updates.tables import (
    constant,
    double_table_target,
    harmonic,
    table_step,
    trace_step,
    visit_count,
)
from rljax.updates.target_networks import target_network
from rljax.updates.td import (
    double,
    expected,
    greedy,
    initial_priorities,
    lambda_target,
    n_step,
    q_loss,
    taken,
    td_target,
)
from rljax.updates.unrolling import reanalyse, search_target, unrolled_loss
from rljax.updates.versions import keep_versions

__all__ = [
    "Update",
    "actor_critic_loss",
    "actor_loss",
    "adaptive_kl",
    "average",
    "batch_statistics",
    "bonus",
    "burn_in",
    "chain",
    "clipped_adam",
    "constant",
    "counts",
    "critic_loss",
    "critic_target",
    "cubic_sparsity",
    "distillation_loss",
    "double",
    "double_table_target",
    "dyna",
    "epochs",
    "every",
    "expected",
    "fresh_carry",
    "gae",
    "gradient",
    "greedy",
    "harmonic",
    "hindsight",
    "icm",
    "imagined_rollouts",
    "initial_priorities",
    "in_parts",
    "joint_critic_loss",
    "kickstarting",
    "keep_versions",
    "lambda_target",
    "learning_rate",
    "least",
    "model_loss",
    "model_statistics",
    "n_step",
    "n_step_advantage",
    "next_estimates",
    "observation_statistics",
    "prioritized_sweeping",
    "pruning",
    "q_loss",
    "reanalyse",
    "remember_parameters",
    "reward_scaling",
    "rewards_to_go",
    "rnd",
    "scaled_rewards",
    "search_policy_loss",
    "search_target",
    "smallest",
    "smoothed",
    "stateless",
    "symmetric",
    "table_step",
    "taken",
    "target_network",
    "target_statistics",
    "td_target",
    "teachers",
    "team_reward",
    "temperature_loss",
    "trace_step",
    "unrolled_loss",
    "visit_count",
    "value_target",
    "vtrace",
    "with_own_parameters",
    "without_largest",
    "without_states",
]
