"""Names that plugins may not give to what they offer."""

COMMANDS = (
    *("run", "audit", "calibrate", "list", "plugins", "check", "new-plugin", "leaderboard"),
    *("report", "publish"),
    *("results", "store", "compare", "contrast", "shortcut", "transfer", "few-shot", "data"),
    *("fetch", "export"),
)
"""The commands of the harness itself."""
COLUMN_SETS = ("default", "figures", "calibration", "published", "seeds", "run", "probes", "all")
"""Sets of columns of the leaderboard."""
