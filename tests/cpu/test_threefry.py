import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax._cpu import threefry

KNOWN = [  # (count, key, words), of the test vectors that the authors publish with their code
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def within(partitionable, draw, key):
    with jax.threefry_partitionable(partitionable):
        return draw(key)


@jax.custom_vjp
def halved(x, key):
    return x * jax.random.uniform(key)


halved.defvjp(lambda x, key: (halved(x, key), key), lambda key, g: (g / 2, None))


def draws(key):
    """In every way there is: raw keys, many keys, few bits, and within control flow."""
    keys = jax.random.split(key, (40, 2))

    def step(total, k):
        bits = jax.random.bits(jax.random.fold_in(k, 9), (2,), "uint8")
        return total + jax.random.normal(k), bits

    return {
        "odd": jax.random.bits(key, (1001,)),
        "small": jax.random.bits(key, (2, 300), "uint8"),
        "raw": jax.random.bits(jax.random.PRNGKey(3), (4,)),
        "mapped": jax.vmap(lambda k: jax.random.bits(k, (3, 5)))(keys[:, 0]),
        "split": jax.random.key_data(jax.random.split(key, (3, 200))),
        "folded": jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(5))),
        "scanned": jax.lax.scan(step, 0.0, keys[:, 1]),
        "chosen": jax.lax.cond(
            jax.random.bernoulli(key), jax.random.uniform, lambda k: 2 + jax.random.uniform(k), key
        ),
        "legacy": within(False, lambda k: jax.random.bits(k, (3, 5)), key),
        "partitionable": within(True, lambda k: jax.random.bits(k, (3, 5)), key),
        "custom": halved(1.0, key),
        "again": jax.checkpoint(lambda k: jax.random.uniform(k, (3, 5)))(key),
        "gamma": jax.random.gamma(key, 2.0, (3,)),
    }


@pytest.mark.parametrize("count, key, words", KNOWN)
def test_the_published_test_vectors(count, key, words):
    drawn = threefry.threefry2x32(*(jnp.uint32(word) for word in (*key, *count)))
    assert tuple(map(int, drawn)) == words


@pytest.mark.parametrize("partitionable", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda f: f])
def test_all_draws_are_those_of_jax_to_the_bit(transform, partitionable):
    key = jax.random.key(7)
    key = key[None] if transform is jax.vmap else key
    with jax.threefry_partitionable(partitionable):
        ours, plain = transform(threefry.unrolled(draws))(key), transform(draws)(key)
    jax.tree.map(np.testing.assert_array_equal, ours, plain)


def test_keys_are_of_jax_before_and_within_and_after():
    def mixed(key, mine):
        inner = jax.random.split(key)[0]
        assert inner.dtype == mine.dtype == jax.random.key(0).dtype
        return jnp.where(jax.random.bernoulli(inner), jax.random.fold_in(inner, 1), mine)

    key, mine = jax.random.key(0), jax.random.key(1)
    ours = jax.jit(threefry.unrolled(mixed))(key, mine)
    assert ours.dtype == key.dtype
    np.testing.assert_array_equal(*map(jax.random.key_data, (ours, mixed(key, mine))))


def test_keys_of_another_generator_are_left_alone():
    key = jax.random.key(0, impl="rbg")
    program = jax.make_jaxpr(lambda k: jax.random.bits(k, (4,)))(key)
    assert threefry.unroll(program) is program


def test_a_program_is_unrolled_once():
    once = threefry.unroll(jax.make_jaxpr(draws)(jax.random.key(0)))
    assert threefry.unroll(once) is once


def test_a_program_for_another_platform_draws_as_jax_does():
    key, called = jax.random.key(0), "func.func private @threefry2x32("
    traced = jax.jit(threefry.unrolled(lambda k: jax.random.bits(k, (64,)))).trace(key)
    assert called in traced.lower(lowering_platforms=("cuda",)).as_text()
    on_cpu = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert called not in on_cpu and "optimization_barrier" in on_cpu


def test_a_program_for_a_cpu_has_no_loop_for_it_and_draws_once():
    def drawn(key):
        keys = jax.random.split(key, (100, 2))
        x = jax.vmap(lambda k: jax.random.uniform(k, (4,)))(keys[:, 0])
        bits = jax.vmap(lambda k: jax.random.bits(k, (3,)))(keys[:, 1])
        far = x.sum(1) > 2
        return x, bits + 1, far, jnp.where(far[:, None], x[:, :3], bits)

    program = jax.jit(threefry.unrolled(drawn)).lower(jax.random.key(0))
    assert "while" in jax.jit(drawn).lower(jax.random.key(0)).as_text()
    assert "while" not in program.as_text()
    rounds = program.compile().as_text().count("shift-right-logical(")
    # 20 for each of three draws, and few more, for counts and for making floats of bits.
    assert 60 <= rounds < 80
