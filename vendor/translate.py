"""Translates one module to C. setup.py runs this in other processes.

They find a function by the name of its module, and setup.py has no such name when a build backend runs it.
"""

from __future__ import annotations

from collections.abc import Mapping


def translate(source: str, name: str, folder: str, directives: Mapping[str, object]) -> bool:
    """Write the C of the module `name` beside its source; return whether that went well, with the errors on stderr.

    Declarations are included from `folder`. The C is written whether or not it was up to date.
    """
    from Cython.Compiler.Main import compile as to_c

    done = to_c(  # type: ignore[no-untyped-call]
        source, full_module_name=name, include_path=[folder], compiler_directives=dict(directives)
    )
    return not done.num_errors


def prepare() -> None:
    """Import what a translation needs: 0.3 s of work that processes forked later do not repeat."""
    from Cython.Compiler import ParseTreeTransforms, Pipeline  # noqa: F401
