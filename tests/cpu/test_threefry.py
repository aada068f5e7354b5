import json
import subprocess
import sys

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
DRAWS = """
import jax, json, sys
key = jax.random.key(7)
wide = jax.vmap(lambda k: jax.random.bits(k, (3, 5)))(jax.random.split(key, 40))
print(json.dumps([
    jax.random.bits(key, (4,)).tolist(),
    jax.random.bits(key, (1001,)).tolist(),
    jax.jit(lambda k: jax.random.bits(k, (2, 300), "uint8"))(key).tolist(),
    wide.tolist(),
    jax.random.key_data(jax.random.split(key, (3, 200))).tolist(),
    jax.random.key_data(jax.random.fold_in(key, 9)).tolist(),
]))
"""


@pytest.mark.parametrize("count, key, words", KNOWN)
def test_the_published_test_vectors(count, key, words):
    drawn = threefry.threefry2x32(*(jnp.uint32(word) for word in (*key, *count)))
    assert tuple(map(int, drawn)) == words


def test_all_draws_are_those_of_jax_without_this_module():
    def drawn(program: str) -> list:
        command = [sys.executable, "-c", program]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    ours, plain = drawn(f"import rljax._cpu.threefry{DRAWS}"), drawn(DRAWS)
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_program_for_a_cpu_has_no_loop_for_it_and_draws_once():
    def drawn(key):
        keys = jax.random.split(key, (100, 2))
        x = jax.vmap(lambda k: jax.random.uniform(k, (4,)))(keys[:, 0])
        bits = jax.vmap(lambda k: jax.random.bits(k, (3,)))(keys[:, 1])
        far = x.sum(1) > 2
        return x, bits + 1, far, jnp.where(far[:, None], x[:, :3], bits)

    program = jax.jit(drawn).lower(jax.random.key(0))
    assert "while" not in program.as_text()
    rounds = program.compile().as_text().count("shift-right-logical(")
    # 20 for each of three draws, and few more, for counts and for making floats of bits.
    assert 60 <= rounds < 80


def test_whoever_rolls_out_has_it():
    check = "import sys, rljax.actors.rollout; assert 'rljax._cpu.threefry' in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
