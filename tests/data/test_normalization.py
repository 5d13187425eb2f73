"""Mean and deviation against the range of pixel values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.normalization import misfit, range_for, reversed_channels

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLIP = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
TISSUE = [0.7, 0.55, 0.7], [0.12, 0.1, 0.09]
HALF = [0.5] * 3, [0.5] * 3
NONE = [0.0] * 3, [1.0] * 3


def scaled(normalization, factor, shift=0.0):
    mean, std = normalization
    return [factor * value + shift for value in mean], [factor * value for value in std]


COMMON = [IMAGENET, CLIP, TISSUE, HALF, ([0.43, 0.411, 0.296], [0.213, 0.156, 0.143])]


@pytest.mark.parametrize("normalization", COMMON)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1)])
def test_a_normalization_fits_the_range_that_it_was_made_for_and_no_other(normalization, low, high):
    fitting = scaled(normalization, high - low, low)
    assert misfit(*fitting, low, high) == ""
    if (low, high) != (-1, 1):
        assert range_for(*fitting) == (low, high)
    other = {1: (0, 255), 255: (0, 1)}.get(high - low)
    if other:
        assert "do not fit values from" in misfit(*fitting, *other)


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [
        (*NONE, 0, 1),
        (*NONE, 0, 255),
        (*NONE, -1, 1),
        ([103.53, 116.28, 123.675], [1, 1, 1], 0, 255),
        ([0.406, 0.456, 0.485], [1, 1, 1], 0, 1),
        ([0, 0, 0], [1 / 255] * 3, 0, 1),
        ([127.5] * 3, [127.5] * 3, 0, 255),
        ([0, 0, 0], [255, 255, 255], 0, 255),
        ([1, 2, 3], [1, 10, 100], 0, 255),
    ],
)
def test_what_is_done_elsewhere_is_no_mistake(mean, std, low, high):
    assert misfit(mean, std, low, high) == ""


@pytest.mark.parametrize(
    ("mean", "std", "low", "high", "says", "wanted"),
    [
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], 0, 1, "lies outside", (0, 255)),
        ([123.675, 116.28, 103.53], [1, 1, 1], 0, 1, "lies outside", (0, 255)),
        ([0.485, 0.456, 103.53], IMAGENET[1], 0, 1, "lies outside", None),
        ([0, 0, 0], [58.395, 57.12, 57.375], 0, 1, "nearly the same number", (0, 255)),
        (IMAGENET[0], [58.395, 57.12, 57.375], 0, 1, "nearly the same number", (0, 255)),
        (*IMAGENET, 0, 255, "as large as 1136", (0, 1)),
        (IMAGENET[0], [1, 1, 1], 0, 255, "as large as 255", (0, 1)),
        ([0, 0, 0], IMAGENET[1], 0, 255, "as large as", (0, 1)),
        ([-0.03, -0.09, -0.19], [0.46] * 3, 0, 1, "lies outside", (-1, 1)),
        ([0.5] * 3, [0.5, 0.0, 0.5], 0, 1, "above 0", None),
        ([0.5] * 3, [-0.5] * 3, 0, 1, "above 0", None),
        ([float("nan")] * 3, [0.5] * 3, 0, 1, "not finite", None),
        ([0.5] * 3, [float("inf")] * 3, 0, 1, "not finite", None),
    ],
)
def test_what_cannot_be_is_told_with_the_range_that_would_do(mean, std, low, high, says, wanted):
    assert says in misfit(mean, std, low, high)
    if wanted:
        assert range_for(mean, std) == wanted


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(
    ("known", "whose"), [(IMAGENET, "ImageNet"), (HALF, "Inc"), (CLIP, "CLIP")]
)
def test_known_statistics_of_values_up_to_1_are_for_no_other_range(known, whose, step):
    mean, std = ([round(value, 3) for value in values[::step]] for values in known)
    assert f"are those of {whose}" in misfit(mean, std, -1, 1)
    assert range_for(mean, std) == (0, 1)
    assert misfit(mean, std, 0, 255 / 256) == ""
    assert misfit(mean, std, 0, 255)
    assert misfit([value + 0.02 for value in mean], std, -1, 1) == ""


UNIT = st.lists(st.floats(0.02, 0.98), min_size=3, max_size=3)
SPREAD = st.lists(st.floats(0.05, 0.5), min_size=3, max_size=3)


@given(UNIT, SPREAD)
def test_any_statistics_of_images_fit_their_own_scale_alone(mean, std):
    assert misfit(mean, std) == ""
    assert misfit(mean, std, 0, 255)
    big = scaled((mean, std), 255)
    assert misfit(*big, 0, 255) == ""
    assert misfit(*big)


@pytest.mark.parametrize("factor", [1, 255])
def test_the_mean_of_imagenet_tells_the_order_of_its_channels(factor):
    rgb = [factor * value for value in IMAGENET[0]]
    assert not reversed_channels(rgb, blue_first=False)
    assert reversed_channels(rgb, blue_first=True)
    assert reversed_channels(rgb[::-1], blue_first=False)
    assert not reversed_channels(rgb[::-1], blue_first=True)
    assert not reversed_channels([0.5] * 3, blue_first=False)
