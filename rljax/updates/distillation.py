"""Learning what others would do."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rljax.errors import UsageError
from rljax.networks.distributions import (
    Categorical,
    Certain,
    Normal,
    RelaxedCategorical,
    TanhNormal,
)
from rljax.ops import is_legal, linear_schedule, only_legal
from rljax.types import Agent, Batch, Key, Params, State, Update
from rljax.updates.composition import stateless
from rljax.updates.optimization import Loss


def recordable(distribution: Any) -> Any:
    """A distribution whose leaves all lead with the axes of a batch, and that has a divergence.

    Of a squashed Gaussian that is the Gaussian before squashing, whose divergences are the same.
    """
    if isinstance(distribution, TanhNormal):
        return distribution.base
    if isinstance(distribution, RelaxedCategorical):
        return Categorical(distribution.logits)
    return distribution


def divergence(teacher: Any, student: Any, temperature=1.0) -> Any:
    """How far a student's distributions are from its teacher's [...]; both are `recordable`.

    Over discrete actions that is KL[teacher, student] in nats, where the teacher's logits, which
    may be action values, are divided by the temperature. Of Gaussians it is KL[teacher, student].
    Of deterministic actions it is half the squared distance, summed over their dimensions.

    Raises UsageError where the two are of different kinds.

    Source: Rusu et al. 2016, section 3.2, https://arxiv.org/abs/1511.06295.
    """
    match teacher, student:
        case Categorical(), Categorical():
            logits = only_legal(teacher.logits / temperature, is_legal(teacher.logits))
            return Categorical(logits).kl(student)
        case Normal(), Normal():
            return teacher.kl(student)
        case Certain(), Certain():
            return 0.5 * jnp.sum(jnp.square(teacher.value - student.value), axis=-1)
    raise UsageError(
        f"a student whose actions are {type(student).__name__} cannot learn from a teacher whose "
        f"actions are {type(teacher).__name__}: give it an agent with the same kind of actions"
    )


def distillation_loss(
    student: Callable[[Params, Batch], Any],
    temperature=1.0,
) -> Loss:
    """The mean divergence of a student's actions from those of its teachers, over them and a batch.

    Reads teachers, a tuple of distributions [L, B], as `recordable` makes them.

    Args:
        student: `(params, batch)` to the student's distributions [L, B].
        temperature: what the teachers' logits are divided by, see `divergence`.
    """

    def loss(params: Params, batch: Batch, key: Key):
        mine = recordable(student(params, batch))
        teachers = batch.extras["teachers"]
        distances = [jnp.mean(divergence(each, mine, temperature)) for each in teachers]
        total = sum(distances) / len(distances)
        metrics = {"losses/distillation_loss": total}
        if isinstance(mine, Categorical):
            agreed = [jnp.mean(each.mode() == mine.mode()) for each in teachers]
            metrics["losses/agreement"] = sum(agreed) / len(agreed)
        return total, metrics

    return loss


def teachers(taught: Sequence[tuple[Agent, State]]) -> Update:
    """Annotate the batch with what teachers would choose from, as `distillation_loss` reads it.

    Writes teachers. For agents without memory: raises UsageError for others, and for those without
    a distribution.
    """
    for agent, _ in taught:
        memory = jax.eval_shape(lambda: agent.initial_carry((1,)))  # noqa: B023
        if agent.distribution is None or jax.tree.leaves(memory):
            raise UsageError("teachers need a policy or action values, and no memory: use distill")

    def apply(params: Params, batch: Batch, key: Key):
        found = (
            agent.distribution(state, batch.obs, ())[0]  # type: ignore[misc]
            for agent, state in taught
        )
        return batch.annotate(teachers=tuple(map(recordable, found))), {}

    return stateless(apply)


def kickstarting(coef, until=0.5, temperature=1.0) -> Callable[[Any, Batch, jax.Array], jax.Array]:
    """An auxiliary loss: a policy is drawn towards its teachers' at first, and then lets go.

    Its weight falls in a line from `coef` to 0 at the progress `until`. It is that weight times the
    mean `divergence` from the teachers. Reads teachers.

    Source: Schmitt et al. 2018, section 3, https://arxiv.org/abs/1803.03835; there the coefficient
    is annealed by hand or by a population.
    """

    def loss(policy: Any, batch: Batch, progress: jax.Array) -> jax.Array:
        weight = linear_schedule(coef, 0.0, progress, until)
        mine, shown = recordable(policy), batch.extras["teachers"]
        return weight * sum(divergence(each, mine, temperature) for each in shown) / len(shown)

    return loss
