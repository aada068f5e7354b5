"""The maths under the updates: unbatched or explicitly [T, N], each with its source."""

from rljax.ops.policy_gradient import (
    adapted_kl_coef,
    approximate_kl,
    clipped_surrogate,
    clipped_value_loss,
    penalized_surrogate,
    value_loss,
)
from rljax.ops.returns import explained_variance, generalized_advantage
from rljax.ops.shuffle import permutation

__all__ = [
    "adapted_kl_coef",
    "approximate_kl",
    "clipped_surrogate",
    "clipped_value_loss",
    "explained_variance",
    "generalized_advantage",
    "penalized_surrogate",
    "permutation",
    "value_loss",
]
