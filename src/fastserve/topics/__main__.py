"""The command: python -m fastserve.topics publish TOPIC MESSAGE."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from fastserve.importer import ImportFromStringError
from fastserve.topics import EngineDown, Unsupported, connect, publish, publish_stored


def main(argv: list[str] | None = None) -> int:
    """Publish as the arguments say; return the exit code, 1 if the message is lost."""
    parser = argparse.ArgumentParser(prog="python -m fastserve.topics", description="Publish to the topics of servers.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("publish", help="publish a message")
    command.add_argument("topic", help="name of the topic")
    command.add_argument("message", help="text, or - to read standard input")
    command.add_argument("--topics", default=os.environ.get("FASTSERVE_TOPICS"), help="the --topics of the servers")
    prefix = os.environ.get("FASTSERVE_TOPICS_PREFIX", "fastserve:")
    command.add_argument("--topics-prefix", default=prefix, help="the --topics-prefix of the servers")
    command.add_argument("--event", help="type of the server-sent event")
    command.add_argument("--history", type=int, default=0, help="messages of the topic to keep")
    command.add_argument("--ttl", type=float, help="seconds to keep them")
    given = parser.parse_args(argv)
    if not given.topics:
        parser.error("--topics is missing: give that of the servers, such as unix:DIR or redis://host")
    text = sys.stdin.read() if given.message == "-" else given.message
    try:
        with connect(given.topics, prefix=given.topics_prefix) as connection:
            if given.history:
                stored = publish_stored(given.topic, text, event=given.event, history=given.history, ttl=given.ttl)
                print(asyncio.run(stored))  # its position
            else:
                publish(given.topic, text, event=given.event, ttl=given.ttl)
    except (EngineDown, ImportFromStringError, OSError, Unsupported, ValueError) as exc:
        print(f"Error: {exc}", file=sys.stderr)
        return 1
    return 1 if connection.lost else 0  # why, the log has said on standard error


if __name__ == "__main__":
    sys.exit(main())
