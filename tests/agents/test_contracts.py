"""What every agent must keep: a row in `AGENTS` buys every test of this file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import arrays, different_leaves, is_key, jit

import rljax
from rljax._cpu import tuning
from rljax.envs import goals, probes, spaces
from rljax.envs.agents import joint_space
from rljax.envs.grid_world import GridWorld
from rljax.envs.teams import as_team
from rljax.replay import ReplayState, packing
from rljax.types import Agent

N, T = 4, 8
SIZES: dict[str, Any] = {"num_envs": N, "rollout_length": T, "total_env_steps": 100}
LR = 3e-3


@dataclass(frozen=True)
class Pictured(probes.Recall):
    """Recall, with the observation spread over 3 x 4 pixels."""

    observation_space = spaces.Box(-1.0, 1.0, (3, 4, 2))

    def _observe(self, time, cue):
        return jnp.broadcast_to(super()._observe(time, cue), (3, 4, 2))


@dataclass(frozen=True)
class Graded(probes.Recall):
    """Recall, whose last reward is the cue times the action."""

    action_space = spaces.Box(-2.0, 2.0, (1,))

    def step(self, key, state, action):
        return super().step(key, state, (action[0] + 1.0) / 2.0)


@dataclass(frozen=True)
class Privileged(Graded):
    """Graded, with what a critic may know besides: the cue, in every step."""

    observation_space = spaces.Dict(
        {"state": spaces.Box(-1.0, 1.0, (2,)), "cue": spaces.Box(-1.0, 1.0, (1,))}
    )

    def _observe(self, time, cue):
        return {"state": super()._observe(time, cue), "cue": cue[None]}


@dataclass(frozen=True)
class GradedSignals(probes.Signals):
    """Signals, of which the sign is asked for, and rewarded by how large it is."""

    action_space = spaces.Box(-2.0, 2.0, (1,))

    def step(self, key, state, action):
        state, obs, reward, *ends = super().step(key, state, action[:, 0] > 0)
        return state, obs, reward * jnp.abs(action[:, 0]), *ends


class Row(NamedTuple):
    """How to build an agent, and which of its hyperparameters play no part in it.

    Those of `OPTIONAL` play none but for what is `asked` for.
    """

    make: Callable[..., Agent]
    unread: set[str]
    asked: set[str] = set()


CURIOSITY = {"curiosity_coef", "curiosity_gamma", "curiosity_lr"}
OPTIONAL = CURIOSITY | {"hindsight_fraction", "newest_opponent"}


def partially(factory, env, lr: float = LR, **options) -> Callable[..., Agent]:
    hparams = factory.Hparams(lr=lr)
    if hasattr(hparams, "epsilon_end"):
        # In so short a run, exploring a little less would not be seen.
        hparams = replace(hparams, epsilon_start=0.9, epsilon_end=0.3, exploration_fraction=0.9)
    if hasattr(hparams, "temperature_end"):
        hparams = replace(hparams, temperature_end=3.0)  # For the same reason.
    return partial(factory, env, **SIZES, **options, hparams=hparams)


minibatches = {"num_epochs": 2, "num_minibatches": 2, "hidden": (8,)}
replayed = {
    "hidden": (8,),
    "buffer_size": 64,
    "batch_size": 8,
    "updates_per_iteration": 3,
    "warmup_env_steps": 32,
}
atoms = {"num_atoms": 5, "v_min": -2.0, "v_max": 2.0}
recall = partially(rljax.ppo, probes.Recall(), **minibatches)
target = partially(rljax.ppo, probes.ContinuousTarget(), **minibatches)
dqn, rainbow, apex, r2d2, drqn = (
    partially(
        factory,
        probes.Recall(),
        target_period=2,
        **replayed,
        **atoms,
    )
    for factory in (rljax.dqn, rljax.rainbow, rljax.apex, rljax.r2d2, rljax.drqn)
)
sequences = {"sequence_length": 4, "burn_in": 2, "overlap": 2, "n_step": 2}
r2d2, drqn = partial(r2d2, **sequences), partial(drqn, sequence_length=4, overlap=3)
ddpg, td3, d4pg, sac, tqc = (
    partially(getattr(rljax, name), Graded(), **replayed)
    for name in ("ddpg", "td3", "d4pg", "sac", "tqc")
)
few_models = {"num_models": 2, "model_hidden": (8,), "num_rollouts": 4, "model_buffer_size": 32}
mbpo = partially(rljax.mbpo, Graded(), **replayed, **few_models, model_period=2)
crossq = partially(rljax.crossq, Graded(), **replayed, critic_hidden=(8,), policy_delay=2)
asymmetric = {"actor_obs": ("state",), "normalize_observations": True}
signals = probes.Signals()
ippo, mappo = (partially(factory, signals, **minibatches) for factory in (rljax.ippo, rljax.mappo))
iql, vdn, qmix = (
    partially(factory, signals, target_period=2, **replayed)
    for factory in (rljax.iql, rljax.vdn, rljax.qmix)
)
maddpg, matd3 = (partially(factory, signals, **replayed) for factory in (rljax.maddpg, rljax.matd3))
imagined = {"num_simulations": 8, "unroll_steps": 2, "n_step": 2, "state_size": 8}
imagined |= {"model_hidden": (8,), "rescale_values": False, **atoms}
muzero = partially(rljax.muzero, probes.Recall(), **replayed, **imagined)
pqn = partially(rljax.pqn, probes.Recall(), **minibatches)
a2c = partially(rljax.a2c, probes.Recall(), hidden=(8,))
a3c = partially(rljax.a3c, probes.Recall(), hidden=(8,), policy_lag=1)
impala = partially(rljax.impala, probes.Recall(), hidden=(8,))
appo = partially(rljax.appo, probes.Recall(), **minibatches)
reinforce = partially(rljax.reinforce, probes.Recall(), hidden=(8,))
no_kl, no_time = {"target_kl", "kl_coef"}, {"gamma", "gae_lambda"}  # one step has no time
not_prioritized = {"priority_exponent", "importance_start"}
one_step = {"priority_mix"}
annealing = {"epsilon_start", "epsilon_end", "exploration_fraction"}
by_environment = {"epsilon_base", "epsilon_alpha"}
# By other explorations than epsilon-greedy.
elsewhere = {"duration_exponent", "temperature"} | by_environment
no_drift, of_discrete = {"noise_theta"}, {"target_entropy_fraction"}
no_noise = {"noise_std", "noise_ratio", "noise_theta"}
no_smoothing, no_logits = {"smoothing_std", "smoothing_clip"}, {"logit_penalty"}
of_puct = {"puct", "dirichlet_fraction", "dirichlet_alpha", "temperature", "temperature_end"}
unused = {"half_life", "visit_exponent", "trace_lambda"} | elsewhere  # by most tables


def distilled(env, hparams, **options):
    """A student of two untrained teachers, one of which has values instead of a policy."""
    teachers = [partially(factory, env, hidden=(8,))() for factory in (rljax.ppo, rljax.pqn)]
    taught = [(teacher, jit(teacher.init)(jax.random.key(9))) for teacher in teachers]
    return rljax.distill(recall(network="gru"), taught, hparams=hparams, **options)


distilled.Hparams = partial(rljax.distill.Hparams, teacher_share=0.5)
distilling = partially(distilled, probes.Recall(), num_epochs=2, num_minibatches=2)
grid = GridWorld("S..\n.CG", step_reward=-1.0, limit=5)


def table(factory, **options) -> Callable[..., Agent]:
    return partially(factory, grid, **options)


games = {**replayed, "num_simulations": 4, "longest_game": 6, "warmup_env_steps": 32}
alphazero = partially(rljax.alphazero, rljax.make("TicTacToeGame"), **games)
sweeping = table(rljax.prioritized_sweeping, planning_steps=2)

AGENTS = {
    "ppo": Row(recall, no_kl),
    "ppo gru": Row(partial(recall, network="gru"), no_kl),
    "ppo lstm": Row(partial(recall, network="lstm"), no_kl),
    "ppo min_gru": Row(partial(recall, network="min_gru"), no_kl),
    "ppo gtrxl": Row(partial(recall, network="gtrxl"), no_kl),
    "ppo cnn": Row(partially(rljax.ppo, Pictured(), **minibatches), no_kl),
    "ppo normal": Row(target, no_kl | no_time),
    "ppo tanh_normal": Row(partial(target, distribution="tanh_normal"), no_kl | no_time),
    "ppo asymmetric": Row(
        partially(rljax.ppo, Privileged(), **minibatches, **asymmetric, critic_hidden=(4,)), no_kl
    ),
    "ppo kl_penalty": Row(partial(recall, objective="kl_penalty"), set()),
    "ppo legal actions": Row(
        partially(rljax.ppo, probes.LegalActions(length=5), **minibatches), no_kl
    ),
    "ppo stop_at_kl clip_value normalize_observations": Row(
        partial(recall, stop_at_kl=True, clip_value=True, normalize_observations=True),
        {"kl_coef"},
    ),
    "ppo opponents": Row(
        partially(
            rljax.ppo,
            rljax.make("TicTacToeGame"),
            **minibatches,
            opponents=3,
            opponent_period=1,
        ),
        no_kl,  # After so few iterations all versions move alike, whichever is drawn.
    ),
    "ppo rnd": Row(partial(recall, curiosity="rnd"), no_kl, CURIOSITY),
    "ippo own gru": Row(partial(ippo, parameters="own", network="gru"), no_kl),
    "ippo legal actions": Row(
        partially(rljax.ippo, as_team(probes.LegalActions(length=5)), **minibatches), no_kl
    ),
    "mappo": Row(mappo, no_kl),
    "a2c": Row(a2c, set()),
    "a2c icm": Row(partial(a2c, curiosity="icm"), set(), CURIOSITY),
    "impala counts": Row(partial(impala, curiosity="counts"), set(), CURIOSITY),
    "a2c n_step gru": Row(partial(a2c, n_step=3, network="gru"), {"gae_lambda"}),
    "a3c": Row(a3c, set()),
    "impala": Row(impala, set()),
    "impala gru lag": Row(partial(impala, network="gru", policy_lag=2), set()),
    "appo lag": Row(partial(appo, policy_lag=2), no_kl),
    "reinforce": Row(reinforce, set()),
    "reinforce without baseline": Row(partial(reinforce, baseline=False), {"value_coef"}),
    "distill gru": Row(distilling, {"sparsity", "prune_begin", "prune_end"}),
    "dqn": Row(dqn, not_prioritized | one_step | elsewhere),
    "dqn soft double n_step normalize_observations": Row(
        partial(dqn, double=True, n_step=3, target_period=1, normalize_observations=True),
        not_prioritized | one_step | elsewhere,
    ),
    "dqn prioritized squared": Row(
        partial(dqn, prioritized=True, loss="squared"), one_step | elsewhere
    ),
    "dqn hindsight": Row(
        partially(rljax.dqn, goals.BitFlip(3), target_period=2, hindsight=3, **replayed),
        not_prioritized | one_step | elsewhere,
        {"hindsight_fraction"},
    ),
    "dqn rnd": Row(
        partial(dqn, curiosity="rnd"), not_prioritized | one_step | elsewhere, CURIOSITY
    ),
    "dqn legal actions": Row(
        partially(rljax.dqn, probes.LegalActions(), target_period=2, **replayed),
        not_prioritized | one_step | elsewhere,
    ),
    "dqn ez_greedy": Row(
        partial(dqn, exploration="ez_greedy"),
        not_prioritized | one_step | elsewhere - {"duration_exponent"},
    ),
    "dqn qr": Row(partial(dqn, head="qr"), not_prioritized | one_step | elsewhere),
    "dqn iqn dueling": Row(
        partial(dqn, head="iqn", dueling=True), not_prioritized | one_step | elsewhere
    ),
    "iql own prioritized ez_greedy": Row(
        partial(iql, parameters="own", prioritized=True, exploration="ez_greedy"),
        one_step | elsewhere - {"duration_exponent"},
    ),
    "iql legal actions": Row(
        partially(rljax.iql, as_team(probes.LegalActions()), target_period=2, **replayed),
        not_prioritized | one_step | elsewhere,
    ),
    "vdn": Row(vdn, not_prioritized | one_step | elsewhere),
    "vdn normalize_observations": Row(
        partial(vdn, normalize_observations=True), not_prioritized | one_step | elsewhere
    ),
    "qmix": Row(qmix, not_prioritized | one_step | elsewhere),
    "qmix gru": Row(
        partial(qmix, network="gru", sequence_length=4, overlap=2),
        not_prioritized | one_step | elsewhere,
    ),
    "rainbow": Row(rainbow, annealing | one_step | elsewhere),
    "apex": Row(apex, annealing | one_step | elsewhere - by_environment),
    "r2d2": Row(r2d2, annealing | elsewhere - by_environment),
    "r2d2 min_gru": Row(partial(r2d2, network="min_gru"), annealing | elsewhere - by_environment),
    "r2d2 gru iqn ez_greedy": Row(
        partial(
            r2d2,
            network="gru",
            head="iqn",
            rescale_values=False,
            initial_priorities=False,
            exploration="ez_greedy",
        ),
        elsewhere - {"duration_exponent"},
    ),
    "drqn": Row(drqn, not_prioritized | one_step | elsewhere),
    "ddpg": Row(ddpg, not_prioritized | no_drift),
    "ddpg ornstein_uhlenbeck normalize_observations": Row(
        partial(ddpg, noise="ornstein_uhlenbeck", normalize_observations=True), not_prioritized
    ),
    "ddpg hindsight": Row(
        partially(rljax.ddpg, goals.PointReach(limit=3), hindsight=4, **replayed),
        not_prioritized | no_drift,
        {"hindsight_fraction"},
    ),
    "td3": Row(td3, not_prioritized | no_drift),
    "d4pg": Row(partial(d4pg, **atoms), no_drift),
    "maddpg": Row(maddpg, not_prioritized | no_noise),
    "maddpg teams soft n_step prioritized": Row(
        partial(maddpg, parameters="teams", relaxation="soft", n_step=3, prioritized=True),
        no_noise,
    ),
    "maddpg shared not central legal actions": Row(
        partially(
            rljax.maddpg,
            as_team(probes.LegalActions()),
            **replayed,
            parameters="shared",
            central=False,
        ),
        not_prioritized | no_noise,
    ),
    "maddpg ornstein_uhlenbeck normalize_observations": Row(
        partially(
            rljax.maddpg,
            GradedSignals(),
            **replayed,
            noise="ornstein_uhlenbeck",
            normalize_observations=True,
        ),
        not_prioritized | no_logits,
    ),
    "matd3": Row(
        partially(rljax.matd3, GradedSignals(), **replayed), not_prioritized | no_drift | no_logits
    ),
    "matd3 shared discrete": Row(
        partial(matd3, parameters="shared"), not_prioritized | no_noise | no_smoothing
    ),
    "sac": Row(sac, not_prioritized | no_noise | of_discrete),
    "sac discrete": Row(
        partially(rljax.sac, probes.Recall(), **replayed),
        not_prioritized | no_noise | {"target_entropy"},
    ),
    "sac subset of critics, fixed temperature": Row(
        partial(
            sac,
            num_critics=4,
            target_critics=2,
            policy_values="average",
            learn_temperature=False,
            layer_norm=True,
        ),
        not_prioritized | no_noise | of_discrete | {"target_entropy"},
    ),
    "sac asymmetric": Row(
        partially(rljax.sac, Privileged(), **replayed, **asymmetric, reward_scale=2.0),
        not_prioritized | no_noise | of_discrete,
    ),
    "mbpo": Row(mbpo, not_prioritized | no_noise | of_discrete),
    "crossq": Row(crossq, not_prioritized | no_noise | of_discrete | {"tau"}),
    "tqc": Row(
        partial(tqc, num_critics=2, num_quantiles=5, dropped_quantiles=1),
        not_prioritized | no_noise | of_discrete,
    ),
    # A few iterations of a tiny network end the same with little noise at the root.
    "muzero": Row(
        muzero, not_prioritized | {"gumbel_scale", "dirichlet_alpha", "dirichlet_fraction"}
    ),
    "muzero gumbel scalar prioritized reanalysed normalize_observations": Row(
        partial(
            muzero,
            search="gumbel",
            head="scalar",
            prioritized=True,
            reanalysed=True,
            normalize_observations=True,
            # The first values are far apart, as they are of a network that knows nothing.
            hparams=replace(muzero.keywords["hparams"], gumbel_scale=100.0),
        ),
        of_puct,
    ),
    "muzero legal actions": Row(
        partially(rljax.muzero, probes.LegalActions(), **replayed, **imagined),
        not_prioritized | {"gumbel_scale"},
    ),
    "pqn": Row(pqn, elsewhere),
    "pqn ez_greedy": Row(partial(pqn, exploration="ez_greedy"), elsewhere - {"duration_exponent"}),
    "q_learning": Row(table(rljax.q_learning), unused),
    "q_learning counts": Row(
        table(rljax.q_learning, curiosity="counts"), unused, {"curiosity_coef"}
    ),
    "q_learning legal actions": Row(partially(rljax.q_learning, probes.LegalActions(7)), unused),
    "q_learning n_step boltzmann harmonic": Row(
        table(rljax.q_learning, n_step=3, exploration="boltzmann", step_size="harmonic"),
        annealing | unused - {"temperature", "half_life"},
    ),
    "sarsa": Row(table(rljax.sarsa), unused),
    "expected_sarsa visit_count": Row(
        table(rljax.expected_sarsa, step_size="visit_count"), unused - {"visit_exponent"}
    ),
    "double_q_learning": Row(table(rljax.double_q_learning), unused),
    "q_lambda": Row(table(rljax.q_lambda), unused - {"trace_lambda"}),
    "alphazero": Row(alphazero, {"gumbel_scale"}),
    "alphazero gumbel": Row(
        partial(
            alphazero,
            search="gumbel",
            exploring_moves=3,
            random_moves=1,
            symmetries=False,
            longest_game=3,
        ),
        {"puct", "dirichlet_fraction", "dirichlet_alpha", "temperature"},
    ),
    "dyna_q": Row(table(rljax.dyna_q, planning_steps=3), unused | {"kappa", "priority_threshold"}),
    "dyna_q_plus legal actions": Row(
        partially(rljax.dyna_q_plus, probes.LegalActions(7), planning_steps=2),
        unused | {"priority_threshold"},
    ),
    "prioritized_sweeping": Row(
        # The first errors are 1, and a change leaves 0.997 of one.
        partial(sweeping, hparams=replace(sweeping.keywords["hparams"], priority_threshold=0.998)),
        unused | {"kappa"},
    ),
}


class Compiled:
    """A row's agent, with functions that are compiled once and shared by all tests of it."""

    def __init__(self, row: Row):
        self.row, self.agent = row, row.make()
        self.init = jit(self.agent.init)
        self.donating_step = jit(self.agent.step, donate_argnums=0)

    def step(self, state):
        """One step, of a copy, so that `state` can be used again."""
        return self.donating_step(jax.tree.map(jnp.copy, state))

    def run(self, state, steps: int):
        """The state after `steps`, and the metrics of the last one."""
        metrics = {}
        for _ in range(steps):
            state, metrics = self.step(state)
        return state, metrics


