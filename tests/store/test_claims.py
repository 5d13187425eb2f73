"""Claims: who computes what, and what becomes of the claims of those that are gone."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.store import claims as module
from harness.store.claims import Claims
from harness.store.store import Store


@pytest.fixture
def root(tmp_path):
    return Store(tmp_path / "runs").root


def test_a_result_is_claimed_once_until_it_is_given_up(root):
    with Claims(root) as one, Claims(root) as other:
        assert one.take("a")
        assert one.take("a"), "it has it"
        assert not other.take("a")
        assert other.take("b")
        one.give_up("a")
        assert other.take("a")
    assert list((root / "claims").iterdir()) == []


def test_of_many_that_want_one_result_one_gets_it(root):
    many = [Claims(root) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        for name in map(str, range(20)):
            taken = list(pool.map(lambda one, name=name: one.take(name), many))
            assert sum(taken) == 1


def test_others_are_named(root):
    with Claims(root) as one:
        assert one.others() == {}
        with Claims(root) as other:
            other.take("a")
            ((said, path),) = one.others().items()
            assert said.startswith(f"process {os.getpid()} on ")
            assert one.holder("a") == one.holder(path.name) == said
        assert one.others() == {}
    assert one.holder("a") == ""


DIES = """
import sys, os, signal
from pathlib import Path
from harness.store.claims import Claims
claims = Claims(Path(sys.argv[1])).__enter__()
assert claims.take("a")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_claim_of_a_process_that_was_killed_is_taken_over_at_once(root):
    subprocess.run([sys.executable, "-c", DIES, str(root)], check=False)
    assert (root / "claims" / "a").exists()
    with Claims(root) as claims:
        assert claims.others() == {}
        assert claims.take("a")


def elsewhere(root, name="a"):
    """A claim of another machine."""
    (root / "claims").mkdir(exist_ok=True)
    path = root / "claims" / name
    path.write_text(json.dumps({"pid": 1, "host": "node7", "machine": "node7 of others"}))
    return path


def test_the_claim_of_another_machine_holds_while_it_is_touched(root, monkeypatch):
    monkeypatch.setattr(module, "LEASE", 0.3)
    path = elsewhere(root)
    with Claims(root) as claims:
        for number in range(10):
            ago = time.time() - 600 + number  # the clock of the file server may be slow
            os.utime(path, (ago, ago))
            assert not claims.take("a")
            time.sleep(0.1)
        assert claims.holder("a") == "process 1 on node7"
        time.sleep(0.4)
        assert claims.take("a")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "\x00\xff"])
def test_a_claim_that_cannot_be_read_holds_until_it_is_not_touched(root, monkeypatch, text):
    path = elsewhere(root)
    path.write_bytes(text.encode("latin-1"))
    with Claims(root) as claims:
        assert not claims.take("a")
        assert claims.holder("a") == "another process"
        monkeypatch.setattr(module, "LEASE", 0.0)
        assert claims.take("a")


def test_claims_are_touched_while_they_are_held(root, monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.05)
    path = root / "claims" / "a"
    with Claims(root) as claims:
        claims.take("a")
        os.utime(path, (1000, 1000))
        until = time.monotonic() + 30
        while path.stat().st_mtime < 2000:  # which is long gone
            assert time.monotonic() < until
            time.sleep(0.05)


def test_claims_that_nobody_holds_go_away(root):
    path = elsewhere(root)
    os.utime(path, (1000, 1000))
    with Claims(root) as claims:
        assert not path.exists()
        assert claims.others() == {}


def test_results_are_removed_once_the_claim_of_a_machine_that_is_gone_is(command):
    root = Store(command.folder / "runs").root
    elsewhere(root)
    claim = elsewhere(root, "run-1")
    removing = ("results", "remove", "--model", "any", "--yes")
    output = command(*removing, code=2)
    assert "process 1 on node7 is using this store" in output
    assert f"delete {claim.relative_to(command.folder)}" in output
    claim.unlink()
    assert "not in the store; there is none" in command(*removing, code=2)
