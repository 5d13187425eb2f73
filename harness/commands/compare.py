"""``harness compare``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from harness.commands.common import FAILED, OK, existing_store, exit_code, session_of
from harness.commands.printing import print_failures, print_json, print_parts, table_text
from harness.errors import HarnessError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        help="draw the decision curves of --positive, or the critical difference diagram of three "
        "or more models over several datasets; FILE.svg and FILE.pdf will do, too",
    )
    parser.add_argument(
        "--positive", metavar="CLASS", help="net benefit where this class is the positive one"
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
    if options.diagram and not options.positive:
        raise HarnessError(
            "--diagram: give --positive CLASS for decision curves, or three or more models and "
            "several datasets (--dataset A --dataset B)"
        )
    _check_diagram(options)
    return _on_one_dataset(options)


def _on_one_dataset(options: argparse.Namespace) -> int:
    """Print how two models compare on the same patches."""
    from harness.analysis import decision
    from harness.analysis.compare import Compared
    from harness.analysis.compare_published import PREFIX
    from harness.reports import compare_published_text, compare_text, decision_text
    from harness.statistics.net_benefit import THRESHOLDS
    from harness.workflows import comparing

    session = session_of(options)
    registry = session.registry
    names = (options.one, options.other)
    if any(name.startswith(PREFIX) for name in names):
        for option, given in (("--json", options.json), ("--positive", options.positive)):
            if given:
                raise HarnessError(f"compare: {option} is for two measured models")
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
        return exit_code(options, registry)
    curves = None
    if options.positive:
        curves = decision.decision_curves(found, options.positive, THRESHOLDS)
    if options.json:
        content = compare_text.as_json(found)
        print_json(content | {"decision": None if curves is None else asdict(curves)})
    else:
        parts = compare_text.text(found, table_text)
        if curves is not None:
            parts += decision_text.text(found, curves, table_text)
        print_parts(parts)
    code = OK
    if options.diagram:
        fine = decision.decision_curves(found, options.positive, decision_text.FINE)
        code = _draw(options, partial(decision_text.draw, found, fine))
    return exit_code(options, registry, code)


def _check_diagram(options: argparse.Namespace) -> None:
    """What is wrong with the name of a picture is said before anything is computed."""
    endings = [f".{form}" for form in shared.FORMATS]
    if options.diagram and options.diagram.suffix not in endings:
        raise HarnessError(
            f"--diagram {options.diagram}: name a file that ends in {', '.join(endings)}"
        )


def _over_datasets(options: argparse.Namespace) -> int:
    """Print which models are better over several datasets, and draw the diagram."""
    from harness.reports import compare_datasets_text
    from harness.workflows import comparing

    names = [options.one, options.other, *options.more]
    if options.diagram and len(names) < 3:
        raise HarnessError("--diagram: over several datasets, name three or more models")
    _check_diagram(options)
    if options.positive:
        raise HarnessError("--positive: decision curves are of two models on one dataset")
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
    if options.diagram and found.ranks is not None:
        draw = partial(compare_datasets_text.diagram, found, found.ranks)
        code = _draw(options, draw)
    return exit_code(options, session.registry, code)


def _draw(options: argparse.Namespace, draw: Callable[[], Figure]) -> int:
    """Write a picture, and say on stderr what its numbers stand for."""
    from harness.reports import drawing
    from harness.store.failures import Collected
    from harness.system.atomic import writing_to

    store = existing_store(options)
    problems = Collected(store)
    form = options.diagram.suffix[1:]
    dataset = options.dataset[0] if options.dataset else next(iter(store.datasets()), "")
    with (
        writing_to(options.diagram),
        drawing.saved_as((form,)),
        drawing.of_models(store.models(dataset)),
    ):
        _, *notes = drawing.write(options.diagram, "diagram", draw, problems) or [""]
    for note in notes:
        print(note, file=sys.stderr)
    print_failures(problems)
    return FAILED if problems else OK
