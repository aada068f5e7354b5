"""Flags of XLA with which tests compile quickly, as far as the installed jaxlib has them."""

from importlib import metadata

# Half of the time to compile goes into them. Later versions stop at a flag that they lack.
WITHOUT_FUSION_EMITTERS = (
    "--xla_cpu_use_fusion_emitters=false" if metadata.version("jaxlib").startswith("0.10.") else ""
)
QUICKLY = f"--xla_backend_optimization_level=0 {WITHOUT_FUSION_EMITTERS}".rstrip()
