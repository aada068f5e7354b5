"""The libraries that can be measured beside rljax."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """A library: its script in `sides/`, and how its work differs from ours."""

    title: str
    script: str
    unlike: str
    has_checkout: bool = False


OURS = "rljax"
LIBRARIES = {
    "purejaxrl": Library(
        "PureJaxRL",
        "run_purejaxrl",
        "treats a time limit as the end of an episode, does not clip DQN's gradients, and "
        "has in its recurrent PPO our network in the place of its own",
        has_checkout=True,
    ),
    "rejax": Library(
        "rejax",
        "run_rejax",
        "treats a time limit as the end of an episode, clips gradients by element, steps an "
        "optimizer for each of PPO's networks, samples its replay without replacement, and moves "
        "SAC's target networks once for each step of all environments",
    ),
    "sb3": Library(
        "SB3",
        "run_sb3",
        "steps Gymnasium's environments, or PettingZoo's, one after the other",
    ),
    "sbx": Library(
        "sbx",
        "run_sb3",
        "steps Gymnasium's environments, one after the other, does not clip the value loss, and of "
        "several seeds trains one, whose rate is that of one after the other",
    ),
    "rllib": Library(
        "RLlib",
        "run_rllib",
        "steps Gymnasium's environments, one after the other, does not clip the value loss, and "
        "trains one iteration before the time is taken",
    ),
    "gymnax": Library("gymnax", "run_gymnax", "does not record the return and length of episodes"),
    "brax": Library(
        "Brax",
        "run_brax",
        "begins each episode of an environment in the same state, forgets the last observation of "
        "an episode, and does not record the return and length of episodes",
    ),
    "jax": Library(
        "a plain JAX loop",
        "run_jax",
        "treats a time limit as the end of an episode, steps gymnax's environment, and in R2D2 "
        "gives new sequences the largest priority",
    ),
    "jaxmarl": Library(
        "JaxMARL",
        "run_jaxmarl",
        "treats a time limit as the end of an episode, has one more step in each, and for QMIX "
        "begins a fresh one with each rollout and has RAdam",
        has_checkout=True,
    ),
    "pettingzoo": Library(
        "PettingZoo", "run_pettingzoo", "steps one environment, and takes fewer steps"
    ),
    "flashbax": Library(
        "flashbax",
        "run_flashbax",
        "stores one observation of each step, and pairs it with the next",
    ),
    "gymnasium": Library(
        "Gymnasium",
        "run_loop",
        "steps one environment, takes fewer steps, and has a fixed step size",
    ),
    "python": Library(
        "Python lists",
        "run_loop",
        "steps one environment, takes fewer steps, and has a fixed step size",
    ),
}
