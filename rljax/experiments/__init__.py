"""Experiments on disk: configs, run directories, checkpoints, metrics and loggers."""
