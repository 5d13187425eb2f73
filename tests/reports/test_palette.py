"""Colors of models: distinguished by everybody, and the same in every picture."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from harness.hooks.loader import load_plugins
from harness.reports import drawing, palette

NAMES = st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=24)
SEEN = {
    "by most": np.eye(3),
    # Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
    "without red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "without green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "without blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear():
    """The colors, in linear RGB."""
    hexadecimal = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in palette.COLORS]
    values = np.array(hexadecimal) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_lines_stand_out_on_white():
    luminance = linear() @ [0.2126, 0.7152, 0.0722]
    assert (1.05 / (luminance + 0.05)).min() >= 3


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_colors_differ_whoever_looks(seen):
    light = np.clip(linear() @ np.array(seen).T, 0, 1)
    lab = rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))
    differences = [deltaE_ciede2000(one, other) for one, other in combinations(lab, 2)]
    assert min(differences) > 6  # 2.3 is just noticed


@given(NAMES)
def test_no_two_models_look_alike_and_eight_have_eight_colors(names):
    found = palette.styles(names)
    assert len(set(found.values())) == len(names)
    assert palette.styles(reversed(names)) == found
    colors = [style.color for style in found.values()]
    most = -(-len(names) // len(palette.COLORS))
    assert all(colors.count(color) <= most for color in colors)


@given(NAMES, NAMES)
def test_what_only_a_picture_has_changes_no_model_of_the_board(names, more):
    found = palette.styles(names, more)
    assert {name: found[name] for name in names} == palette.styles(names)


@pytest.mark.parametrize("n", [4, 8, 12, 20])
def test_a_model_that_joins_moves_few(n):
    moved = []
    for draw in range(100):
        names = [f"model {draw}-{number}" for number in range(n + 1)]
        before, after = palette.styles(names[:n]), palette.styles(names)
        moved += [before[name] != after[name] for name in before]
    assert np.mean(moved) < 0.3


def test_baselines_and_the_reference_have_one_color_on_all_boards():
    """On boards of all models that come with the harness, and on most of others."""
    fixed = ["rgb-means", "color-histogram", "deepcmorph"]
    alone = palette.styles(fixed)
    assert [palette.styles([name])[name] for name in fixed] == list(map(alone.get, fixed))
    assert len({style.color for style in alone.values()}) == len(fixed)
    plugins = load_plugins()
    built_in = {*plugins.models, *(result.name for result, _ in plugins.published)} - {*fixed}
    boards = [list(built_in)]
    boards += [[f"model {draw}-{number}" for number in range(20)] for draw in range(100)]
    moved = [
        palette.styles([*fixed, *board])[name] != alone[name] for board in boards for name in fixed
    ]
    assert not any(moved[:3])
    assert np.mean(moved) < 0.05


def test_pictures_of_a_run_agree_whichever_models_they_have():
    board = [f"m{number}+linear" for number in range(8)]
    with drawing.of_models(board):
        whole = drawing.styles(board)
        assert drawing.styles(board[3:5]) == {name: whole[name] for name in board[3:5]}
        assert drawing.styles(["m3"])["m3"] == whole["m3+linear"], "features have no head"
        assert drawing.styles(["new", *board])["m0+linear"] == whole["m0+linear"]


@given(st.integers(0, 60))
def test_groups_have_at_most_eight_and_keep_the_order(n):
    names = list(map(str, range(n)))
    found = palette.groups(names)
    assert [name for group in found for name in group] == names
    sizes = list(map(len, found))
    assert all(1 <= size <= 8 for size in sizes)
    assert len(sizes) == -(-n // 8)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
