"""Which perturbations a request means."""

from types import SimpleNamespace

import pytest

from harness import HarnessError, ModelProbe, Perturbation
from harness.hooks.registry import Offers
from harness.planning import choose


def registry(**on_request):
    offers = Offers("perturbation")
    for name, asked in on_request.items():
        offers[name] = Perturbation(
            name=name, title="T", levels=(1,), apply=lambda patch, *_: patch, on_request=asked
        )
    return SimpleNamespace(perturbations=offers)


def chosen(names, known, probes=()):
    problems = {}
    found = choose.perturbations(known, names, probes, problems)
    assert not problems
    return [perturbation.name for perturbation in found]


KNOWN = registry(hue=False, dust=True, dots=True)
PROBE = ModelProbe(name="p", title="P", measure=lambda predictions: None, needs=list)


def test_probes_choose_among_those_that_are_not_on_request():
    assert chosen([], KNOWN, [PROBE]) == ["hue"]
    assert chosen(["dots"], KNOWN, [PROBE]) == ["dots", "hue"]


def test_a_probe_may_name_one_that_is_on_request():
    named = ModelProbe(name="n", title="N", measure=PROBE.measure, needs=lambda _: ["dust"])
    assert chosen([], KNOWN, [named]) == ["dust"]


def test_names_may_be_patterns():
    assert chosen(["d*"], KNOWN) == ["dust", "dots"]
    assert chosen(["*"], KNOWN) == ["hue", "dust", "dots"]
    assert chosen(["dots", "d*"], KNOWN) == ["dots", "dust"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dist", "did you mean dust"),
        ("D*", r"no perturbation is named like 'D\*'; see harness list perturbations"),
    ],
)
def test_what_names_none_is_refused(name, message):
    with pytest.raises(HarnessError, match=message):
        chosen([name], KNOWN)