LONG = {
    "alphazero",
    "distill gru",
    "muzero",
    "qmix",
    "sac",
    "mappo",
    "maddpg",
    "dyna_q",
    "ppo gru",
    "pqn",
    "r2d2",
    "td3",
    "ppo legal actions",
    "ppo opponents",
    "ppo rnd",
    "dqn hindsight",
    "ppo cnn",
    "a2c",
    "impala",
    "reinforce",
    "rainbow",
    "d4pg",
    "crossq",
    "mbpo",
    "sarsa",
    "expected_sarsa visit_count",
    "double_q_learning",
    "prioritized_sweeping",
}
"""Rows that compile programs much like those of another row."""
SLOW = {
    "appo lag",
    "dqn soft double n_step normalize_observations",
    "ppo stop_at_kl clip_value normalize_observations",
    "a3c",
    "apex",
    "drqn",
    "tqc",
    "matd3",
    "ppo normal",
    "dqn prioritized squared",
    "ddpg",
    "sac discrete",
    "ppo tanh_normal",
    "dqn iqn dueling",
    "ippo own gru",
    "q_learning n_step boltzmann harmonic",
    "q_learning counts",
    "ppo lstm",
    "ppo min_gru",
    "ppo gtrxl",
    "r2d2 min_gru",
    "r2d2 gru iqn ez_greedy",
    "a2c icm",
    "dqn rnd",
    "impala counts",
    "ppo kl_penalty",
    "impala gru lag",
    "dqn ez_greedy",
    "dqn qr",
    "ddpg ornstein_uhlenbeck normalize_observations",
    "sac asymmetric",
    "sac subset of critics, fixed temperature",
    "pqn ez_greedy",
    "ddpg hindsight",
    "dqn legal actions",
    "q_learning legal actions",
    "ppo asymmetric",
    "a2c n_step gru",
    "vdn",
    "vdn normalize_observations",
    "dyna_q_plus legal actions",
    "alphazero gumbel",
    "muzero gumbel scalar prioritized reanalysed normalize_observations",
    "muzero legal actions",
    "ippo legal actions",
    "iql legal actions",
    "iql own prioritized ez_greedy",
    "maddpg teams soft n_step prioritized",
    "maddpg shared not central legal actions",
    "maddpg ornstein_uhlenbeck normalize_observations",
    "matd3 shared discrete",
    "qmix gru",
}
"""Rows of options of such rows, and agents that are others with one part more."""


