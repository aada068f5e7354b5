import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.actors import Node, SearchHparams, search
from rljax.errors import UsageError

N, A, DEPTH = 3, 3, 2
REWARDS = np.array([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0], [6.0, 0.0, 0.0]])  # of steps behind step 1
PARAMS = jnp.asarray(REWARDS)


def node(place, legal=None):
    return Node(jnp.zeros((N, A)), jnp.zeros(N), place, legal)


def model(params, key, action, place):
    """The first action chooses a row of the table, and the second one is paid what stands there."""
    first, steps = place
    reward = jnp.where(steps == 1, params[first, action], 0.0)
    place = jnp.where(steps == 0, action, first), steps + 1
    return reward, jnp.where(steps == 1, 0.0, 1.0), node(place)


def found(kind, legal=None, best=True, budget=256, **hparams):
    start = jnp.zeros(N, jnp.int32), jnp.zeros(N, jnp.int32)
    hparams = SearchHparams(**hparams)
    look = jax.jit(
        lambda key: search(
            PARAMS, key, node(start, legal), model, hparams,
            num_simulations=budget, kind=kind, best=best,
        )
    )  # fmt: skip
    return look(jax.random.key(0))


@pytest.mark.parametrize("kind", ["puct", "gumbel"])
def test_a_search_finds_what_pays_two_steps_ahead_and_takes_no_illegal_action(kind):
    free = found(kind)
    np.testing.assert_array_equal(free.action, [2, 2, 2])
    np.testing.assert_array_equal(np.argmax(free.weights, -1), [2, 2, 2])
    np.testing.assert_allclose(free.weights.sum(-1), 1.0, rtol=1e-5)
    assert (free.value > 1.0).all() and (free.value < 6.0).all()
    legal = jnp.array([[1, 1, 0], [1, 0, 1], [1, 0, 0]], bool)
    bound = found(kind, legal, best=False, dirichlet_fraction=1.0, gumbel_scale=0.1)
    assert jnp.take_along_axis(legal, bound.action[:, None], 1).all()
    assert (jnp.where(legal, 0.0, bound.weights) == 0).all()


def test_what_a_search_cannot_use_is_refused():
    with pytest.raises(UsageError, match="num_simulations must be a whole number of at least 1"):
        found("puct", budget=0)
    with pytest.raises(UsageError, match="search 'pcut' is not known; did you mean 'puct'"):
        found("pcut")


def test_without_mctx_its_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs mctx: pip install 'rljax-core\[search\]'"):
        found("puct")
