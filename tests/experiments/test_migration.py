import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import RunError
from rljax.experiments import migration
from rljax.experiments.checkpoints import Checkpoints
from rljax.types import Learner, State

RENAMES = (
    (r"^learner/update_state/target/", "learner/params/target/"),
    (r"^learner/params/(?!target/)", "learner/params/online/"),
)


def state(params, update_state) -> State:
    hparams = {"lr": jnp.ones(())}
    return State(jnp.int32(3), jax.random.key(5), hparams, Learner(params, update_state), ())


OLD = state(
    {"kernel": jnp.arange(3.0)},
    {"target": {"kernel": -jnp.arange(3.0)}, "count": jnp.int32(7)},
)
NEW = state(
    {"online": {"kernel": jnp.arange(3.0)}, "target": {"kernel": -jnp.arange(3.0)}},
    {"count": jnp.int32(7)},
)


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(OLD)
    yield checkpoints
    checkpoints.close()


def test_a_path_goes_through_all_renames_in_order():
    assert migration.renamed("learner/params/kernel", RENAMES) == "learner/params/online/kernel"
    assert migration.renamed("key", RENAMES) == "key"


def test_leaves_are_found_under_their_earlier_names(saved, monkeypatch):
    monkeypatch.setattr(migration.restore, "__defaults__", (RENAMES,))
    restored = saved.restore(jax.eval_shape(lambda: NEW), 3)
    assert jax.tree.structure(restored) == jax.tree.structure(NEW)
    assert restored.key.dtype == NEW.key.dtype
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(NEW), strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(*map(jax.random.key_data, (restored.key, NEW.key)))


def test_names_that_no_rename_explains_are_refused(saved):
    with pytest.raises(RunError, match="another version of rljax: it has no learner/params/online"):
        saved.restore(jax.eval_shape(lambda: NEW), 3)
