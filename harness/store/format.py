"""``store.json``: which format the results of a store have, so that no other version reads them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from harness.errors import HarnessError
from harness.system import digests

NAME = "store.json"
FORMAT = 3


def text() -> str:
    """What the file says."""
    return json.dumps(digests.sealed({"format": FORMAT})) + "\n"


def fault(root: Path) -> str:
    """Why ``store.json`` cannot be used; "" if it can.

    Raises HarnessError for another format, and for what can be no store.
    """
    marker = root / NAME
    if os.path.lexists(root) and not root.is_dir():
        raise HarnessError(f"--store {root}: is a file, not a folder; choose another --store")
    try:
        content = digests.read_bytes(marker)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise HarnessError(
                f"{marker}: {error.strerror}; correct its permissions, or choose another --store"
            ) from error
        return f"cannot be read ({error.strerror})"
    try:
        # Format 1 had no digest.
        early = json.loads(content) == {"format": 1}
        written = 1 if early else digests.unsealed(content)["format"]
    except (ValueError, KeyError) as error:
        return f"is damaged ({error})"
    if written != FORMAT:
        what = "upgrade histo-harness or choose another --store"
        if written < FORMAT:
            what = "choose another --store, and the results are computed again there"
        raise HarnessError(
            f"--store {root}: this store has format {written}, this version of the harness reads "
            f"format {FORMAT}; {what}"
        )
    return ""
