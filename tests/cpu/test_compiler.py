import jax
import jax.numpy as jnp
import pages
import pytest
from small import SMALL

import rljax
from rljax._cpu import compiler


def test_small_programs_for_one_cpu_run_in_order_and_large_ones_do_not():
    def multiply(x):
        return x @ x

    assert rljax.compiler_options(multiply, jnp.ones((8, 8))) == compiler.IN_ORDER
    large = jax.ShapeDtypeStruct((512, 512), jnp.float32)
    assert rljax.compiler_options(multiply, large) == {}


def test_programs_for_several_devices_are_compiled_as_jax_would():
    mesh = jax.sharding.Mesh(jax.devices()[:2], "x")
    there = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    assert rljax.compiler_options(jnp.sin, jax.device_put(jnp.ones(8), there)) == {}


def test_a_device_that_is_no_cpu_gets_no_options():
    class Accelerator:
        platform = "cuda"

    program = jax.jit(lambda x: x @ x).lower(jnp.ones((8, 8)))
    assert compiler.options_of(program, Accelerator()) == {}
    assert compiler.options_to_run_once(Accelerator()) == {}
    assert compiler.options_of(program, jax.devices()[0]) == compiler.IN_ORDER


def test_jit_takes_them_and_the_numbers_are_the_same():
    x = jnp.arange(64.0).reshape(8, 8)

    def function(x):
        return jnp.sin(x) @ jnp.cos(x)

    step = jax.jit(function, compiler_options=rljax.compiler_options(function, x))
    assert (step(x) == jax.jit(function)(x)).all()


@pytest.mark.long
def test_the_loop_of_the_page_runs(cartpole):
    (block,) = [b for b in pages.blocks(pages.ROOT / "docs/performance.md") if "jit" in b.code]
    agent = rljax.ppo(cartpole, total_env_steps=320, **SMALL)
    names = {"jax": jax, "rljax": rljax, "agent": agent, "state": agent.init(jax.random.key(0))}
    pages.run(block, pages.ROOT / "docs/performance.md", names)
    state, metrics = names["run"](names["state"])
    assert int(state.iteration) == 10 and metrics["losses/entropy"].shape == (10,)
