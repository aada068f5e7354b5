"""Sizes of an agent that trains in no time."""

SMALL = {"num_envs": 4, "rollout_length": 8, "hidden": (8,), "num_minibatches": 2, "num_epochs": 1}
