"""Messages: plain lines of the command, log records of the library, from every process."""

import logging
import subprocess
import sys
import textwrap

import pytest

from harness.system import messages, progress

RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")


def outputs(command, *arguments, code=0, **environment):
    process = command.start(*arguments, **environment)
    printed, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    return printed, said.splitlines()


def test_messages_of_a_run_are_plain_lines_on_standard_error(toy):
    printed, said = outputs(toy, *RUN)
    assert said[0] == "3 results to compute; how long fitting toy-mean on toy takes is not known."
    assert "[1/3] toy: list patches" in said
    assert "toy-mean" in printed
    assert not [line for line in said if line.startswith(("DEBUG", "INFO", "WARNING"))]


def test_quiet_leaves_warnings_and_errors_and_the_table(toy):
    (toy.folder / "x.py").write_text("1 / 0", encoding="utf-8")
    printed, said = outputs(toy, "-q", *RUN, "--plugin", "x.py", code=3)
    assert len(said) == 1
    assert said[0].startswith("WARNING: plugin x of x.py is left out: ZeroDivisionError")
    assert "toy-mean" in printed
    failing = ("--set", "toy-mean.fail=true", "--set", "steps=9")
    _, said = outputs(toy, *RUN, *failing, "--quiet", code=1)
    assert [line for line in said if line.startswith("harness: failed: toy: fit toy-mean")]


def test_verbose_tells_what_is_read_and_computed_and_where(toy):
    _, said = outputs(toy, *RUN, "-v")
    text = "\n".join(line for line in said if line.startswith("DEBUG: "))
    for what in (
        " plugins loaded in ",
        "3 results are planned, 3 are not in runs",
        "is started to compute, on all cores",
        "toy: fit toy-mean: computes runs/fit/_shared/toy-mean/",
        "toy: toy-mean: figures from runs/prediction/toy/toy-mean/",
        "wrote reports/toy.tex",
    ):
        assert what in text


def test_what_a_worker_says_is_said_by_the_command(toy):
    """Listing patches is done by the worker as well, which says so when it is the first."""
    (toy.folder / "talks.py").write_text(
        textwrap.dedent(
            """
            import logging
            import numpy as np
            from harness import Model, hookimpl

            class Constant:
                def logits(self, images):
                    return np.zeros((len(images), 3), np.float32)
                def save(self, folder):
                    pass

            def fit(train, validation, context):
                context.say("WARNING: \\x1b[31mred")
                context.say("going on")
                logging.getLogger("harness.talks").debug("seen by %s", "few")
                return Constant()

            def load(folder, settings):
                return Constant()

            @hookimpl
            def harness_models():
                return [Model(name="talks", title="T", fit=fit, load=load)]
            """
        ),
        encoding="utf-8",
    )
    arguments = ("run", "--dataset", "toy", "--model", "talks", "--plugin", "talks.py")
    _, said = outputs(toy, *arguments, "--no-probes", "--verbose")
    assert "WARNING: red" in said
    assert "going on" in said
    assert "DEBUG: seen by few" in said
    _, said = outputs(toy, *arguments, "--no-probes", "--quiet", "--seed", "1")
    assert said == ["WARNING: red"]


LIBRARY = """
import harness, logging, sys
session = harness.Session(plugins=["x.py"], without=["bias"])
{before}
assert session.run(["toy"], ["toy-mean"]) == {{}}
print("measured", len(session.leaderboard("toy").entries))
"""


@pytest.mark.parametrize(
    ("before", "shown", "hidden"),
    [
        ("", ["plugin x of x.py is left out: "], ["results to compute", "list patches"]),
        (
            "logging.basicConfig(level=logging.INFO, format='%(name)s %(levelname)s %(message)s')",
            [
                "harness.store.failures WARNING plugin x",
                "harness.execution.execute INFO [1/3] toy: list patches",
            ],
            ["DEBUG"],
        ),
        (
            "logging.getLogger('harness').setLevel(logging.ERROR)",
            [],
            ["left out", "results to compute"],
        ),
    ],
)
def test_a_library_shows_warnings_alone_unless_it_is_told_otherwise(toy, before, shown, hidden):
    (toy.folder / "x.py").write_text("1 / 0", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIBRARY.format(before=before)],
        cwd=toy.folder,
        env=toy.environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    assert done.stdout == "measured 1\n"
    assert all(text in done.stderr for text in shown), done.stderr
    assert not any(text in done.stderr for text in hidden), done.stderr


def test_a_plugin_warns_with_a_prefix(caplog):
    with caplog.at_level(logging.DEBUG, logger="harness"):
        progress.say("WARNING: 50 % of it is odd")
        progress.say("the rest is well")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "50 % of it is odd"),
        ("INFO", "the rest is well"),
    ]


def test_a_command_leaves_logging_as_it_was(capsys):
    before = messages.LOGGER.level, messages.LOGGER.handlers[:], messages.LOGGER.propagate
    with messages.handled(messages.ConsoleHandler(), logging.WARNING, bars=True):
        assert progress.shown
        logging.getLogger("harness.any").info("hidden")
        logging.getLogger("harness.any").warning("shown\nin a line")
        with messages.silent():
            logging.getLogger("harness.any").error("not shown")
    assert capsys.readouterr().err == "WARNING: shown in a line\n"
    after = messages.LOGGER.level, messages.LOGGER.handlers[:], messages.LOGGER.propagate
    assert after == before
    assert not progress.shown


def test_bars_are_drawn_by_the_command_alone(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.progress(range(3), label="library")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with messages.handled(messages.ConsoleHandler(), logging.INFO, bars=True):
        for _ in progress.progress(range(3), label="command"):
            logging.getLogger("harness").info("a line")
    said = capsys.readouterr().err
    assert "command" in said
    assert said.count("a line\n") == 3
