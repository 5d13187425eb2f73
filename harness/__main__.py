"""The command ``harness``; Ctrl-C is answered in a line also while Python still loads it."""

import sys


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from harness.cli import main

        return main()
    except KeyboardInterrupt:  # before the command itself listens for it
        import os

        print("\nharness: interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # see harness.system.signals, which may not be there yet


if __name__ == "__main__":
    sys.exit(main())
