"""Units that are always zero, taken out of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import networks
from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.updates import pruning

KEY = jax.random.key(0)


def network(hidden, critic_hidden=None):
    space, head = spaces.Box(-1.0, 1.0, (5,)), networks.head(spaces.Discrete(3))
    return networks.actor_critic_network(
        space, head, hidden=hidden, critic_hidden=critic_hidden, normalize_observations=True
    )


@pytest.mark.long
def test_the_smaller_network_computes_what_the_pruned_one_does():
    large = network((8, 6))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape)), large.init(KEY))
    params["statistics"] = large.init(KEY)["statistics"]
    update = pruning(0.5, "layer", networks.hidden_kernels("MLP_0"), units=True)
    params = update.apply(params, update.init(params, KEY), None, KEY)[0]
    smaller, sizes = networks.without_dead_units(params, "MLP_0", "Outputs_0")
    assert sizes == (4, 3)
    small = network(sizes, (8, 6))
    shapes = jax.tree.map(jnp.shape, small.init(KEY))
    assert jax.tree.map(jnp.shape, smaller) == shapes
    obs = jnp.asarray(random.normal(size=(9, 5)))
    found, expected = (
        net.apply(p, obs, (), None)[0] for net, p in ((small, smaller), (large, params))
    )
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_a_unit_without_weights_but_with_a_bias_is_alive_and_one_unit_always_stays():
    params = network((4,)).init(KEY)
    layer = params["network"]["params"]["MLP_0"]["Dense_0"]
    layer["kernel"], layer["bias"] = jnp.zeros((5, 4)), jnp.array([0.0, 1.0, 0.0, 2.0])
    assert networks.without_dead_units(params, "MLP_0", "Outputs_0")[1] == (2,)
    layer["bias"] = jnp.zeros(4)
    assert networks.without_dead_units(params, "MLP_0", "Outputs_0")[1] == (1,)


def test_parameters_without_such_layers_are_refused():
    with pytest.raises(UsageError, match="no MLP 'MLP_0'"):
        networks.without_dead_units({"params": {"Dense_0": {}}}, "MLP_0", "Outputs_0")
