"""Weights that are set to zero: which, when, and for good."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax.errors import UsageError
from rljax.networks import RunningStatistics
from rljax.updates import chain, cubic_sparsity, gradient, pruning

KEY = jax.random.key(0)


def parameters(seed=0):
    random = np.random.default_rng(seed)

    def layer(rows, columns):
        kernel = jnp.asarray(random.normal(size=(rows, columns)), jnp.float32)
        return {"kernel": kernel, "bias": jnp.asarray(random.normal(size=columns), jnp.float32)}

    statistics = RunningStatistics(jnp.ones((2, 2)), jnp.ones((2, 2)), jnp.float32(1))
    return {"a": layer(4, 6), "b": layer(6, 3), "statistics": statistics}


def pruned(params, state, sparsity, **options):
    return pruning(jnp.float32(sparsity), **options).apply(params, state, None, KEY)


def by_numpy(params, sparsity, scope):
    kernels = {name: np.asarray(params[name]["kernel"]) for name in ("a", "b")}
    groups = [list(kernels)] if scope == "global" else [[name] for name in kernels]
    for group in groups:
        sizes = np.sort(np.concatenate([np.abs(kernels[name]).ravel() for name in group]))
        gone = sizes[: round(sparsity * sizes.size)]
        for name in group:
            kernels[name] = np.where(np.isin(np.abs(kernels[name]), gone), 0, kernels[name])
    return kernels


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_the_smallest_weights_go_and_nothing_else_changes(scope, sparsity):
    params = parameters()
    state = pruning(sparsity, scope).init(params, KEY)
    after, _, _, metrics = pruned(params, state, sparsity, scope=scope)
    for name, kernel in by_numpy(params, sparsity, scope).items():
        np.testing.assert_array_equal(after[name]["kernel"], kernel)
        np.testing.assert_array_equal(after[name]["bias"], params[name]["bias"])
    np.testing.assert_array_equal(after["statistics"].mean, params["statistics"].mean)
    zeros = sum((kernel == 0).sum() for kernel in by_numpy(params, sparsity, scope).values())
    np.testing.assert_allclose(metrics["charts/sparsity"], zeros / (24 + 18))


def test_what_is_zero_stays_zero_whatever_a_gradient_does_to_it():
    params = parameters()
    state = pruning(0.5).init(params, KEY)
    after, state, _, _ = pruned(params, state, 0.5)
    revived = jax.tree.map(lambda x: x + 100.0, after)
    for sparsity in (0.5, 0.0):
        again, _, _, _ = pruned(revived, state, sparsity)
        for name in ("a", "b"):
            np.testing.assert_array_equal(again[name]["kernel"] == 0, after[name]["kernel"] == 0)
    # Without the masks, as in a run that was resumed without them, the weights would be back.
    forgotten, _, _, _ = pruned(revived, pruning(0.5).init(params, KEY), 0.0)
    assert (forgotten["a"]["kernel"] != 0).all()


def test_a_population_is_pruned_as_its_members_are_each_by_its_own_sparsity():
    members = [parameters(0), parameters(1)]
    sparsities = [0.25, 0.75]

    def one(params, sparsity):
        update = pruning(sparsity)
        return update.apply(params, update.init(params, KEY), None, KEY)[0]

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)
    together = jax.vmap(one)(stacked, jnp.array(sparsities))
    for number, (params, sparsity) in enumerate(zip(members, sparsities, strict=True)):
        alone = one(params, sparsity)
        for x, y in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_array_equal(x, y[number])


def test_columns_and_their_biases_go_together():
    params = parameters()
    state = pruning(0.5, "layer", units=True).init(params, KEY)
    after, _, _, _ = pruned(params, state, 0.5, scope="layer", units=True)
    for name in ("a", "b"):
        kernel, bias = np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])
        norms = np.linalg.norm(kernel, axis=0)
        dead = np.argsort(norms)[: round(0.5 * norms.size)]
        assert (np.asarray(after[name]["kernel"])[:, dead] == 0).all()
        assert (np.asarray(after[name]["bias"])[dead] == 0).all()
        rest = np.delete(np.arange(norms.size), dead)
        np.testing.assert_array_equal(after[name]["kernel"][:, rest], kernel[:, rest])
        np.testing.assert_array_equal(after[name]["bias"][rest], bias[rest])


def test_behind_a_gradient_the_others_go_on_learning(make_batch):
    def loss(params, batch, key):
        return sum(jnp.sum((params[n]["kernel"] - 1.0) ** 2) for n in ("a", "b")), {}

    update = chain(gradient(loss, optax.sgd(0.1)), pruning(0.5))
    params = parameters()
    state, batch = update.init(params, KEY), make_batch(1, 1)
    for _ in range(100):
        params, state, _, _ = update.apply(params, state, batch, KEY)
    kernel = np.concatenate([np.ravel(params[n]["kernel"]) for n in ("a", "b")])
    assert (kernel == 0).sum() == 21
    np.testing.assert_allclose(kernel[kernel != 0], 1.0, rtol=1e-5)


def test_the_schedule_is_that_of_the_paper():
    progress = np.linspace(0, 1, 11)
    found = [float(cubic_sparsity(0.8, p, 0.2, 0.7)) for p in progress]
    part = np.clip((progress - 0.2) / 0.5, 0, 1)
    np.testing.assert_allclose(found, 0.8 + (0.0 - 0.8) * (1 - part) ** 3, atol=1e-6)
    assert found[0] == 0 and abs(found[-1] - 0.8) < 1e-6


def test_a_scope_that_is_not_known_is_refused():
    with pytest.raises(UsageError, match="did you mean 'layer'"):
        pruning(0.5, "layers")


def test_nothing_to_prune_is_refused():
    where = lambda params: jax.tree.map(lambda x: False, params)  # noqa: E731
    with pytest.raises(UsageError, match="`where` chooses none of the parameters"):
        pruning(0.5, where=where).init({"kernel": jnp.zeros((2, 2))}, None)
