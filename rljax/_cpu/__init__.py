"""What XLA's CPU backend is slow at, done in another way: the same numbers, sooner."""
