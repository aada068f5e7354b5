"""Agents over members, over devices and over processes."""
