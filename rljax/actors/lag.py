"""Acting with parameters that are some iterations old, as actors of a distributed learner do."""

import jax

from rljax.actors.versions import with_versions
from rljax.errors import check_count
from rljax.types import Actor, Hparams, Key, Params


def lagged(actor: Actor, lag: int) -> Actor:
    """`actor`, acting with the parameters that it had `lag` iterations ago; itself for a lag of 0.

    Its parameters have two parts: "online", which learn, and "behaviour", the versions before them,
    each leaf [lag, ...] with the oldest first. `updates.remember_parameters` keeps the second part.
    Before there is a version of so many iterations ago, the first one acts. The mode is that of
    the parameters that learn; sampled actions, also in an evaluation, are those of who acts.

    Raises UsageError for a lag that is not a whole number of at least 0.
    """
    check_count(policy_lag=lag)
    if lag == 0:
        return actor

    def policy(hparams: Hparams, progress: jax.Array):
        act = actor.policy(hparams, progress)

        def act_with_oldest(params: Params, obs, carry, key: Key):
            return act(that_act(params), obs, carry, key)

        return act_with_oldest

    return with_versions(actor, "behaviour", lag)._replace(policy=policy)


def that_act(params: Params) -> Params:
    """Of the parameters of a `lagged` actor those that act: the oldest version."""
    return jax.tree.map(lambda x: x[0], params["behaviour"])
