from runs import copy, finished, tiny  # noqa: F401