def marks(name: str) -> list:
    """Of a row."""
    return [getattr(pytest.mark, kind) for kind, names in MARKED.items() if name in names]


MARKED = {"long": LONG, "slow": SLOW}


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=marks(n)) for n in AGENTS],
)
def case(request) -> Compiled:
    return Compiled(AGENTS[request.param])


POPULATIONS = {"sac"}
"""Long rows whose populations are no slow tests."""


def as_population(name: str):
    """A row for the test of populations, which compiles one program more."""
    slow = name in LONG - POPULATIONS
    return pytest.param(name, marks=[pytest.mark.slow] if slow else marks(name))


FOLLOWING = ("target", "behaviour", "pool")
"""Parts of the parameters that do not learn."""


def with_hparams(state, **changes: float):
    changes = {name: jnp.float32(value) for name, value in changes.items()}
    return replace(state, hparams=replace(state.hparams, **changes))


def through_bytes(state):
    def leaf(x):
        data = np.asarray(jax.random.key_data(x) if is_key(x) else x)
        data = jax.device_put(np.frombuffer(data.tobytes(), data.dtype).reshape(data.shape))
        return jax.random.wrap_key_data(data) if is_key(x) else data

    return jax.tree.map(leaf, jax.device_get(state))


def unpacked(state):
    """A state whose replay buffers have their rows as the fields they are made of."""

    def fields(replay):
        if not isinstance(replay, ReplayState):
            return replay
        rows, firsts = packing.unpack(replay.layout, replay.storage), replay.firsts
        if not isinstance(firsts, tuple):
            firsts = packing.unpack(replay.first_layout, firsts)
        return replace(replay, storage=rows, firsts=firsts)

    return jax.tree.map(fields, state, is_leaf=lambda node: isinstance(node, ReplayState))


