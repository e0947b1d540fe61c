"""Configuration files of other servers: TOML, and Python of which only literals are read."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, NamedTuple

from fastserve.logging.log_config import ConfigError
from fastserve.options.config_file import parsed


class Module(NamedTuple):
    """What a Python file says without being run."""

    literals: dict[str, object]
    others: dict[str, str]  # names that are bound to what is computed: its source
    functions: list[str]


def toml(path: str) -> dict[str, Any]:
    """Return the table of a TOML file. Raises ConfigError."""
    return parsed(path, contents(path))


def contents(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(f"config '{path}' cannot be read: {(exc.strerror or str(exc)).lower()}") from exc


def module(path: str) -> Module:
    """Return what a Python file binds at its top level. Raises ConfigError."""
    try:
        tree = ast.parse(contents(path), path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise ConfigError(f"config '{path}' cannot be used: {' '.join(str(exc).split())}") from exc
    found = Module({}, {}, [])
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions.append(statement.name)
        for name, value in bindings(statement):
            found.literals.pop(name, None)
            found.others.pop(name, None)
            try:
                found.literals[name] = ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                found.others[name] = ast.unparse(value)
    return found


def bindings(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    """Return the names that a statement binds; those inside `if` and the like are bound to something unknown."""
    if isinstance(statement, ast.Assign):
        return [(target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
        return [(statement.target.id, statement.value)]
    found: list[tuple[str, ast.expr]] = []
    for node in ast.walk(statement):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.append((node.target.id, ast.BinOp(node.target, node.op, node.value)))
        elif isinstance(node, ast.Assign) and isinstance(statement, ast.If | ast.Try | ast.For | ast.With | ast.While):
            unknown = ast.Name(f"{ast.unparse(node.value)} (not at the top level)")
            found += [(target.id, unknown) for target in node.targets if isinstance(target, ast.Name)]
    return found
