"""``harness compare``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from harness.commands.common import FAILED, OK, existing_store, exit_code, session_of
from harness.commands.printing import print_failures, print_json, print_parts, table_text
from harness.errors import HarnessError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.analysis.compare_datasets import ComparedDatasets

NAME = "compare"
HELP = "compare two models on the same patches, published results, or models over datasets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for name in ("one", "other"):
        parser.add_argument(
            name, metavar="MODEL", help="a model, a result's digest, or published:MODEL"
        )
    parser.add_argument(
        "more", nargs="*", metavar="MODEL", help="further models, over several datasets"
    )
    shared.several(
        parser,
        "--dataset",
        "needed when the store has several datasets; several times: which model is better over "
        "these datasets",
    )
    parser.add_argument(
        "--diagram",
        type=shared.path,
        metavar="FILE.png",
        help="draw the critical difference diagram of three or more models over several datasets",
    )
    parser.add_argument(
        "--json", action="store_true", help="print everything as JSON, ids of patches included"
    )
    shared.judged(parser)
    shared.store(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Print how models compare."""
    if len(options.dataset) > 1:
        return _over_datasets(options)
    if options.more:
        raise HarnessError(
            "compare: on one dataset, name two models; three or more are compared over several "
            "(--dataset A --dataset B)"
        )
    if options.diagram:
        raise HarnessError(
            "--diagram: the diagram is of three or more models over several datasets (--dataset A "
            "--dataset B)"
        )
    from harness.analysis.compare import Compared
    from harness.analysis.compare_published import PREFIX
    from harness.reports import compare_published_text, compare_text
    from harness.workflows import comparing

    session = session_of(options)
    registry = session.registry
    names = (options.one, options.other)
    if options.json and any(name.startswith(PREFIX) for name in names):
        raise HarnessError("compare: --json is for two measured models")
    found = comparing.compare(
        session.store_path,
        registry,
        *names,
        dataset=next(iter(options.dataset), None),
        design_effect=options.design_effect,
        margin=options.margin,
    )
    if not isinstance(found, Compared):
        print_parts(compare_published_text.text(found, table_text))
    elif options.json:
        print_json(compare_text.as_json(found))
    else:
        print_parts(compare_text.text(found, table_text))
    return exit_code(options, registry)


def _over_datasets(options: argparse.Namespace) -> int:
    """Print which models are better over several datasets, and draw the diagram."""
    from harness.reports import compare_datasets_text
    from harness.workflows import comparing

    names = [options.one, options.other, *options.more]
    if options.diagram and (len(names) < 3 or options.diagram.suffix != ".png"):
        raise HarnessError(
            f"--diagram {options.diagram}: name three or more models, and a file that ends in .png"
        )
    if options.design_effect != 1:
        raise HarnessError("--design-effect: over several datasets, datasets are what is sampled")
    session = session_of(options)
    found = comparing.compare_datasets(
        session.store_path, session.registry, names, options.dataset, options.margin
    )
    if options.json:
        print_json(compare_datasets_text.as_json(found))
    else:
        print_parts(compare_datasets_text.text(found, table_text))
    code = OK
    if options.diagram:
        code = _draw(options, found)
    return exit_code(options, session.registry, code)


def _draw(options: argparse.Namespace, found: ComparedDatasets) -> int:
    """Write the critical difference diagram, and say so on stderr."""
    from harness.reports import compare_datasets_text, drawing
    from harness.store.failures import Collected
    from harness.system.atomic import disk_error

    problems = Collected(existing_store(options))
    assert found.ranks is not None
    draw = partial(compare_datasets_text.diagram, found, found.ranks)
    try:
        _, *notes = drawing.write(options.diagram, "diagram", draw, problems) or [""]
    except OSError as error:
        raise disk_error(error, options.diagram) from error
    for note in notes:
        print(note, file=sys.stderr)
    print_failures(problems)
    return FAILED if problems else OK
