import jax
import pytest
from rounding import assert_equal_but_for_rounding
from small import SMALL
from states import arrays

import rljax
from rljax import _cpu
from rljax._cpu import switch


def test_the_environment_variable_is_read_each_time_and_a_context_goes_before(monkeypatch):
    monkeypatch.delenv("RLJAX_CPU_TUNING", raising=False)
    assert switch.is_on()
    monkeypatch.setenv("RLJAX_CPU_TUNING", "0")
    assert not switch.is_on()
    with _cpu.tuning(True):
        assert switch.is_on()
        with _cpu.tuning(False):
            assert not switch.is_on()
        assert switch.is_on()
    assert not switch.is_on()


AGENTS = {
    "ppo": lambda env: rljax.ppo(env, total_env_steps=32 * 3, **SMALL),
    "dqn": lambda env: rljax.dqn(
        env,
        total_env_steps=64,
        num_envs=4,
        hidden=(8,),
        buffer_size=64,
        batch_size=8,
        warmup_env_steps=32,
        prioritized=True,
    ),
}


@pytest.mark.parametrize("name", ["ppo", pytest.param("dqn", marks=pytest.mark.long)])
def test_training_gives_the_same_numbers_with_it_and_without(name, cartpole):
    """Integers and keys to the bit; a product in another form differs by rounding."""

    def trained(on):
        with _cpu.tuning(on):
            state, _ = rljax.train(AGENTS[name](cartpole), jax.random.key(0), chunk_iterations=3)
            returns = rljax.evaluate(AGENTS[name](cartpole), state, jax.random.key(1), 4).returns
        return arrays((state, returns))

    assert_equal_but_for_rounding(trained(True), trained(False))


@pytest.mark.long
def test_without_it_the_program_of_a_step_has_nothing_of_this_package(cartpole):
    def lowered(on):
        with _cpu.tuning(on):
            agent = AGENTS["ppo"](cartpole)
            state = jax.eval_shape(agent.init, jax.random.key(0))
            program = jax.jit(agent.step).lower(state)
            return program.as_text(), rljax.compiler_options(agent.step, state)

    assert "optimization_barrier" in lowered(True)[0] and lowered(True)[1]
    assert "optimization_barrier" not in lowered(False)[0] and not lowered(False)[1]
