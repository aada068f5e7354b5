"""Monte Carlo tree search: who looks ahead before it acts.

The search itself is mctx, of the extra `search`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from rljax.errors import check_extra, check_known, check_positive
from rljax.hparams import fraction, non_negative, positive
from rljax.ops import only_legal
from rljax.types import Action, Key, Params

SEARCHES = ("puct", "gumbel")
"""What chooses the actions of a search: visits and prior, or Sequential Halving with Gumbel."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SearchHparams:
    """The hyperparameters of a search; each kind of search reads those that concern it."""

    puct: float = positive(1.25)
    """Of "puct": how much the prior, and few visits, speak for an action."""
    dirichlet_fraction: float = fraction(0.25)
    """Of "puct": the part of the root's prior that is noise, where the search explores."""
    dirichlet_alpha: float = positive(0.3)
    """Of "puct": the concentration of that noise; small is far from uniform."""
    temperature: float = non_negative(1.0)
    """Of "puct": actions are taken as visits^(1 / temperature); with 0 the most visited one."""
    gumbel_scale: float = non_negative(1.0)
    """Of "gumbel": the size of the noise by which actions are sampled without replacement."""


class Node(NamedTuple):
    """What a search is told of N states."""

    logits: jax.Array  # [N, A] float32, of the prior policy
    value: jax.Array  # [N] float32, estimated return; 0 where the task has ended
    state: Any  # [N, ...], what the model goes on from
    legal: jax.Array | None = None  # [N, A] bool; None where all actions are


class Found(NamedTuple):
    """What a search found for N roots."""

    action: jax.Array  # [N] int32, legal
    weights: jax.Array  # [N, A] float32, an improved policy: visits, or softmax(logits + values)
    value: jax.Array  # [N] float32, mean over the simulations


Model = Callable[[Params, Key, Action, Any], tuple[jax.Array, jax.Array, Node]]
"""(params, key, actions [N], states [N, ...]) to rewards [N], discounts [N] of the values behind
them, and the nodes they led to. The discount is 0 behind an end, and negative where it is the turn
of an opponent, whose values count the other way."""


def search(
    params: Params,
    key: Key,
    root: Node,
    model: Model,
    hparams: SearchHparams,
    *,
    num_simulations: int,
    kind: str = "puct",
    best: bool = False,
    max_depth: int | None = None,
    max_considered: int = 16,
) -> Found:
    """Look ahead from N states with a model; consumes the key.

    The model is asked once for each edge of a tree: what it says of a state and an action stays.

    Args:
        params: what the model is given.
        root: the N states.
        model: steps states.
        hparams: how to explore.
        num_simulations: nodes that are added to each tree.
        kind: "puct" (Silver et al. 2018, https://doi.org/10.1126/science.aar6404), or "gumbel"
            (Danihelka et al. 2022, https://openreview.net/forum?id=bERaNdoegnO).
        best: whether to act as well as the search can: without noise, and with the most visited
            action.
        max_depth: how many steps to look ahead, at most; None for no bound.
        max_considered: of "gumbel": actions that are tried at the root, at most.

    Raises UsageError for a budget below 1, a kind that is not known, and without mctx.
    """
    check_search(kind, num_simulations)
    import mctx

    def node(found: Node) -> dict[str, Any]:
        return {"prior_logits": only_legal(found.logits, found.legal), "value": found.value}

    def recurrent(params: Params, data: jax.Array, action: Action, state: Any):
        reward, discount, found = model(params, jax.random.wrap_key_data(data), action, state)
        return mctx.RecurrentFnOutput(reward=reward, discount=discount, **node(found)), found.state

    arguments: Any = {
        "params": params,
        # As data: a loop of mctx under `vmap` selects between a used key and a new one, which
        # JAX's checker of keys takes for a second use.
        "rng_key": jax.random.key_data(key),
        "root": mctx.RootFnOutput(embedding=root.state, **node(root)),
        "recurrent_fn": recurrent,
        "num_simulations": num_simulations,
        "invalid_actions": None if root.legal is None else ~root.legal,
        "max_depth": max_depth,
    }
    if kind == "gumbel":
        found = mctx.gumbel_muzero_policy(
            **arguments,
            max_num_considered_actions=max_considered,
            gumbel_scale=0.0 if best else hparams.gumbel_scale,
        )
    else:
        found = mctx.muzero_policy(
            **arguments,
            dirichlet_fraction=0.0 if best else hparams.dirichlet_fraction,
            dirichlet_alpha=hparams.dirichlet_alpha,
            pb_c_init=hparams.puct,
            temperature=0.0 if best else hparams.temperature,
        )
    return Found(found.action, found.action_weights, found.search_tree.summary().value)


def check_search(kind: str, num_simulations: int) -> None:
    """Refuse a budget below 1, and a search that is not known or needs a package."""
    check_known("search", kind, SEARCHES)
    check_positive(num_simulations=num_simulations)
    check_extra("a search", "search", "mctx")
