"""The command ``harness``; Ctrl-C is answered in a line also while Python still loads it."""

import sys


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from harness.cli import main

        return main()
    except KeyboardInterrupt:  # before the command itself listens for it
        print("\nharness: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
