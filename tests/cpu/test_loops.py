import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from rljax._cpu import loops

WIDTH, LENGTH = 3, 6
DRAWING = ("random_bits", "random_split", "threefry2x32")


def draws_inside(program) -> int:
    """How many times the body of a program's scan asks for random numbers, however deep."""

    def count(jaxpr, inside):
        total = 0
        for equation in jaxpr.eqns:
            within = inside or equation.primitive.name == "scan"
            total += inside and equation.primitive.name in DRAWING
            for inner in core.jaxprs_in_params(equation.params):
                total += count(inner, within)
        return total

    return count(program.jaxpr, False)


def body_of_scan(program) -> set[str]:
    (scan,) = [e for e in program.jaxpr.eqns if e.primitive.name == "scan"]
    return {e.primitive.name for e in scan.params["jaxpr"].jaxpr.eqns}


def walk(table, loop, keys):
    """A step that draws in every way there is: alone, with a constant, with what goes round."""
    key_noise, key_start = keys
    noise = jax.random.normal(key_noise, (WIDTH, 2)) * jnp.array([1.0, 0.5])
    fresh = jax.vmap(lambda k: jax.random.uniform(k, (2,)))(jax.random.split(key_start, WIDTH))
    position = loop["position"] + noise @ table
    over = jnp.abs(position).sum(1) > 3.0
    loop = {
        "position": jnp.where(over[:, None], fresh, position),
        "sum": loop["sum"] + position[:, 0],
        "time": loop["time"] + 1,
    }
    return loop, {"noise": noise, "over": over, "constant": jnp.float32(7), "time": loop["time"]}


def begin():
    zeros = jnp.zeros(WIDTH)
    return {"position": jnp.zeros((WIDTH, 2)), "sum": zeros, "time": jnp.zeros(WIDTH, jnp.int32)}


def keys():
    several = jax.random.split(jax.random.key(0), (2, LENGTH))
    return several[0], several[1]


@pytest.mark.parametrize("words", [0, 64])
@pytest.mark.parametrize("drawn", [0, 64])
def test_the_numbers_are_those_of_a_plain_scan(monkeypatch, words, drawn):
    monkeypatch.setattr(loops, "LARGEST_PACKED", words)
    monkeypatch.setattr(loops, "MOST_DRAWN_AT_ONCE", drawn)
    table = jnp.array([[1.0, 0.25], [-0.5, 2.0]])

    def run(scan):
        return jax.jit(lambda t: scan(lambda *a: walk(t, *a), begin(), keys()))(table)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        run(loops.scan),
        run(jax.lax.scan),
    )
    assert bool(run(loops.scan)[1]["over"].any()) and not bool(run(loops.scan)[1]["over"].all())


def test_nothing_is_drawn_inside_the_loop():
    table = jnp.eye(2)
    ours = jax.make_jaxpr(lambda t: loops.scan(lambda *a: walk(t, *a), begin(), keys()))(table)
    plain = jax.make_jaxpr(lambda t: jax.lax.scan(lambda *a: walk(t, *a), begin(), keys()))(table)
    assert draws_inside(ours) == 0 < draws_inside(plain)


def test_one_array_of_each_type_goes_round_the_loop():
    table = jnp.eye(2)
    program = jax.make_jaxpr(lambda: loops.scan(lambda *a: walk(table, *a), begin(), keys()))()
    (scan,) = [e for e in program.jaxpr.eqns if e.primitive.name == "scan"]
    assert len(scan.outvars) == 2 + 3  # floats, integers; and put out: those and bools


def test_with_more_environments_each_leaf_goes_round_by_itself(monkeypatch):
    monkeypatch.setattr(loops, "MOST_PACKED", WIDTH - 1)
    table = jnp.eye(2)
    program = jax.make_jaxpr(lambda: loops.scan(lambda *a: walk(table, *a), begin(), keys()))()
    (scan,) = [e for e in program.jaxpr.eqns if e.primitive.name == "scan"]
    assert len(scan.outvars) == len(begin()) + 4


def test_what_is_large_is_made_inside_from_what_was_drawn():
    """The first picture of an episode, of which T would be kept."""

    def step(loop, key):
        pictures = jax.random.normal(key, (WIDTH, 1)) * jnp.ones(loops.LARGEST_DRAWN + 1)
        return loop + pictures.sum(1), ()

    def run(scan):
        return scan(step, jnp.zeros(WIDTH), jax.random.split(jax.random.key(1), LENGTH))[0]

    program = jax.make_jaxpr(lambda: run(loops.scan))()
    assert "mul" in body_of_scan(program) and draws_inside(program) == 0
    np.testing.assert_allclose(run(loops.scan), run(jax.lax.scan), rtol=1e-6)


def test_what_hangs_on_parameters_stays_inside():
    """Noise times a large weight would be made T times over."""

    def step(weight, loop, key):
        return loop + (jax.random.normal(key, (WIDTH, 100)) * weight).sum(1), ()

    def run(weight):
        several = jax.random.split(jax.random.key(1), LENGTH)
        return loops.scan(lambda *a: step(weight, *a), jnp.zeros(WIDTH), several)

    program = jax.make_jaxpr(run)(jnp.ones((WIDTH, 100)))
    assert "mul" in body_of_scan(program)


def test_a_loop_that_carries_keys():
    """Keys have no bits to pack, and what is drawn from them belongs to the loop."""

    def step(loop, key):
        key_own = jax.vmap(lambda k: jax.random.split(k)[0])(loop)
        return key_own, jax.vmap(jax.random.uniform)(key_own) + jax.random.uniform(key)

    several = jax.random.split(jax.random.key(2), LENGTH)
    own = jax.random.split(jax.random.key(3), WIDTH)
    ours, plain = loops.scan(step, own, several), jax.lax.scan(step, own, several)
    np.testing.assert_array_equal(*(jax.random.key_data(x[0]) for x in (ours, plain)))
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-6)


@pytest.mark.long
def test_it_can_be_mapped_and_differentiated():
    def total(scale, key):
        def step(loop, key):
            loop = loop * scale + jax.random.normal(key, (WIDTH,))
            return loop, loop

        return loops.scan(step, jnp.zeros(WIDTH), jax.random.split(key, LENGTH))[1].sum()

    def plainly(scale, key):
        def step(loop, key):
            loop = loop * scale + jax.random.normal(key, (WIDTH,))
            return loop, loop

        return jax.lax.scan(step, jnp.zeros(WIDTH), jax.random.split(key, LENGTH))[1].sum()

    several = jax.random.split(jax.random.key(4), 2)
    gradients = jax.vmap(jax.grad(total), (None, 0))(0.5, several)
    expected = jax.vmap(jax.grad(plainly), (None, 0))(0.5, several)
    np.testing.assert_allclose(gradients, expected, rtol=1e-5)
    assert gradients[0] != 0
