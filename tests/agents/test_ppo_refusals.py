"""What PPO cannot use it refuses when it is built, in one sentence that says what to write."""

import jax
import numpy as np
import pytest
from still import Still

import rljax
from rljax.agents.ppo import Hparams
from rljax.envs import spaces
from rljax.errors import UsageError


def build(env=None, **options):
    counts = {"num_envs": 4, "rollout_length": 8, "num_minibatches": 2, "hidden": (8,)}
    return rljax.ppo(env or Still(spaces.Box(-1.0, 1.0, (2,))), **{**counts, **options})


def refusal(caplog, *args, **options) -> str:
    """The one sentence that refuses these arguments, without a compilation."""
    with jax.log_compiles(), pytest.raises(UsageError) as error:
        build(*args, **options)
    # The key with which shapes are worked out is made.
    compiled = [line for line in caplog.messages if line.startswith("Compiling")]
    of_key = ("jit(_threefry_seed)", "jit(stage)")
    assert not [line for line in compiled if not any(name in line for name in of_key)]
    message = str(error.value)
    assert "\n" not in message and len(message) < 250
    return message


COUNTS = (
    "num_envs",
    "rollout_length",
    "num_epochs",
    "num_minibatches",
    "total_env_steps",
    "sequence_length",
)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [0, -2, True, 2.0, "8"])
def test_counts_are_whole_numbers_of_at_least_1(caplog, name, count):
    expected = f"{name} must be a whole number of at least 1, not {count!r}"
    assert refusal(caplog, **{name: count}) == expected


@pytest.mark.parametrize("hidden", [(0,), (8, -8), (8.0,), (True,)])
def test_layers_have_whole_sizes_of_at_least_1(caplog, hidden):
    assert "hidden" in refusal(caplog, hidden=hidden)


def test_a_memory_has_a_size(caplog):
    message = refusal(caplog, network="gru", hidden=())
    assert "hidden" in message and "gru" in message


batch = "num_envs x rollout_length"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        # The counts that do not fit, then those that would.
        ({"num_minibatches": 3}, [f"{batch} = 32", "num_minibatches = 3", "30 or 33", "2 or 4"]),
        ({"num_minibatches": 64}, [f"{batch} = 32", "num_minibatches = 64", "64", "32"]),
        (
            {"num_minibatches": 3, "network": "gru"},
            [f"{batch} / sequence_length = 4", "num_minibatches = 3", "3 or 6", "2 or 4"],
        ),
        ({"sequence_length": 3}, ["rollout_length = 8", "sequence_length = 3", "6 or 9", "2 or 4"]),
        ({"sequence_length": 16}, ["rollout_length = 8", "sequence_length = 16", "16", "8"]),
        (
            {"sequence_length": 4, "num_minibatches": 16},
            [f"{batch} / sequence_length = 8", "num_minibatches = 16", "16", "8"],
        ),
    ],
)
def test_counts_that_do_not_divide_name_both_and_the_nearest_that_do(caplog, options, named):
    message = refusal(caplog, **options)
    assert all(part in message for part in named), message
    assert "32 or 32" not in message and "8 or 8" not in message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"objective": "clp"}, ["objective 'clp'", "did you mean 'clip'?"]),
        ({"objective": "klpenalty"}, ["did you mean 'kl_penalty'?"]),
        ({"objective": "xyz"}, ["there is clip, kl_penalty"]),
        ({"objective": 1}, ["objective 1", "there is clip, kl_penalty"]),
        ({"network": "gur"}, ["network 'gur'", "did you mean 'gru'?"]),
        ({"network": "gtrxl", "hidden": (6,)}, ["4 heads", "a multiple of that, not 6"]),
        ({"network": "transformer"}, ["there is auto, cnn, gru, gtrxl, lstm, min_gru, mlp"]),
        ({"network": None}, ["network None", "there is auto, cnn, gru, gtrxl, lstm, min_gru, mlp"]),
        ({"activation": "rleu"}, ["activation 'rleu'", "did you mean 'relu'?"]),
        ({"activation": "xyz"}, ["there is elu, gelu, relu, silu, tanh"]),
        ({"distribution": "tanhnormal"}, ["distribution", "did you mean 'tanh_normal'?"]),
        ({"hparams": {"lr": 1e-3}}, ["hparams", "Hparams", "dict"]),
    ],
)
def test_misspelt_choices_name_the_nearest(caplog, options, named):
    message = refusal(caplog, **options)
    assert all(part in message for part in named), message


box = spaces.Box(-np.inf, np.inf, (2,))


@pytest.mark.parametrize(
    ("env", "options", "named"),
    [
        (
            Still(spaces.Dict({"camera": spaces.Box(0, 1, (3, 3, 1)), "speed": box})),
            {},
            ["ppo", "flatten an image", "camera: Box(3, 3, 1) float32", "network 'mlp'"],
        ),
        (
            Still(spaces.Box(-1, 1, (2, 3, 4, 5))),
            {},
            ["ppo", "observations", "Box(2, 3, 4, 5)", "at most three axes"],
        ),
        (None, {"network": "cnn"}, ["network 'cnn'", "Box(2,)", "use 'mlp'"]),
        (Still(spaces.Discrete(3)), {"network": "cnn"}, ["network 'cnn'", "Discrete(3)"]),
        (
            Still(box, spaces.Dict({"arm": box})),
            {},
            ["ppo", "action", "arm: Box(2,) float32"],
        ),
        (
            Still(box, spaces.Box(-1, 1, (2, 2))),
            {},
            ["ppo", "action", "Box(2, 2)", "one axis"],
        ),
        (
            Still(box, box),
            {"distribution": "tanh_normal"},
            ["tanh_normal", "finite bounds", "Box(2,)", "use distribution 'normal'"],
        ),
    ],
)
def test_spaces_that_do_not_fit_are_described(caplog, env, options, named):
    message = refusal(caplog, env, **options)
    assert all(part in message for part in named), message


def test_what_fits_is_taken():
    assert build(hparams=Hparams(lr=1e-3), sequence_length=4).num_iterations == 31_250