def test_one_program_serves_fresh_stepped_restored_and_changed_states(case):
    fresh = case.init(jax.random.key(0))
    stepped, _ = case.run(fresh, 3)
    for state in (through_bytes(stepped), with_hparams(stepped, lr=0.5)):
        case.run(state, 2)
    assert case.donating_step._cache_size() == 1


@pytest.mark.parametrize("case", map(as_population, AGENTS), indirect=True, scope="module")
def test_a_population_equals_a_loop_over_its_members_and_its_members_differ(case):
    population = rljax.vmap(case.agent)
    seeds, lrs = [0, 1, 0], [1e-3, 1e-3, 1e-2]
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    states = jit(population.init)(keys, replace(case.agent.hparams, lr=jnp.array(lrs)))
    step = jit(population.step)
    for _ in range(2):
        states, metrics = step(states)
    members = [jax.tree.map(lambda x, i=i: x[i], (states, metrics)) for i in range(3)]
    for seed, lr, member in zip(seeds, lrs, members, strict=True):
        state = case.init(jax.random.key(seed), replace(case.agent.hparams, lr=lr))
        alone, together = (
            arrays((unpacked(after), reported)) for after, reported in (case.run(state, 2), member)
        )
        assert alone.keys() == together.keys()
        for path, x in alone.items():
            if np.issubdtype(x.dtype, np.floating):
                np.testing.assert_allclose(together[path], x, 1e-4, 1e-5, err_msg=path)
            else:
                np.testing.assert_array_equal(together[path], x, err_msg=path)
    params = [member[0].learner.params for member in members]
    workers = [member[0].worker for member in members]
    assert different_leaves(params[0], params[1]) and different_leaves(workers[0], workers[1])
    assert different_leaves(params[0], params[2])


