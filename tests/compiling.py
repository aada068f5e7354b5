"""Flags of XLA with which tests compile quickly, as far as the installed jaxlib has them."""

from importlib import metadata

# Later versions have no other emitters, and stop at a flag that they lack.
HAS_OTHER_EMITTERS = metadata.version("jaxlib").startswith("0.10.")
# Half of the time to compile goes into them.
WITHOUT_FUSION_EMITTERS = "--xla_cpu_use_fusion_emitters=false" if HAS_OTHER_EMITTERS else ""
WITH_FUSION_EMITTERS = {"xla_cpu_use_fusion_emitters": True} if HAS_OTHER_EMITTERS else {}
QUICKLY = f"--xla_backend_optimization_level=0 {WITHOUT_FUSION_EMITTERS}".rstrip()
