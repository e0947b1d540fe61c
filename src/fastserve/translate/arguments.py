"""The words of a command by a server's table of options: as click and argparse read them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from fastserve.translate.result import OFF, ON, Row, Untranslatable, is_on

MANY = ("values", "paths")  # what a row takes whose option can be repeated, and whose variable has many values


class Given(NamedTuple):
    """An option that was given: its row, what it was called there, and its value."""

    row: Row
    theirs: str
    value: str


class Words:
    """The words of a command; after reading them all, `positional` has those that belong to no option."""

    def __init__(self, server: str, rows: Sequence[Row], words: Sequence[str]) -> None:
        self.server = server
        self.names = {name: row for row in rows for name in row.names.split()}
        self.words = list(words)
        self.positional: list[str] = []

    def read(self) -> Iterator[Given]:
        """Yield what is given. Raises Untranslatable for an option that the server does not have."""
        while self.words:
            word = self.words.pop(0)
            if word == "--":
                self.positional += self.words
                return
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                yield self.option(name, value if equals else None)
            elif word.startswith("-") and len(word) > 1:
                yield from self.short(word)
            else:
                self.positional.append(word)

    def option(self, name: str, value: str | None) -> Given:
        row = self.row(name)
        if row.takes == "flag":
            if value is not None:
                raise Untranslatable(f"{name} takes no value")
            return Given(row, name, row.constant)
        if value is None:
            if row.takes == "maybe" and (not self.words or self.words[0].startswith("-")):
                return Given(row, name, "")
            if not self.words:
                raise Untranslatable(f"{name} needs a value")
            value = self.words.pop(0)
        return Given(row, name, value)

    def row(self, name: str) -> Row:
        """Return the row of an option by its name, or by the beginning of it that only one has."""
        found = self.names.get(name)
        if found is None:
            starting = {id(row): row for each, row in self.names.items() if each.startswith(name) and name[:2] == "--"}
            if len(starting) != 1:
                raise Untranslatable(f"{name} is not an option of {self.server}")
            (found,) = starting.values()
        return found

    def short(self, word: str) -> Iterator[Given]:
        """Yield the options of a word like -w4, -w=4 or -DR."""
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            if self.row(name).takes == "flag" or not letters:
                yield self.option(name, None)
            else:
                yield self.option(name, letters.removeprefix("="))
                return


def of_setting(row: Row, theirs: str, value: object) -> Iterator[Given]:
    """Yield what a setting in a file gives: a list once for each of its elements, None nothing."""
    for each in value if isinstance(value, list | tuple) else [value]:
        if each is None:
            continue
        if isinstance(each, bool):
            text = str(each).lower()
            if row.takes == "flag" and text == OFF and row.constant != OFF:
                continue
            yield Given(row, theirs, text)
        else:
            yield Given(row, theirs, str(each))


def of_variables(
    prefix: str, rows: Sequence[Row], environ: Mapping[str, str], given: Collection[str]
) -> Iterator[Given]:
    """Yield what click takes from the environment: PREFIX_SETTING for each setting that was not given otherwise."""
    for setting in {row.setting: None for row in rows if row.setting and row.setting not in given}:
        row = next(row for row in rows if row.setting == setting)
        variable = f"{prefix}_{setting.upper()}"
        value = environ.get(variable)
        if value and row.takes == "flag":
            yield Given(row, variable, ON if is_on(value) else OFF)
        elif value:
            for each in value.split(os.pathsep if row.takes == "paths" else None) if row.takes in MANY else [value]:
                yield Given(row, variable, each)
