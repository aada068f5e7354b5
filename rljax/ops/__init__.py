"""The maths under the updates: unbatched or explicitly [T, N], each with its source."""

from rljax.ops.dynamic_programming import policy_evaluation, value_iteration
from rljax.ops.exploration import (
    boltzmann,
    epsilon_greedy,
    first_reached,
    fixed_epsilons,
    greedy,
    linear_schedule,
    sample,
    sample_zeta,
)
from rljax.ops.importance_weighting import vtrace
from rljax.ops.masking import ILLEGAL, is_legal, only_legal
from rljax.ops.policy_gradient import (
    adapted_kl_coef,
    approximate_kl,
    clipped_surrogate,
    clipped_value_loss,
    penalized_surrogate,
    policy_gradient_loss,
    value_loss,
)
from rljax.ops.recurrences import linear_recurrence
from rljax.ops.returns import explained_variance, generalized_advantage
from rljax.ops.shuffle import permutation
from rljax.ops.td import (
    categorical_projection,
    discounted_returns,
    huber,
    lambda_returns,
    n_step_returns,
    quantile_huber,
    rescaled,
    td_target,
    two_hot,
    unscaled,
)

__all__ = [
    "ILLEGAL",
    "adapted_kl_coef",
    "approximate_kl",
    "boltzmann",
    "categorical_projection",
    "clipped_surrogate",
    "clipped_value_loss",
    "discounted_returns",
    "epsilon_greedy",
    "explained_variance",
    "first_reached",
    "fixed_epsilons",
    "generalized_advantage",
    "greedy",
    "huber",
    "is_legal",
    "lambda_returns",
    "linear_recurrence",
    "linear_schedule",
    "n_step_returns",
    "only_legal",
    "penalized_surrogate",
    "permutation",
    "policy_evaluation",
    "policy_gradient_loss",
    "quantile_huber",
    "rescaled",
    "sample",
    "sample_zeta",
    "td_target",
    "two_hot",
    "unscaled",
    "value_iteration",
    "value_loss",
    "vtrace",
]
