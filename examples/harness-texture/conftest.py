"""The fixtures ``patches`` and ``run_harness``."""

pytest_plugins = ["harness.testing"]
