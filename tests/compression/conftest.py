from runs import finished, tiny  # noqa: F401
