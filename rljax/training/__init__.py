"""The host loop: compiled chunks of iterations, what is found in them, and evaluations."""