def test_seeds_differ_and_the_same_seed_gives_the_same_bits(case):
    first, again, other = (case.init(jax.random.key(seed)) for seed in (0, 0, 1))
    for _ in range(3):
        assert not different_leaves(first, again)
        first, again, other = (case.step(state)[0] for state in (first, again, other))
    for part in (lambda s: s.key, lambda s: s.learner.params, lambda s: s.worker):
        assert different_leaves(part(first), part(other))


def test_k_steps_then_a_restore_then_k_steps_equal_2k_steps_bit_for_bit(case):
    halfway, _ = case.run(case.init(jax.random.key(0)), 3)
    assert not different_leaves(halfway, through_bytes(halfway))
    assert not different_leaves(case.run(halfway, 3), case.run(through_bytes(halfway), 3))


def test_metrics_are_finite_scalars_and_so_is_what_was_learnt(case):
    state = case.init(jax.random.key(0))
    for _ in range(3):
        state, metrics = case.step(state)
        for path, x in arrays((metrics, state.learner)).items():
            assert np.isfinite(x).all(), path
        assert {x.shape for x in metrics.values()} == {()}
    assert state.iteration == 3


def trace_two_iterations(agent, step):
    """Trace a whole small run; JAX's checker of keys looks at it then, without compiling it.

    It knows JAX's own random numbers, not those that are written out for CPUs.
    """
    with jax.debug_key_reuse(True), tuning(False):
        run = jit(lambda key: jax.lax.scan(lambda s, _: step(s), agent.init(key), length=2))
        return run.trace(jax.random.key(0))


