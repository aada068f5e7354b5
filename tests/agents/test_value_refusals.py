"""What value-based agents and policy gradients cannot use they refuse when they are built."""

from dataclasses import replace
from typing import Any

import jax
import pytest
from still import Still

import rljax
from rljax.agents import a2c, dqn, tabular
from rljax.envs import probes, spaces
from rljax.envs.teams import as_team
from rljax.errors import UsageError

PLANNERS = ("dyna_q", "dyna_q_plus", "prioritized_sweeping")
TABLES = ("q_learning", "sarsa", "expected_sarsa", "double_q_learning", "q_lambda", *PLANNERS)
EXPLORING = ("dqn", "rainbow", "apex", "pqn")
DEEP = (*EXPLORING, "muzero")
LAGGING = ("impala", "appo")
SMALL: dict[str, dict[str, Any]] = {
    "dqn": {"buffer_size": 100, "batch_size": 8, "warmup_env_steps": 40, "hidden": (8,)},
    "pqn": {"num_minibatches": 2, "rollout_length": 8, "hidden": (8,)},
    "a2c": {"rollout_length": 8, "hidden": (8,)},
    "impala": {"rollout_length": 8, "hidden": (8,)},
    "appo": {"num_minibatches": 2, "rollout_length": 8, "hidden": (8,)},
    "reinforce": {"rollout_length": 8, "hidden": (8,)},
    **{name: {"rollout_length": 8} for name in TABLES},
}
SMALL["apex"] = SMALL["dqn"]
SMALL["muzero"] = {**SMALL["dqn"], "n_step": 3, "head": "scalar"}
SMALL["rainbow"] = {**SMALL["dqn"], "v_min": -1.0, "v_max": 1.0}


def build(name, env=None, **options):
    factory = getattr(rljax, name)
    return factory(env or Still(), **{"num_envs": 4, **SMALL[name], **options})


def refusal(caplog, name, env=None, tiny=(), **options) -> str:
    """The one sentence that refuses these arguments, with no compilation but of `tiny` things."""
    with jax.log_compiles(), pytest.raises(UsageError) as error:
        build(name, env, **options)
    compiled = [line for line in caplog.messages if line.startswith("Compiling")]
    tiny = ("_threefry_seed", *tiny)  # the key with which shapes are worked out
    assert not [line for line in compiled if not any(part in line for part in tiny)]
    message = str(error.value)
    assert "\n" not in message and len(message) < 250
    return message


def named(message: str, *parts: str) -> bool:
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} in {message!r}"
    return True


box = spaces.Box(-1.0, 1.0, (2,))


@pytest.mark.parametrize("name", [*DEEP, *TABLES])
def test_continuous_actions_are_refused_by_all_that_value_each_action(caplog, name):
    # Rainbow has made its atoms by then.
    message = refusal(caplog, name, Still(action_space=box), tiny=("linspace",))
    assert named(message, name, "needs", "Discrete", "action", "Box(2,) float32")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_needs_states_it_can_number(caplog, name):
    message = refusal(caplog, name, Still(observation_space=box))
    assert named(message, name, "table", "Discrete observations", "Box(2,) float32", "use dqn")


COUNTS = {
    "dqn": (
        "num_envs",
        "rollout_length",
        "total_env_steps",
        "buffer_size",
        "batch_size",
        "updates_per_iteration",
        "warmup_env_steps",
        "target_period",
        "n_step",
    ),
    "muzero": (
        "num_envs",
        "warmup_env_steps",
        "n_step",
        "unroll_steps",
        "num_simulations",
        "state_size",
    ),
    "pqn": ("num_envs", "rollout_length", "num_epochs", "num_minibatches", "total_env_steps"),
    "a2c": ("num_envs", "rollout_length", "total_env_steps", "n_step"),
    "impala": ("num_envs", "rollout_length", "total_env_steps"),
    "appo": ("num_envs", "rollout_length", "num_epochs", "num_minibatches", "total_env_steps"),
    "reinforce": ("num_envs", "rollout_length", "total_env_steps"),
    "q_learning": ("num_envs", "rollout_length", "total_env_steps", "n_step"),
}


