"""Updates that are made less often than others."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rljax.errors import check_known, check_positive
from rljax.types import Batch, Key, Params, Update, UpdateState
from rljax.updates.composition import run
from rljax.updates.per_environment import check_shared


def every(period: int, update: Update, reports: Sequence[str] = ()) -> Update:
    """Apply `update` the first time and every `period` times from then on; else nothing changes.

    Reads what `update` reads, and changes the parameters that it changes. The batch goes on
    unchanged. Each time it reports the metrics named by `reports`, as they were the last time that
    `update` was made.

    An update that is not due costs nothing in a single run. Under `vmap` a `cond` computes both
    branches: in a population it costs as much as if it were due every time.

    Args:
        period: calls from one time to the next.
        update: what is made then.
        reports: names of its metrics.

    Raises UsageError for a period below 1, and for a metric that `update` does not report.

    Source: Fujimoto et al. 2018, algorithm 1 (of the policy), https://arxiv.org/abs/1802.09477.
    """
    check_positive(period=period)

    def init(params: Params, key: Key) -> UpdateState:
        inner = check_shared(update.init(params, key), "what every(...) passes on")
        return jnp.int32(0), inner, {name: jnp.zeros(()) for name in reports}

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        count, inner, latest = state

        def made(params: Params, inner: UpdateState, latest):
            params, inner, _, metrics = run(update, params, inner, batch, key)
            for name in reports:
                check_known("every: metric", name, metrics)
            return params, inner, {name: metrics[name] for name in reports}

        def not_due(*unchanged):
            return unchanged

        due = count % period == 0
        params, inner, latest = jax.lax.cond(due, made, not_due, params, inner, latest)
        return params, (count + 1, inner, latest), batch, dict(latest)

    return Update(init, apply)
