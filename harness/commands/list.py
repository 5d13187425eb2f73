"""``harness list``."""

from __future__ import annotations

import argparse

from harness.commands.common import data_folder, exit_code, registry_of
from harness.commands.printing import print_json, print_left_out, print_table, print_text
from harness.errors import HarnessError
from harness.hooks import command_options as shared
from harness.hooks.kinds import NAMES

NAME = "list"
HELP = "list what plugins offer: datasets, models, probes, metrics, reports and all else"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "kinds",
        nargs="*",
        type=_kind,
        metavar="KIND",
        help=f"only these: {', '.join(NAMES)}",
    )
    parser.add_argument("--model", metavar="NAME", help="one model, with its settings")
    parser.add_argument("--reader", metavar="NAME", help="one kind of TOML file, with its keys")
    parser.add_argument(
        "--perturbation", metavar="NAME", help="one perturbation, with what its levels mean"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    shared.data(parser)
    shared.plugins(parser)


def _kind(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}")
    return text


def run(options: argparse.Namespace) -> int:
    """Print what plugins offer: everything, some kinds, or one contribution with its settings."""
    from harness.commands import listing
    from harness.system import terminal

    asked = options.kinds, options.model, options.reader, options.perturbation
    if sum(map(bool, asked)) > 1:
        raise HarnessError(
            "list: give kinds, --model, --reader or --perturbation, not several of them"
        )
    registry, data = registry_of(options), data_folder(options)
    if options.reader:
        keys = listing.keys(registry, options.reader)
        if options.json:
            print_json({"name": options.reader, "keys": keys})
        else:
            print(listing.about_reader(registry, options.reader))
            print("\nKeys, besides kind\n" if keys else "\nIt does not say what keys it has.")
            if keys:
                print_table(*listing.cells(keys))
    elif options.perturbation:
        perturbation = registry.perturbations.find(options.perturbation)
        levels = listing.levels(perturbation)
        if options.json:
            print_json({"name": options.perturbation, **levels})
        else:
            print(listing.about_perturbation(registry, options.perturbation) + "\n")
            in_words = listing.levels_in_words(perturbation)
            print_table(*listing.cells([{**levels, "levels": in_words}]))
    elif options.model:
        found = registry.models.find(options.model)
        settings = listing.settings(found)
        if options.json:
            print_json({"name": found.name, "settings": settings})
        else:
            print(listing.about_model(registry, options.model))
            if settings:
                print("\nSettings, for --set\n")
                print_table(*listing.cells(settings))
    elif options.json:
        print_json(listing.as_json(registry, data, options.kinds))
    else:
        left_out: dict[str, None] = {}
        for title, rows in listing.tables(registry, data, options.kinds):
            rows, advice = listing.brief(rows)
            print(f"\n{title}\n")
            if rows:
                fitted = terminal.fit(
                    *listing.cells(rows),
                    terminal.width(),
                    details=listing.DETAILS,
                    order=listing.ORDER,
                )
                print(fitted.text)
                left_out |= dict.fromkeys(fitted.left_out)
            else:
                print("(none)")
            if advice:
                print_text(advice)
        print_left_out(list(left_out))
    return exit_code(options, registry)
