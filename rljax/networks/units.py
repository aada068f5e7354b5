"""Networks from which units that are always zero are taken out."""

from typing import Any

import jax
import numpy as np

from rljax.errors import UsageError


def hidden_kernels(torso: str):
    """`where` of `updates.pruning`: the kernels of the dense layers inside the module `torso`.

    Their columns are the hidden units of an MLP; the layers that read it are outside of it.
    """

    def where(params: Any) -> Any:
        def of(path: Any, x: jax.Array) -> bool:
            names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
            return torso in names and names[-1] == "kernel"

        return jax.tree_util.tree_map_with_path(of, params)

    return where


def without_dead_units(params: Any, torso: str, reader: str) -> tuple[Any, tuple[int, ...]]:
    """Parameters without the units of an MLP whose weights and bias are zero, and the sizes left.

    The network computes what it did, if its activation maps 0 to 0, as tanh, relu, elu, gelu and
    silu do. One unit of a layer stays where all are dead.

    Args:
        params: linen's variables, as NumPy or JAX arrays: `{"params": {...}}`, at any depth.
        torso: the name of the `MLP` in them, such as "MLP_0", with layers "Dense_0", "Dense_1", ...
        reader: the name of the module behind it, whose first dense layer reads the last of them.

    Raises UsageError where there is no such MLP.
    """
    modules = _holding(params, torso)
    if modules is None or reader not in modules:
        raise UsageError(f"the parameters have no MLP {torso!r} with a module {reader!r} behind it")
    layers = dict(modules[torso])
    names = [f"Dense_{number}" for number in range(len(layers))]
    behind = modules[reader]
    last = behind if "kernel" in behind else behind["Dense_0"]
    sizes, alive = [], None
    for name in names:
        kernel, bias = (np.asarray(layers[name][part]) for part in ("kernel", "bias"))
        kernel = kernel if alive is None else kernel[alive]
        alive = (kernel != 0).any(0) | (bias != 0)
        alive[0] |= not alive.any()
        layers[name] = {"kernel": kernel[:, alive], "bias": bias[alive]}
        sizes.append(int(alive.sum()))
    last = {**last, "kernel": np.asarray(last["kernel"])[alive]}
    behind = last if "kernel" in behind else {**behind, "Dense_0": last}
    return _replaced(params, modules, {**modules, torso: layers, reader: behind}), tuple(sizes)


def _holding(tree: Any, name: str) -> Any:
    """The dictionary that has `name`, the first one found."""
    if not isinstance(tree, dict):
        return None
    if name in tree:
        return tree
    found = (_holding(inner, name) for inner in tree.values())
    return next((x for x in found if x is not None), None)


def _replaced(tree: Any, old: Any, new: Any) -> Any:
    if tree is old:
        return new
    if not isinstance(tree, dict):
        return tree
    return {name: _replaced(inner, old, new) for name, inner in tree.items()}
