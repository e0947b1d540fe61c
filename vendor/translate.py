"""Translates one module to C. setup.py runs this in other processes.

They find a function by the name of its module, and setup.py has no such name when a build backend runs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

# Functions of Cython's own that each module has again, for its import, for arguments by keyword and for errors. A name
# that a version of Cython does not know is not found, and what it calls otherwise is compiled like all else.
SELDOM = (
    "AddTraceback|ApiExport_GetApiDict|ArgTypeError|ExportFunction|ExportVoidPtr|GetBuiltinName|GetVtable|Import|"
    "ImportFrom|ImportFromPxd|ImportFunction|ImportType|ImportVoidPtr|Import_Lookup|InitCachedConstants|"
    "InitConstants|MatchKeywordArg_nostr|MatchKeywordArg_str|MergeVtables|ParseKeywordDict|ParseKeywordDictToDict|"
    "ParseKeywords|ParseKeywordsTuple|PyCode_New|PyImport_AddModuleRef|PyNumber_LongWrongResultType|PyType_Ready|"
    "Raise|RaiseArgtupleInvalid|RaiseUnexpectedTypeError|RejectKeywords|RejectUnknownKeyword|SetVtable|"
    "WriteUnraisable|check_binary_version|check_single_interpreter|copy_spec_to_module|get_runtime_version|"
    "validate_bases_tuple"
)
SELDOM_CALLED = re.compile(
    r"^static (?!CYTHON_INLINE)(?=[^;{}()=]*\b"
    rf"(?:__Pyx_(?:_?(?:{SELDOM})(?:_\d+)*|_GetException|NonPyLong_\w+|call_next_tp_clear)"
    r"|__pyx_tp_clear_\w+)\()",
    re.MULTILINE,
)


def translate(source: str, name: str, folder: str, directives: Mapping[str, object], seldom: str = "") -> bool:
    """Write the C of the module `name` beside its source; return whether that went well, with the errors on stderr.

    Declarations are included from `folder`. The C is written whether or not it was up to date. `seldom` is an attribute
    for the functions that are seldom called.
    """
    from Cython.Compiler.Main import compile as to_c

    done = to_c(  # type: ignore[no-untyped-call]
        source, full_module_name=name, include_path=[folder], compiler_directives=dict(directives)
    )
    if seldom and not done.num_errors:
        file = Path(source).with_suffix(".c")
        file.write_text(SELDOM_CALLED.sub(f"static {seldom} ", file.read_text("utf-8")), "utf-8")
    return not done.num_errors


def prepare() -> None:
    """Import what a translation needs: 0.3 s of work that processes forked later do not repeat."""
    from Cython.Compiler import ParseTreeTransforms, Pipeline  # noqa: F401
