"""Trained policies behind HTTP: an ASGI application that answers observations with actions."""

from rljax.serving.application import app

__all__ = ["app"]
