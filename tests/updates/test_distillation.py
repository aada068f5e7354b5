"""How far a student is from its teacher."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import UsageError
from rljax.networks import Categorical, Normal, RelaxedCategorical, TanhNormal
from rljax.networks.distributions import Certain
from rljax.ops import only_legal
from rljax.types import Extras
from rljax.updates import distillation_loss, kickstarting
from rljax.updates.distillation import divergence, recordable

TEACHER = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
STUDENT = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_of_choices_it_is_the_divergence_from_the_softened_teacher(temperature):
    found = divergence(Categorical(TEACHER), Categorical(STUDENT), temperature)
    p, q = softmax(TEACHER / temperature), softmax(STUDENT)
    np.testing.assert_allclose(found, (p * np.log(p / q)).sum(-1), rtol=1e-4)


def test_a_low_temperature_leaves_illegal_actions_illegal():
    legal = np.array([True, False, True, True])
    teacher, student = (Categorical(only_legal(x, legal)) for x in (TEACHER, STUDENT))
    p, q = softmax(TEACHER[..., legal] / 0.1), softmax(STUDENT[..., legal])
    found = divergence(teacher, student, 0.1)
    np.testing.assert_allclose(found, (p * np.log(p / q)).sum(-1), rtol=1e-4)


@pytest.mark.parametrize(("until", "weights"), [(0.5, [2.0, 1.0, 0.0]), (0.0, [0.0, 0.0, 0.0])])
def test_a_teacher_is_let_go_in_a_line(make_batch, until, weights):
    batch = make_batch(2, 3).annotate(teachers=(Categorical(jnp.asarray(TEACHER)),))
    mine, loss = Categorical(jnp.asarray(STUDENT)), kickstarting(2.0, until)
    found = [loss(mine, batch, jnp.float32(progress)) for progress in (0.0, 0.25, 0.75)]
    distance = divergence(Categorical(TEACHER), mine)
    np.testing.assert_allclose(found, [weight * distance for weight in weights], rtol=1e-5)


def test_of_gaussians_and_of_certain_actions():
    one, other = Normal(TEACHER, STUDENT), Normal(STUDENT, TEACHER)
    np.testing.assert_allclose(divergence(one, other), one.kl(other))
    squared = np.square(TEACHER - STUDENT).sum(-1) / 2
    np.testing.assert_allclose(divergence(Certain(TEACHER), Certain(STUDENT)), squared, rtol=1e-6)


def test_what_is_recorded_leads_with_the_batch():
    for distribution in (TanhNormal(TEACHER, STUDENT), RelaxedCategorical(TEACHER)):
        assert {x.shape for x in jax.tree.leaves(recordable(distribution))} == {(2, 3, 4)}


def test_kinds_that_differ_are_refused():
    with pytest.raises(UsageError, match="Certain cannot learn .* Categorical"):
        divergence(Categorical(TEACHER), Certain(STUDENT))


def test_the_loss_is_the_mean_over_teachers_and_its_best_student_is_the_mean_of_theirs(make_batch):
    others = np.flip(TEACHER, -1).copy()
    batch = make_batch(2, 3)
    batch = batch.replace(
        extras=Extras(
            teachers=(Categorical(jnp.asarray(TEACHER)), Categorical(jnp.asarray(others)))
        )
    )
    loss = distillation_loss(lambda params, batch: Categorical(params))
    value, metrics = loss(jnp.asarray(STUDENT), batch, None)
    expected = [divergence(Categorical(x), Categorical(STUDENT)).mean() for x in (TEACHER, others)]
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)
    best = jnp.log((softmax(TEACHER) + softmax(others)) / 2)
    gradient = jax.grad(lambda p: loss(p, batch, None)[0])(best)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    same = loss(jnp.asarray(TEACHER), batch, None)[1]["losses/agreement"]
    agree = (TEACHER.argmax(-1) == others.argmax(-1)).mean()
    np.testing.assert_allclose(same, (1 + agree) / 2)
