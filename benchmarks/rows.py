"""All rows of the benchmark: fixed work, the libraries beside, and what must be learnt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rljax.errors import UsageError, nearest

Work = dict[str, Any]
"""What a side is told, as JSON; `kind` says what to do. Names are those of `rljax`'s configs, and
each side translates them. `side` and `seed` are added when it is measured."""


@dataclass(frozen=True)
class Row:
    """A fixed piece of work."""

    name: str
    suite: str
    work: Work
    least: float
    """What a side's result must reach, or its speed does not count."""
    most: float = math.inf
    """What it must not exceed, where the right result is known."""
    unit: str = "steps/s"
    """Of a rate (steps are those of environments), or "s", of which less is better."""
    peers: tuple[str, ...] = ()
    """Who can do the same work."""
    curve: tuple[str, int] | None = None
    """What grows from row to row, and how large it is here."""


@dataclass(frozen=True)
class Library:
    """Another side: its script in `sides/`, and what of its work is not alike."""

    title: str
    script: str
    unlike: str
    has_checkout: bool = False


LIBRARIES = {
    "purejaxrl": Library(
        "PureJaxRL",
        "run_purejaxrl",
        "takes a time limit for the end of an episode, and does not clip DQN's gradients",
        has_checkout=True,
    ),
    "rejax": Library(
        "rejax",
        "run_rejax",
        "takes a time limit for the end of an episode, clips gradients by element, steps an "
        "optimizer for each of PPO's networks, and samples its replay without replacement",
    ),
    "sb3": Library("SB3", "run_sb3", "steps Gymnasium's environments, one after the other"),
    "sbx": Library(
        "sbx",
        "run_sb3",
        "steps Gymnasium's environments, one after the other, and does not clip the value loss",
    ),
    "rllib": Library(
        "RLlib",
        "run_rllib",
        "steps Gymnasium's environments, one after the other, does not clip the value loss, and "
        "begins its training after a first iteration that is not timed",
    ),
    "gymnax": Library(
        "gymnax", "run_gymnax", "keeps no account of each episode's return and length"
    ),
    "flashbax": Library(
        "flashbax", "run_flashbax", "keeps one observation of a step, and pairs them"
    ),
    "gymnasium": Library(
        "Gymnasium", "run_loop", "is one environment, and fewer steps, with a fixed step size"
    ),
    "python": Library(
        "Python lists", "run_loop", "is one environment, and fewer steps, with a fixed step size"
    ),
}


def training(
    agent: str,
    total_env_steps: int,
    structure: Work,
    hparams: Work,
    env: str = "CartPole-v1",
    seeds: int = 1,
    **more: Any,
) -> Work:
    """Training from beginning to end."""
    return {
        "kind": "training",
        "agent": agent,
        "env": env,
        "seeds": seeds,
        "total_env_steps": total_env_steps,
        "structure": structure,
        "hparams": hparams,
        **more,
    }


def ppo(num_envs: int, rollout_length: int, iterations: int, **changes: Any) -> Work:
    """PPO as PureJaxRL has it by default; `changes` are of the structure, `lr`, or the work."""
    structure = {
        "num_epochs": 4,
        "num_minibatches": 4,
        "hidden": [64, 64],
        "network": "mlp",
        "activation": "tanh",
        "anneal_lr": True,
        "clip_value": True,
    }
    structure |= {key: changes.pop(key) for key in [*structure] if key in changes}
    hparams = {
        "lr": changes.pop("lr", 2.5e-4),
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_eps": 0.2,
        "entropy_coef": 0.01,
        "value_coef": 0.5,
        "max_grad_norm": 0.5,
    }
    structure |= {"num_envs": num_envs, "rollout_length": rollout_length}
    return training("ppo", num_envs * rollout_length * iterations, structure, hparams, **changes)


def dqn(num_envs: int, total_env_steps: int, **more: Any) -> Work:
    """DQN as PureJaxRL has it by default: an update of 128 for each step of all environments."""
    structure = {
        "num_envs": num_envs,
        "buffer_size": 10_000,
        "batch_size": 128,
        "warmup_env_steps": 10_000,
        "target_period": 50,
        "hidden": [120, 84],
        "activation": "relu",
    }
    hparams = {
        "lr": 2.5e-4,
        "gamma": 0.99,
        "tau": 1.0,
        "epsilon_start": 1.0,
        "epsilon_end": 0.05,
        "exploration_fraction": 0.5,
    }
    return training("dqn", total_env_steps, structure, hparams, **more)


