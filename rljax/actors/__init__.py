"""Who chooses actions: by a policy, by action values and an exploration, or at random."""

from rljax.actors.explorations import (
    EXPLORATIONS,
    Exploration,
    ExplorationHparams,
    by_probabilities,
    exploration,
    exploring_actor,
    recording_values,
    value_actor,
)
from rljax.actors.lag import lagged
from rljax.actors.latent_planning import (
    LatentSearchHparams,
    latent_search,
    random_searcher,
    searching_actor,
)
from rljax.actors.noise import (
    NOISES,
    NoiseHparams,
    gaussian_noise,
    noisy_actor,
    ornstein_uhlenbeck_noise,
)
from rljax.actors.options import ez_greedy
from rljax.actors.planning import planning_actor, playouts, true_model
from rljax.actors.policies import policy_actor, random_policy, with_random_actions
from rljax.actors.rollouts import episode_metrics, rollout, start
from rljax.actors.traces import with_traces
from rljax.actors.tree_search import SEARCHES, Found, Node, SearchHparams, check_search, search
from rljax.actors.versions import against_opponents, with_versions

__all__ = [
    "EXPLORATIONS",
    "Found",
    "Node",
    "SEARCHES",
    "SearchHparams",
    "Exploration",
    "ExplorationHparams",
    "NOISES",
    "NoiseHparams",
    "against_opponents",
    "by_probabilities",
    "LatentSearchHparams",
    "check_search",
    "episode_metrics",
    "exploration",
    "exploring_actor",
    "ez_greedy",
    "gaussian_noise",
    "lagged",
    "latent_search",
    "noisy_actor",
    "ornstein_uhlenbeck_noise",
    "planning_actor",
    "playouts",
    "searching_actor",
    "policy_actor",
    "random_searcher",
    "random_policy",
    "recording_values",
    "rollout",
    "search",
    "start",
    "true_model",
    "value_actor",
    "with_random_actions",
    "with_traces",
    "with_versions",
]
