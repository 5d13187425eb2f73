"""A process of ours: all that it says is heard, on a busy machine too."""

import queue
import sys
import time

import pytest

from harness.hooks import trial
from harness.system import child

PLUGIN = """
from harness import Perturbation, hookimpl

@hookimpl
def harness_perturbations():
    return [Perturbation(name="mine", title="Mine", levels=(1,), apply=lambda images, *_: images)]
"""


def test_a_plugin_is_not_left_out_because_its_process_is_heard_late(tmp_path, monkeypatch):
    hear = child.Child._hear

    class Late:
        """A pipe whose last line comes when the process has ended long ago."""

        def __init__(self, pipe, process):
            self.pipe, self.process = pipe, process

        def readline(self, most):
            line = self.pipe.readline(most)
            if b'"done"' in line:
                self.process.wait()
                time.sleep(4 * trial.TICK)
            return line

    def hear_late(self, pipe):
        hear(self, Late(pipe, self.process))

    monkeypatch.setattr(child.Child, "_hear", hear_late)
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    with trial.Trial([], [path]) as tried:
        assert tried.why_not("mine") == ""
        assert tried.refused == {}


SAYS = """
import subprocess, sys
from harness.system.child import channels

def work():
    receive, tell = channels()
    receive()
    tell({"said": 1})
    MORE
"""


@pytest.mark.parametrize("more", ["pass", "subprocess.Popen(['sleep', '600'], close_fds=False)"])
@pytest.mark.skipif(sys.platform == "win32", reason="sleep")
def test_after_the_end_of_a_process_all_is_said(more, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "ON_ITS_WAY", 0.5)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "says_so.py").write_text(SAYS.replace("MORE", more))
    started = child.Child("says_so:work")
    said = []
    try:
        started.ask({})
        while None not in said:
            try:
                said.append(started.answer(0.1))
            except queue.Empty:
                continue
    finally:
        started.kill()
    assert said == [{"said": 1}, None]
