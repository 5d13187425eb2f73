"""Kinds of contributions: the table says all there is to say about each."""

import json
import subprocess
import sys
from pkgutil import resolve_name

import pytest

from harness.hooks import hookspecs, kinds
from harness.hooks.loader import load_plugins

NO_CONTRIBUTIONS = {"harness_run_started", "harness_result_stored", "harness_run_ended"}


def test_every_hook_that_asks_for_contributions_has_a_kind():
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, "harness_spec")}
    assert set(kinds.TYPES) == hooks - NO_CONTRIBUTIONS


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_what_a_kind_names_is_there(kind):
    for contract in kind.types.values():
        promises = resolve_name(contract.promises)
        assert promises
        assert all(promise.__doc__ for promise in promises)
        if contract.use:
            assert callable(resolve_name(contract.use))
    offers = load_plugins().offers
    assert (kind.name in offers) == kind.unique


def test_every_kind_is_listed_with_the_headings_of_its_rows(toy):
    found = json.loads(toy("list", "--json"))
    assert [*found] == list(kinds.NAMES)
    assert found["executors"][0]["name"] == "local"
    assert {row["name"]: row["better"] for row in found["metrics"]}["kappa"] == "higher"
    for rows in found.values():
        assert len({tuple(row) for row in rows}) <= 1, "rows of one table have the same headings"


def test_the_table_loads_nothing_heavy():
    code = (
        "import sys, harness.hooks.kinds\n"
        "sys.exit(bool({'numpy', 'pluggy', 'harness.checks', 'harness.jobs'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
