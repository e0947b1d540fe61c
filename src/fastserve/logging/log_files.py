"""Opening log files again, on SIGUSR1, for programs that have moved them away (log rotation)."""

from __future__ import annotations

import logging
import signal

logger = logging.getLogger("fastserve.error")


def take_user_signal(number: int) -> None:
    """Do what SIGUSR1 asks for, or SIGUSR2, which is nothing, and log it."""
    if number == signal.SIGUSR2:
        logger.info("Received SIGUSR2, which has no effect here.")
        return
    count = reopen()
    if count:
        logger.info("Received SIGUSR1: %d log file(s) opened again.", count)
    elif not handlers_of_files():  # of those that could not be opened, an error has been logged
        logger.info("Received SIGUSR1, but there are no log files to open again.")


def reopen() -> int:
    """Open every file that a logger of this process writes to again, and return how many have been."""
    return sum(reopened(each) for each in handlers_of_files())


def handlers_of_files() -> list[logging.FileHandler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = {id(handler): handler for each in loggers for handler in getattr(each, "handlers", ())}
    return [each for each in handlers.values() if isinstance(each, logging.FileHandler)]


def reopened(handler: logging.FileHandler) -> bool:
    """Open a handler's file again, and say whether that was possible; otherwise it goes on with the one that it has."""
    handler.acquire()
    try:
        handler.mode = handler.mode.replace("w", "a")  # what is in the file stays, if nobody has moved it
        before = handler.stream
        handler.setStream(handler._open())
        if before is not None:
            before.close()
    except Exception as exc:  # of a handler class of the program, whose fault is not to end what serves
        logger.error("Log file not reopened, keeping the current one: %s", exc)
        return False
    finally:
        handler.release()
    return True