@pytest.mark.parametrize("count", [0, -2, True, 2.0, "8"])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole_numbers_of_at_least_1(caplog, name, count):
    for what in COUNTS[name]:
        expected = f"{what} must be a whole number of at least 1, not {count!r}"
        assert refusal(caplog, name, **{what: count}) == expected


@pytest.mark.parametrize("count", [-1, True, 2.0, "8"])
@pytest.mark.parametrize("name", PLANNERS)
def test_planning_steps_are_a_whole_number(caplog, name, count):
    message = refusal(caplog, name, planning_steps=count)
    assert message == f"planning_steps must be a whole number of at least 0, not {count!r}"


@pytest.mark.parametrize("name", PLANNERS)
def test_a_model_has_a_number_for_each_pair_of_states(caplog, name):
    message = refusal(caplog, name, Still(observation_space=spaces.Discrete(6000)))
    assert named(message, "6000 states", "6000 x 2 x 6001 = 72,012,000", "67,108,864", "q_learning")


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("dqn", {"batch_size": 101}, ["batch_size = 101", "buffer_size = 100"]),
        ("rainbow", {"batch_size": 101}, ["batch_size = 101", "buffer_size = 100"]),
        ("dqn", {"warmup_env_steps": 101}, ["warmup_env_steps = 101", "buffer_size = 100"]),
        ("dqn", {"n_step": 11}, ["n_step = 11", "10 steps of each environment in the warm-up"]),
        ("muzero", {"n_step": 12}, ["unroll_steps + n_step = 17", "16 steps of each environment"]),
        ("rainbow", {"n_step": 11}, ["n_step = 11", "10 steps of each environment in the warm-up"]),
        ("a2c", {"n_step": 9}, ["n_step = 9", "rollout_length = 8"]),
        *((name, {"n_step": 9}, ["n_step = 9", "rollout_length = 8"]) for name in TABLES[:4]),
    ],
)
def test_a_count_above_what_there_is_names_both(caplog, name, options, parts):
    assert named(refusal(caplog, name, **options), *parts, "at most", "at least")


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("mbpo", "n_step"),
        ("tqc", "num_atoms"),
        ("a3c", "curiosity"),
        ("ippo", "curiosity"),
        ("iql", "hindsight"),
        ("maddpg", "kind"),
        ("r2d2", "sequence_lenght"),
    ],
)
def test_an_argument_that_an_agent_does_not_have_is_refused(name, argument):
    with pytest.raises(UsageError, match=f"{name}: argument '{argument}' is not known"):
        getattr(rljax, name)(Still(), **{argument: 3})


def test_alphazero_says_which_of_its_own_arguments_is_too_large():
    told = "longest_game = 200 is more than the 128 steps .* or warmup_env_steps at least 12800"
    with pytest.raises(UsageError, match=told):
        rljax.alphazero(rljax.make("TicTacToeGame"), longest_game=200)


def test_minibatches_divide_a_rollout(caplog):
    message = refusal(caplog, "pqn", num_minibatches=3)
    assert named(message, "num_envs x rollout_length = 32", "num_minibatches = 3", "2 or 4")


@pytest.mark.parametrize("total", [39, 40])
@pytest.mark.parametrize("name", ["dqn", "rainbow"])
def test_warm_up_leaves_something_to_learn_in(caplog, name, total):
    # Rainbow has made its atoms by then.
    message = refusal(caplog, name, total_env_steps=total, tiny=("linspace",))
    assert named(message, "warm-up", "40", f"total_env_steps = {total}", "warmup_env_steps")


def test_schedules_outlast_the_warm_up(caplog):
    message = refusal(caplog, "dqn", total_env_steps=100, schedule_env_steps=40)
    assert named(message, "schedule_env_steps = 40", "warm-up takes 40")


