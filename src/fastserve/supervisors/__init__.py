"""The process that watches over others: workers that share sockets, or one that is started again when files change.

multiprocess      the parent of workers: starts, watches and replaces them
slot              one of the workers that there should be, and who fills it
process           the parent's handle of one worker process
link              what parent and worker tell each other, from the worker's side
messages          what that is
child             what runs in the worker process
hang_report       where a worker that does not answer stands
basereload        the parent that starts one process again when files change; statreload and watchfilesreload see them
file_filter       which files matter to it
signal_queue      the signals of a parent, in the order in which they came
supervise         chooses the parent that a configuration asks for, and runs it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastserve.importer import from_elsewhere

if TYPE_CHECKING:
    from fastserve.supervisors.basereload import BaseReload
    from fastserve.supervisors.multiprocess import Multiprocess

    ChangeReload = BaseReload

__all__ = ["ChangeReload", "Multiprocess"]


# Imported when they are first used: modules of this package do without them.
ELSEWHERE = {
    "BaseReload": "fastserve.supervisors.basereload",
    "Multiprocess": "fastserve.supervisors.multiprocess",
    "StatReload": "fastserve.supervisors.statreload",
    "WatchFilesReload": "fastserve.supervisors.watchfilesreload",
}


def __getattr__(name: str) -> Any:
    """Give ChangeReload, the class for --reload: WatchFilesReload if watchfiles imports, else StatReload."""
    if name == "ChangeReload":
        try:
            import watchfiles  # noqa: F401
        except ImportError:
            name = "StatReload"
        else:
            name = "WatchFilesReload"
    return from_elsewhere(__name__, ELSEWHERE, name)
