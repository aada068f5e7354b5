import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.types import Update
from rljax.updates import adaptive_kl

KEY = jax.random.key(0)
TARGET = 0.01


@pytest.mark.parametrize(
    "moved, factor", [(0.0, 0.5), (TARGET / 2, 0.5), (TARGET, 1.0), (2 * TARGET, 2.0)]
)
def test_the_coefficient_follows_how_far_the_policy_moved(make_batch, moved, factor):
    def move(params, state, batch, key):
        metrics = {"coef seen": batch.extras["kl_coef"], "old seen": batch.extras["old_outputs"]}
        return params + moved, state + 1, batch, metrics

    update = adaptive_kl(
        Update(lambda params, key: params, move),
        outputs=lambda params, batch: params + jnp.zeros((*batch.reward.shape, 3)),
        kl=lambda old, new: (new - old).mean(-1),
        target_kl=TARGET,
        initial_kl_coef=3.0,
    )
    params = jnp.float32(5)
    state = update.init(params, KEY)
    assert state == (3.0, 5.0)
    for step in range(2):
        params, state, batch, metrics = update.apply(params, state, make_batch(4, 2), KEY)
        coef = 3.0 * factor**step
        np.testing.assert_allclose(metrics["coef seen"], np.full((4, 2), coef))
        np.testing.assert_allclose(metrics["old seen"], np.full((4, 2, 3), 5 + step * moved))
        np.testing.assert_allclose(metrics["losses/kl"], moved, atol=1e-5)
        np.testing.assert_allclose(metrics["losses/kl_coef"], coef)
        assert state == (coef * factor, 6.0 + step)
        assert {"kl_coef", "old_outputs"} <= set(batch.extras)
