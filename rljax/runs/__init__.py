"""Runs on disk: directories, metrics, checkpoints, pictures, and what a terminal shows."""
