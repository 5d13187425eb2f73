"""Why something failed, in one line."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness import HarnessError
from harness.store.failures import LONGEST, reason


@given(st.text(min_size=1, max_size=3000))
def test_what_to_do_next_is_never_cut(path):
    said = reason(HarnessError(f"{path}: not there; correct the path"), Path("store"))
    assert said.endswith(": not there; correct the path")
    assert "\n" not in said


@given(st.text(max_size=3000))
def test_an_exception_of_a_plugin_is_one_short_line(text):
    said = reason(ValueError(text), Path("store"))
    assert len(said) < LONGEST + 50
    assert len(said.splitlines()) == 1
    assert said.startswith("ValueError")
    assert said.endswith("report it to the plugin's author")