def test_no_key_is_used_twice(case):
    trace_two_iterations(case.agent, case.agent.step)


def test_the_checker_of_keys_sees_a_key_that_is_not_renewed():
    agent = recall()

    def careless(state):
        after, metrics = agent.step(state)
        return replace(after, key=state.key), metrics

    with pytest.raises(jax.errors.KeyReuseError):
        trace_two_iterations(agent, careless)


def test_worker_leaves_lead_with_the_environments_and_nothing_else_knows_of_them(case):
    few, more = (
        jax.eval_shape(agent.init, jax.random.key(0))
        for agent in (case.agent, case.row.make(num_envs=2 * N))
    )
    for n, state in ((N, few), (2 * N, more)):
        assert {x.shape[:1] for x in jax.tree.leaves(state.worker)} == {(n,)}
    assert replace(few, worker=None) == replace(more, worker=None)


def test_a_donated_state_is_used_up_and_replaced(case, recwarn):
    state = case.init(jax.random.key(0))
    after, _ = case.donating_step(state)
    assert all(x.is_deleted() for x in jax.tree.leaves(state))
    assert not any(x.is_deleted() for x in jax.tree.leaves(after))
    assert not [w for w in recwarn if "donated" in str(w.message)]


def test_init_gives_no_array_twice_so_that_its_state_can_be_donated(case):
    # What `jit` would copy apart, `init` called without it would return as one buffer.
    outputs = jax.make_jaxpr(case.agent.init)(jax.random.key(0)).jaxpr.outvars
    variables = [x for x in outputs if not hasattr(x, "val")]  # the others are constants
    assert len(variables) == len(set(variables))


