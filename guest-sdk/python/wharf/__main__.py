"""Makes wharf plugins of Python scripts that serve with socketserver."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .build import Refused, build, check

DEADLINE = 10.0
"""Seconds that a script has to come to serve_forever()."""
EPILOG = "What follows -- is the script's own arguments, which the plugin keeps."


def main() -> int:
    # What comes after is the script's own, whatever it looks like.
    ours, arguments = split(sys.argv[1:])
    parser = argparse.ArgumentParser(prog="python -m wharf", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, does in {
        "build": "make a wharf plugin of a script that serves with socketserver, as it is",
        "check": "print the manifest that the plugin would have, or why there can be none",
    }.items():
        command = commands.add_parser(name, help=does, description=does, epilog=EPILOG, allow_abbrev=False)
        command.add_argument("script", type=Path, metavar="SCRIPT", help="what `python SCRIPT` would serve")
        command.add_argument(
            "--deadline",
            type=float,
            default=DEADLINE,
            metavar="SECONDS",
            help="how long SCRIPT may take to come to serve_forever(); default: %(default)g",
        )
        if name == "build":
            command.add_argument("-o", "--output", type=Path, metavar="PLUGIN", help="default: SCRIPT's name and .wasm")
    options = parser.parse_args(ours)
    try:
        if options.command == "check":
            check(options.script, arguments, options.deadline)
            return 0
        output = options.output or Path(f"{options.script.stem or 'plugin'}.wasm")
        if output.suffix != ".wasm":
            parser.error(f"a plugin's name ends in .wasm: -o {output.with_suffix('.wasm')}")
        build(options.script, output, arguments, options.deadline)
    except Refused as reason:
        print(f"wharf: {options.script}: {reason}", file=sys.stderr)
        return 1
    return 0


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
