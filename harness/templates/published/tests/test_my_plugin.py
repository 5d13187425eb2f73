"""Tests of the plugin: what every published result promises."""

from harness.testing import contract

test_contract = contract("my_plugin")