REJAX_PPO = ppo(
    5, 100, 200, num_epochs=5, num_minibatches=5, anneal_lr=False, lr=7.5e-4
)  # its configs/gymnax/cartpole.yaml, without the evaluations in between
REJAX_DQN = training(
    "dqn",
    100_000,
    {
        "num_envs": 10,
        "buffer_size": 50_000,
        "batch_size": 100,
        "updates_per_iteration": 5,
        "warmup_env_steps": 5_000,
        "target_period": 5,
        "dueling": True,
        "double": True,
        "hidden": [64, 64],
        "activation": "silu",
    },
    {
        "lr": 1e-3,
        "gamma": 0.99,
        "tau": 0.02,
        "epsilon_start": 1.0,
        "epsilon_end": 0.05,
        "exploration_fraction": 0.5,
        "max_grad_norm": 10.0,
    },
)  # the same file's
LAKE = training(
    "q_learning",
    10_240_000,
    {"num_envs": 512, "step_size": "visit_count"},
    {
        "lr": 1.0,
        "gamma": 0.99,
        "epsilon_start": 1.0,
        "epsilon_end": 0.2,
        "exploration_fraction": 0.5,
    },
    env="FrozenLake4x4",
    peer_env_steps=1_000_000,
)
WIDE = {
    "kind": "arithmetic",
    "epochs": [1, 9],
    "runs": 2,
}


def _rollouts(env: str, num_envs: int, rollouts: int) -> Work:
    """Random actions, in rollouts of 16,384 steps over all environments."""
    length = 16_384 // num_envs
    sizes = {"num_envs": num_envs, "rollout_length": length, "rollouts": rollouts}
    return {"kind": "rollouts", "env": env, **sizes}


def _replay(rows: int, prioritized: bool) -> Work:
    """A step of 8 environments and a sample of 128, 2,000 times."""
    sizes = {"rows": rows, "num_envs": 8, "batch_size": 128, "cycles": 2_000}
    return {"kind": "replay", "prioritized": prioritized, **sizes}


CARTPOLE, BREAKOUT = "CartPole-v1", "Breakout-MinAtar"
LEARNT = 100.0  # CartPole, of at most 500; a random policy has 22
BEGUN = 30.0  # the same, after a few thousand steps
SMALL = ppo(4, 128, 976)
RANDOM = {CARTPOLE: 22.3, BREAKOUT: 0.412}  # the mean return of random actions

