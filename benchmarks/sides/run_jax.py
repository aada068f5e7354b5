"""Agents as plain JAX loops, each in a file of its own: `plain_AGENT.py`."""

from importlib import import_module

import side

import_module(f"plain_{side.work()['agent']}").main()
