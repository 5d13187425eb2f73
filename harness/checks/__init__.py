"""The contract: what a plugin promises, each promise a function that sees whether it is kept.

A promise takes what it is about and a ``Bench`` and returns when all is well. Its docstring's first
line is the promise's text. ``harness check`` prints them, ``harness.testing`` makes tests of them.
"""