ROWS = [
    *(
        Row(
            f"rollout {env.split('-')[0]} {envs}",
            "rollout",
            _rollouts(env, envs, rollouts),
            0.95 * RANDOM[env],
            1.05 * RANDOM[env],
            peers=("gymnax",),
        )
        for env, rollouts in ((CARTPOLE, 300), (BREAKOUT, 60))
        for envs in (64, 2048)
    ),
    Row("ppo 4x128", "ppo", SMALL, LEARNT, peers=("purejaxrl",)),
    Row("ppo 64x128", "ppo", ppo(64, 128, 122), LEARNT, peers=("purejaxrl",)),
    Row("ppo 512x32", "ppo", ppo(512, 32, 61), LEARNT, peers=("purejaxrl",)),
    Row(
        "ppo 2048x32",
        "ppo",
        ppo(2048, 32, 30, num_minibatches=16),
        LEARNT,
        peers=("purejaxrl",),
    ),
    Row(
        "ppo Breakout 64x128",
        "ppo",
        ppo(64, 128, 61, num_minibatches=8, lr=5e-3, activation="relu", env=BREAKOUT),
        5.0,
        peers=("purejaxrl",),
    ),
    Row("ppo rejax", "ppo", REJAX_PPO, LEARNT, peers=("rejax",)),
    Row("ppo 4x128 short", "ppo", ppo(4, 128, 60), 40.0, peers=("sb3", "sbx", "rllib")),
    *(
        Row(
            f"arithmetic {minibatches} of {8192 // minibatches:,}",
            "ppo",
            ppo(64, 128, 8, hidden=[256, 256], num_minibatches=minibatches, lr=1e-3) | WIDE,
            BEGUN,
            unit="GFLOP/s",
        )
        for minibatches in (1, 4)
    ),
    Row("dqn 10", "dqn", dqn(10, 200_000), 60.0, peers=("purejaxrl",)),
    Row("dqn 128", "dqn", dqn(128, 2_000_000 // 128 * 128), 60.0, peers=("purejaxrl",)),
    Row("dqn rejax", "dqn", REJAX_DQN, 60.0, peers=("rejax",)),
    Row("tabular lake", "tabular", LAKE, 0.65, peers=("gymnasium", "python")),
    Row(
        "seeds 8 of ppo 4x128",
        "seeds",
        ppo(4, 128, 390, seeds=8),
        LEARNT,
        peers=("purejaxrl",),
    ),
    *(
        Row(
            f"replay {'prioritized' if prioritized else 'uniform'} {name}",
            "replay",
            _replay(rows, prioritized),
            1.0,
            1.0,
            unit="cycles/s",
            peers=("flashbax",),
        )
        for prioritized in (False, True)
        for name, rows in (("10k", 10_000), ("1M", 1_000_000))
    ),
    Row(
        "compile ppo 4x128",
        "compile",
        ppo(4, 128, 100, measure="compiling"),
        60.0,
        unit="s",
        peers=("purejaxrl",),
    ),
    Row(
        "compile dqn 10",
        "compile",
        dqn(10, 100_000, measure="compiling"),
        25.0,
        unit="s",
        peers=("purejaxrl",),
    ),
    Row(
        "start",
        "compile",
        training("ppo", 150_000, {"num_envs": 8, "rollout_length": 64}, {"lr": 2e-3})
        | {"kind": "start"},
        1.0,
        unit="s",
    ),
    Row(
        "pmap ppo 64x128",
        "devices",
        ppo(64, 128, 49) | {"kind": "spreading", "runs": 6},
        LEARNT,
    ),
    Row("pmap dqn 10", "devices", dqn(10, 60_000) | {"kind": "spreading", "runs": 6}, 25.0),
    *(
        Row(
            f"growth seeds {seeds}",
            "growth",
            ppo(4, 128, 16, seeds=seeds, lr=2e-3),
            BEGUN,
            curve=("seeds", seeds),
        )
        for seeds in (1, 2, 4, 8, 16, 32, 64, 128, 256)
    ),
    *(
        Row(
            f"growth environments {envs:,}",
            "growth",
            ppo(envs, 32, iterations, lr=lr),
            BEGUN,
            curve=("environments", envs),
        )
        for envs, iterations, lr in (
            (1, 640, 5e-4),
            (4, 400, 1e-3),
            (16, 200, 1e-3),
            (64, 100, 2e-3),
            (256, 50, 2e-3),
            (1_024, 25, 4e-3),
            (4_096, 12, 8e-3),
            (16_384, 6, 1e-2),
        )
    ),
    *(
        Row(
            f"growth width {width:,}",
            "growth",
            ppo(64, 128, iterations, hidden=[width, width], lr=1e-3),
            BEGUN,
            curve=("width", width),
        )
        for width, iterations in ((32, 40), (64, 40), (128, 20), (256, 12), (512, 6), (1024, 4))
    ),
    *(
        Row(
            f"growth devices {devices}",
            "growth",
            ppo(64, 128, 49, devices=devices),
            LEARNT,
            curve=("devices", devices),
        )
        for devices in (1, 2, 4)
    ),
]
SUITES = [*dict.fromkeys(row.suite for row in ROWS)]


def chosen(suites: Sequence[str], names: Sequence[str]) -> list[Row]:
    """The rows of these suites whose name has one of `names` in it, or is one of them.

    Without names they are all of the suites'; without either, all but `growth`. Raises UsageError
    for a suite that there is not, and a name that no such row has.
    """
    for suite in suites:
        if suite not in SUITES:
            raise UsageError(f"suite {suite!r} is not known{nearest(suite, SUITES)}")
    rows = [row for row in ROWS if not suites or row.suite in suites]
    for name in names:
        if not any(name in row.name for row in rows):
            where = f" of suite {' or '.join(suites)}" if suites else ""
            known = [row.name for row in rows]
            raise UsageError(f"row {name!r}{where} is not known{nearest(name, known)}")
    if not names:
        return rows if suites else [row for row in rows if row.suite != "growth"]
    exact = {row.name for row in rows} & {*names}
    parts = {*names} - exact
    return [row for row in rows if row.name in exact or any(part in row.name for part in parts)]
