"""Parents of server processes: of workers that share sockets, or of one that restarts when files change.

multiprocess      the parent of workers: starts, monitors and replaces them
multithread       the same of workers that are threads (--worker-class thread); thread is what runs in one
parent            what parents do with their processes as the control socket asks
obedient          what that of workers is told, by signals and the control socket
succession        how it leaves everything to a successor, and takes over from a predecessor
successor         that process, as its predecessor sees it
generations       the templates that it has workers forked from (--preload): template is its handle of one, preloading
                  what runs there
slot              the place of one worker, and the processes that fill it
process           the parent's handle of one worker process
link              the worker's end of the connection between parent and worker
messages          what they send each other
child             what runs in the worker process
hang_report       where an unresponsive worker stands
basereload        the parent that restarts one process when files change; statreload and watchfilesreload detect changes
file_filter       which files it watches
signal_queue      the signals of a parent, in order of arrival
supervise         chooses and runs the parent for a configuration
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
