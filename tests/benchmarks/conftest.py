"""The sample's patches as the files that people have."""

import cv2
import pytest

import harness_nct_crc


@pytest.fixture(scope="session")
def tiffs(tmp_path_factory):
    """The sample's patches as PackBits TIFF, like the files of Zenodo."""
    folder = tmp_path_factory.mktemp("tiffs")
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TRAIN)
    for index, name in enumerate(split.names):
        path = (folder / name).with_suffix(".tif")
        path.parent.mkdir(exist_ok=True)
        bgr = split.read([index])[0][..., ::-1]
        cv2.imwrite(str(path), bgr, [cv2.IMWRITE_TIFF_COMPRESSION, 32773])
    return folder
