"""`fastserve ctl`: a verb for a server, by its control socket."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from fastserve.operations.client import Client
from fastserve.operations.verbs import BY_WORD, VERBS, WORKER, Verb, Wrong, asked


def usage(verb: Verb) -> str:
    """Return a verb with what it is given on the command line."""
    words = [verb.word]
    if verb.of_worker:
        words.append("WORKER")
    if verb.parameter:
        shown = "|".join(verb.choices) or verb.parameter.upper()
        words.append(shown if verb.default is None else f"[{shown}]")
    return " ".join(words)


def help_of_verbs() -> list[tuple[str, str]]:
    return [(usage(verb), verb.help) for verb in VERBS]


def target_of(word: str, arguments: Sequence[str]) -> tuple[str, str]:
    """Return method and target of a verb with its arguments. Raises Wrong."""
    verb = BY_WORD.get(word)
    if verb is None:
        raise Wrong(f"unknown verb {word!r}: expected one of {', '.join(BY_WORD)}")
    left = list(arguments)
    path, query = verb.path, ""
    if verb.of_worker:
        if not left or not left[0].isdecimal():
            raise Wrong(f"expected: {usage(verb)}")
        path = path.replace(WORKER, left.pop(0))
    if verb.parameter and left:
        query = f"{verb.parameter}={quote(left.pop(0))}"
    if left or (verb.parameter and verb.default is None and not query):
        raise Wrong(f"expected: {usage(verb)}")
    asked(verb.method, path, query)
    return verb.method, f"{path}?{query}" if query else path


def carry_out(place: str, word: str, arguments: Sequence[str]) -> tuple[bool, str]:
    """Have a server carry a verb out; return whether it did, and what to print. Raises Wrong, Failed."""
    method, target = target_of(word, arguments)
    status, text = Client(place).ask(method, target)
    try:
        found = json.loads(text)
    except ValueError:
        return status == 200, text.rstrip("\n")
    if status != 200 and isinstance(found, dict) and "error" in found:
        return False, str(found["error"])
    return status == 200, json.dumps(found, indent=2)
