"""Who chooses actions, and the rollout in which they do."""