def test_warm_up_counts_in_whole_rollouts(caplog):
    message = refusal(caplog, "dqn", warmup_env_steps=37, total_env_steps=40)
    assert named(message, "warm-up takes 40", "total_env_steps = 40")


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("dqn", {"head": "c52"}, ["head 'c52'", "did you mean 'c51'?"]),
        ("dqn", {"head": "xyz"}, ["head 'xyz'", "there is c51, iqn, qr, scalar"]),
        ("dqn", {"loss": "hubre"}, ["loss 'hubre'", "did you mean 'huber'?"]),
        ("dqn", {"loss": "xyz"}, ["there is huber, squared"]),
        ("dqn", {"network": "mpl"}, ["network 'mpl'", "did you mean 'mlp'?"]),
        ("dqn", {"activation": "rleu"}, ["activation 'rleu'", "did you mean 'relu'?"]),
        ("rainbow", {"head": "c52"}, ["head 'c52'", "did you mean 'c51'?"]),
        *((n, {"exploration": "ez_gredy"}, ["did you mean 'ez_greedy'?"]) for n in EXPLORING),
        ("muzero", {"search": "gumble"}, ["search 'gumble'", "did you mean 'gumbel'?"]),
        ("dqn", {"exploration": "xyz"}, ["there is boltzmann, epsilon_greedy, ez_greedy"]),
        ("pqn", {"activation": "rleu"}, ["did you mean 'relu'?"]),
        ("a2c", {"network": "gur"}, ["network 'gur'", "did you mean 'gru'?"]),
        ("a2c", {"distribution": "tanhnormal"}, ["did you mean 'tanh_normal'?"]),
        *((n, {"correction": "vtarce"}, ["did you mean 'vtrace'?"]) for n in LAGGING),
        ("impala", {"correction": "xyz"}, ["there is none, vtrace"]),
        ("impala", {"network": "gur"}, ["network 'gur'", "did you mean 'gru'?"]),
        ("reinforce", {"network": "gur"}, ["did you mean 'gru'?"]),
        *((n, {"exploration": "bolzman"}, ["did you mean 'boltzmann'?"]) for n in TABLES),
        ("sarsa", {"exploration": "xyz"}, ["there is boltzmann, epsilon_greedy"]),
        *((n, {"step_size": "visits"}, ["did you mean 'visit_count'?"]) for n in TABLES),
        ("q_lambda", {"step_size": "xyz"}, ["there is constant, harmonic, visit_count"]),
    ],
)
def test_misspelt_choices_name_the_nearest(caplog, name, options, parts):
    message = refusal(caplog, name, tiny=("linspace",), **options)  # Rainbow's atoms
    (given,) = options.values()
    assert named(message, repr(given), *parts)


@pytest.mark.parametrize(("name", "noisy"), [("dqn", {"noisy": True}), ("rainbow", {})])
def test_noisy_weights_explore_alone(caplog, name, noisy):
    message = refusal(caplog, name, exploration="ez_greedy", tiny=("linspace",), **noisy)
    assert named(message, "noisy", "False", "exploration 'ez_greedy'")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"num_atoms": 1, "head": "c51"}, ["num_atoms", "2", "c51"]),
        ({"v_min": 1.0, "v_max": 1.0, "head": "c51"}, ["v_min = 1", "v_max = 1"]),
    ],
)
def test_atoms_that_span_nothing_are_refused(caplog, options, parts):
    assert named(refusal(caplog, "dqn", **options), *parts)


@pytest.mark.parametrize(
    ("name", "options"),
    [("dqn", {"initial_priorities": True}), ("apex", {"prioritized": False})]
    + [("apex", {"head": head}) for head in ("qr", "iqn")],
)
def test_priorities_of_new_steps_are_errors_of_values_for_a_prioritized_replay(
    caplog, name, options
):
    message = refusal(caplog, name, **options)
    assert named(message, f"{name}: ", "prioritized = True", 'head = "scalar"')


@pytest.mark.parametrize("name", ["dqn", "pqn"])
def test_a_memory_learns_from_sequences_and_an_agent_that_has_them_is_named(caplog, name):
    message = refusal(caplog, name, network="gru")
    assert named(message, name, "network 'gru'", "'mlp'", "r2d2")


