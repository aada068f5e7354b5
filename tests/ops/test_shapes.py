"""Arrays of unlike shapes are refused: broadcasting them would give numbers, and wrong ones."""

import jax.numpy as jnp
import pytest

from rljax import ops

T, N, M = 3, 2, 4
good, wrong = jnp.zeros((T, N)), jnp.zeros((T, 1))
ended, wrongly = jnp.zeros((T, N), bool), jnp.zeros((1, N), bool)
atoms, fractions = jnp.linspace(0.0, 1.0, M), jnp.full((N, M), 0.5)
CALLS = {
    "generalized_advantage": (good, good, wrong, ended, ended, 0.9, 0.9),
    "vtrace": (good, good, good, ended, ended, wrong, 0.9),
    "explained_variance": (good, wrong),
    "n_step_returns": (good, ended, wrongly, 0.9, 2),
    "lambda_returns": (good, wrong, ended, ended, 0.9, 0.5),
    "discounted_returns": (good, wrongly, ended, 0.9),
    "categorical_projection": (atoms, jnp.zeros((N, M + 1)), jnp.zeros(N), jnp.zeros(N)),
    "quantile_huber": (jnp.zeros((N, M)), jnp.full(M, 0.5), jnp.zeros((N, M))),
    "policy_gradient_loss": (good, wrong),
    "clipped_surrogate": (good, wrong, 0.2),
    "penalized_surrogate": (good, good, wrong, 1.0),
    "value_loss": (good, wrong),
    "clipped_value_loss": (good, wrong, good, 0.2),
}
FITTING = {
    id(wrong): good,
    id(wrongly): ended,
    id(CALLS["categorical_projection"][1]): jnp.full((N, M), 0.25),
    id(CALLS["quantile_huber"][1]): fractions,
}


@pytest.mark.parametrize("name", CALLS)
def test_unlike_shapes_are_refused_and_like_ones_taken(name):
    function, arguments = getattr(ops, name), CALLS[name]
    with pytest.raises(AssertionError, match="shape"):
        function(*arguments)
    function(*(FITTING.get(id(x), x) for x in arguments))


def test_a_batch_has_time_and_environments():
    with pytest.raises(AssertionError, match="rank"):
        ops.generalized_advantage(*[jnp.zeros((T, N, 1))] * 3, *[ended[..., None]] * 2, 0.9, 0.9)


@pytest.mark.parametrize("ends", [(T, 1), (T,), (T, N, M), (N, M)])
def test_ends_of_several_agents_are_those_of_their_environment(ends):
    rewards, of_each = jnp.zeros((T, N, M)), [jnp.zeros(ends, bool)] * 2
    with pytest.raises(AssertionError, match="shape|rank"):
        ops.generalized_advantage(*[rewards] * 3, *of_each, 0.9, 0.9)
    with pytest.raises(AssertionError, match="shape|rank"):
        ops.lambda_returns(*[rewards] * 2, *of_each, 0.9, 0.9)