def test_hyperparameters_are_read_from_the_state(case):
    before, _ = case.run(case.init(jax.random.key(0)), 1)
    learnt = case.step(before)[0].learner
    assert different_leaves(case.step(with_hparams(before, lr=0.1))[0].learner, learnt)
    assert not different_leaves(case.step(with_hparams(before, lr=LR))[0].learner, learnt)


def test_without_a_step_size_nothing_is_learnt_and_the_loss_sees_the_policy_that_acted(case):
    trained, _ = case.run(with_hparams(case.init(jax.random.key(0)), lr=0.1), 3)
    after, metrics = case.step(with_hparams(trained, lr=0.0))
    changed = different_leaves(trained.learner.params, after.learner.params)
    # A target network, and actors that lag, follow what was learnt before.
    assert all("statistics" in path or path.startswith(FOLLOWING) for path in changed)
    # Actors that lag have another policy.
    if "losses/approx_kl" in metrics and "charts/policy_lag" not in metrics:
        assert abs(metrics["losses/approx_kl"]) < 1e-6 and metrics["losses/clipfrac"] == 0


def test_every_hyperparameter_given_to_init_counts_unless_listed_as_unread(case):
    def outcome(hparams):
        state, metrics = case.run(case.init(jax.random.key(0), hparams), 3)
        return state.learner, metrics

    usual = outcome(case.agent.hparams)
    numbers = asdict(case.agent.hparams)
    unread = {
        name
        for name, number in numbers.items()
        if not different_leaves(
            usual, outcome(replace(case.agent.hparams, **{name: number * 1e-6}))
        )
    }
    assert unread == case.row.unread | (OPTIONAL & numbers.keys()) - case.row.asked


def test_actions_lie_in_their_space_and_only_samples_need_a_key(case):
    state, env = case.init(jax.random.key(0)), case.agent.env
    space = joint_space(env, env.action_space)
    act = jit(case.agent.act)
    carry = case.agent.initial_carry((N,))
    keys = (None, None, *map(jax.random.key, range(32)))
    best, best_again, *sampled = (
        np.asarray(act(state, state.worker.obs, carry, key)[0]) for key in keys
    )
    for actions in (best, *sampled):
        assert actions.shape == (N, *space.shape)
        low, high = (space.low, space.high) if hasattr(space, "low") else (0, space.n - 1)
        assert (low <= actions).all() and (actions <= high).all()
    assert (best == best_again).all()
    assert (np.array(sampled) != sampled[0]).any()


def test_steps_are_rounded_up_to_whole_iterations(case):
    agent = case.agent
    assert agent.env_steps_per_iteration == N * T
    assert agent.env_steps(agent.num_iterations - 1) < 100 <= agent.env_steps(agent.num_iterations)