def test_a_model_that_is_searched_has_a_representation_of_one_observation(caplog):
    message = refusal(caplog, "muzero", network="gru")
    assert named(message, "muzero", "network 'gru'", "'mlp'")
    assert named(refusal(caplog, "muzero", head="iqn", rescale_values=False), "muzero", '"c51"')
    assert named(refusal(caplog, "muzero", as_team(Still())), "muzero", "1 act in", "as_one")


@pytest.mark.parametrize("name", [*DEEP, *LAGGING, "a2c", "reinforce", *TABLES])
def test_hyperparameters_belong_to_the_agent(caplog, name):
    others = a2c.Hparams() if name in (*DEEP, *TABLES) else dqn.Hparams()
    for wrong in (others, {"lr": 1e-3}, dqn.Hparams):
        message = refusal(caplog, name, hparams=wrong)
        assert named(message, "hparams", name, "Hparams", type(wrong).__name__)


# Rollouts are laid out by tracing, which takes a key.
KEY_AND_ATOMS = ("stage", "seed", "linspace")


def allocated() -> int:
    return sum(array.nbytes for array in jax.live_arrays())


@pytest.mark.parametrize("name", ["dqn", "rainbow"])
def test_a_memory_too_large_for_an_index_is_refused_before_it_is_allocated(caplog, name):
    before = allocated()
    message = refusal(caplog, name, probes.Ring(), tiny=KEY_AND_ATOMS, buffer_size=10**12)
    assert named(message, f"{10**12}", f"at most {2**30}")
    assert allocated() - before < 10**4


@pytest.mark.parametrize(("name", "size"), [("dqn", 28), ("rainbow", 32)])
def test_a_memory_larger_than_what_is_free_is_refused_before_it_is_allocated(
    caplog, monkeypatch, name, size
):
    monkeypatch.setattr("rljax.replay.capacity.free_memory", lambda device: 2**27)
    before = allocated()
    message = refusal(caplog, name, probes.Ring(), tiny=KEY_AND_ATOMS, buffer_size=10**7)
    assert named(message, f"= {10**7} does not fit", f"{10**7} rows x", "0.12 GiB free", "at most")
    # Two observations, an action, a reward and two flags, a word or more each; priorities are a
    # number and their sums.
    per_row = float(message.split(" bytes")[0].rsplit(" ", 1)[1])
    assert 24 <= per_row <= size
    # What it proposes instead is as large as there is room for.
    rows = int(message.rsplit(" ", 1)[1])
    assert 0.99 < rows * per_row / 2**27 < 1.01
    assert allocated() - before < 10**4


@pytest.mark.parametrize("name", ["a2c", "reinforce", *LAGGING])
def test_policy_gradients_take_continuous_actions_and_a_carry(name):
    assert build(name, Still(box, box), network="gru").num_iterations > 0


@pytest.mark.parametrize("count", [-1, True, 2.0, "8", None])
@pytest.mark.parametrize("name", LAGGING)
def test_a_lag_is_a_whole_number_of_at_least_0(caplog, name, count):
    message = refusal(caplog, name, policy_lag=count)
    assert message == f"policy_lag must be a whole number of at least 0, not {count!r}"


def test_the_clips_of_ratios_are_above_0(caplog):
    for name, clip in (("impala", "rho_clip"), ("impala", "c_clip"), ("appo", "rho_clip")):
        factory = getattr(rljax, name)
        message = refusal(caplog, name, hparams=replace(factory.Hparams(), **{clip: 0.0}))
        assert message == f"{name}: hparams.{clip} must be above 0, not 0"


def test_appo_does_not_take_the_hyperparameters_of_ppo(caplog):
    assert named(refusal(caplog, "appo", hparams=rljax.ppo.Hparams()), "appo's Hparams")


def test_what_just_fits_is_taken():
    for options in ({"n_step": 10}, {"batch_size": 100}, {"warmup_env_steps": 100}):
        assert build("dqn", **options).num_iterations > 0
    assert build("q_learning", n_step=8, hparams=replace(tabular.Hparams(), lr=1e-3))
