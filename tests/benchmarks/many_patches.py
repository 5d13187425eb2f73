"""A split as large as one likes, of the same files many times over; and the memory of a process."""

from pathlib import Path

import harness_nct_crc
from harness.data.patches import Files, FileSplit, list_folder


def repeated(folder, times):
    """A split that lists the files of a folder many times over."""
    files = list_folder(folder)
    sizes = {
        name.replace(".tif", f"@{k}.tif"): size
        for name, size in files.sizes.items()
        for k in range(times)
    }

    def read(name):
        return files.read(name.partition("@")[0] + ".tif")

    return FileSplit(Files(folder, sizes, read), harness_nct_crc.CLASSES, (224, 224), "many")


def peak_of_this_process():
    """MiB. Not ``getrusage``, which a child inherits from its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
