"""The command line: thin sub-commands over the seven steps."""


def main() -> int:
    """Run the command line."""
    raise SystemExit("shiftlab: the command line is being installed")
