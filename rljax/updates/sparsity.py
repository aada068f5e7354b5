"""Weights that are set to zero for good, while the others go on learning."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rljax.errors import UsageError, check_known
from rljax.networks.quantization import kernels
from rljax.types import Batch, Key, Params, Update, UpdateState

SCOPES = ("global", "layer")


def cubic_sparsity(final, progress, begin=0.0, end=1.0) -> jax.Array:
    """The fraction of weights that should be zero [], when the part `progress` of a run is done.

    It is 0 until `begin`, rises fast at first, and is `final` from `end` on.

    Source: Zhu and Gupta 2017, eq. 1, https://arxiv.org/abs/1710.01878, from a sparsity of 0.
    """
    rising = jnp.clip((progress - begin) / jnp.maximum(end - begin, 1e-9), 0.0, 1.0)
    done = jnp.where(progress >= end, 1.0, rising)
    return final * (1.0 - (1.0 - done) ** 3)


def pruning(
    sparsity,
    scope: str = "global",
    where: Callable[[Params], Any] = kernels,
    units: bool = False,
) -> Update:
    """Set the weights of the smallest magnitude to zero: behind `gradient`, after each step of it.

    What was set to zero stays zero. Its state is the masks, bools like the weights, so a run that
    is resumed has the same zeros. Metric `charts/sparsity`, the fraction of weights that are zero.

    Args:
        sparsity: the fraction [] of the weights to be zero by now, such as of `cubic_sparsity`.
        scope: "global" compares all weights with each other, "layer" those of each kernel.
        where: parameters to a tree of bools: what may be set to zero. By default all kernels.
        units: whether whole columns [..., I, :] of a kernel, with the biases beside it, are set to
            zero, by their Euclidean norm: then the units that they compute are zero, if their
            activation maps 0 to 0, and `networks.without_dead_units` takes them out.

    Raises UsageError for a scope that is not known, and where nothing is chosen.

    Source: Han et al. 2015, section 3, https://arxiv.org/abs/1506.02626; of units: Li et al. 2017,
    section 3.1, https://arxiv.org/abs/1608.08710.
    """
    check_known("scope", scope, SCOPES)

    def chosen(params: Params) -> list[bool]:
        return jax.tree.leaves(where(params))

    def init(params: Params, key: Key) -> UpdateState:
        """Masks [...] of what is chosen, and () for all else, in the order of the leaves."""
        if not any(chosen(params)):
            raise UsageError(
                "pruning: `where` chooses none of the parameters, so nothing is pruned"
            )
        return tuple(
            jnp.ones(_scores(x, units).shape, bool) if prunes else ()
            for prunes, x in zip(chosen(params), jax.tree.leaves(params), strict=True)
        )

    def apply(params: Params, masks: UpdateState, batch: Batch, key: Key):
        paths, structure = jax.tree_util.tree_flatten_with_path(params)
        leaves = {jax.tree_util.keystr(path): x for path, x in paths}
        of_leaf = {
            name: mask
            for name, mask in zip(leaves, masks, strict=True)
            if not isinstance(mask, tuple)
        }
        scores = {
            name: jnp.where(mask, _scores(leaves[name], units), -1.0)
            for name, mask in of_leaf.items()
        }
        if scope == "global":
            least = _least_kept(jnp.concatenate([jnp.ravel(x) for x in scores.values()]), sparsity)
            kept = {name: of_leaf[name] & (x >= least) for name, x in scores.items()}
        else:
            kept = {
                name: of_leaf[name] & (x >= _least_kept(jnp.ravel(x), sparsity))
                for name, x in scores.items()
            }
        for name, mask in kept.items():
            leaves[name] = jnp.where(mask, leaves[name], 0.0)
            bias = name.replace("'kernel'", "'bias'")
            if units and bias in leaves and bias != name:
                leaves[bias] = jnp.where(mask[..., 0, :], leaves[bias], 0.0)
        masks = tuple(kept.get(name, ()) for name in leaves)
        total = sum(mask.size for mask in kept.values())
        zeros = sum(jnp.sum(~mask) for mask in kept.values()) / max(total, 1)
        params = jax.tree_util.tree_unflatten(structure, list(leaves.values()))
        return params, masks, batch, {"charts/sparsity": jnp.asarray(zeros, jnp.float32)}

    return Update(init, apply)


def _scores(x: jax.Array, units: bool) -> jax.Array:
    """What is compared: magnitudes [..., I, O], or norms [..., 1, O] of columns."""
    return jnp.linalg.norm(x, axis=-2, keepdims=True) if units else jnp.abs(x)


def _least_kept(scores: jax.Array, sparsity) -> jax.Array:
    """The smallest score [] among those that stay, when the fraction `sparsity` of them goes."""
    count = jnp.round(sparsity * scores.size).astype(jnp.int32)
    order = jnp.append(jnp.sort(scores), jnp.inf)
    return order[jnp.clip(count, 0, scores.size)]
