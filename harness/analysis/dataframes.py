"""Tables for pandas, which is loaded only when one is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError


def dataframe(columns: Mapping[str, Any]) -> Any:
    """A pandas DataFrame from columns by name. Raises HarnessError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise HarnessError(
            "pandas is not installed: pip install 'histo-harness[pandas]'"
        ) from error
    return pandas.DataFrame(dict(columns))


def of_rows(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A pandas DataFrame from rows; the columns are the fields of all rows in their order.

    Raises HarnessError without pandas.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return dataframe({name: [row.get(name) for row in rows] for name in names})
