"""Trained policies as files that need neither rljax nor JAX: StableHLO, ONNX and C."""

from rljax.exports.exporting import FORMATS, check, export

__all__ = ["FORMATS", "check", "export"]
