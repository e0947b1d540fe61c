"""The lifespan protocol, which tells the application that the server starts and that it has stopped.

    app called -> lifespan.startup received -> startup.complete or startup.failed sent
               -> lifespan.shutdown received -> shutdown.complete or shutdown.failed sent -> app returns

An application that raises before startup.complete does not support the protocol: with `auto` it is served without a
lifespan, with `on` it is not served.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from fastserve._types import ASGI3Application, Message, Scope
from fastserve.importer import from_elsewhere

LifespanReceiveMessage = LifespanSendMessage = Message  # by uvicorn's names

END_SECONDS = 1.0  # for an application that has been cancelled

STATE_TRANSITION_ERROR = "Got invalid state transition on lifespan protocol."


class Loadable(Protocol):
    """What a lifespan asks of the configuration."""

    loaded: bool
    lifespan: str
    loaded_app: ASGI3Application

    @property
    def asgi_version(self) -> str: ...

    def load(self) -> None: ...


class LifespanOn:
    """One lifespan of an application: await startup() before serving, and shutdown() after.

    The application fills the dict `state` at startup; each request gets a copy. `should_exit` tells the server not to
    go on.
    """

    # The server's phase as the application knows it: "startup", "serving", "shutdown", "over".
    phase = "startup"

    def __init__(self, config: Loadable) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.logger = logging.getLogger("fastserve.error")
        self.startup_event = asyncio.Event()
        self.shutdown_event = asyncio.Event()
        self.receive_queue: asyncio.Queue[Message] = asyncio.Queue()
        self.error_occurred = False
        self.startup_failed = False
        self.shutdown_failed = False
        self.should_exit = False
        self.state: dict[str, Any] = {}
        self.task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Call the application; return once it has started or failed to, which sets should_exit if it must be fatal."""
        self.logger.info("Waiting for application startup.")
        self.task = asyncio.get_running_loop().create_task(self.main(), name="lifespan")
        await self.receive_queue.put({"type": "lifespan.startup"})
        try:
            await self.startup_event.wait()
        except asyncio.CancelledError:
            await self.end()
            raise
        self.phase = "serving"
        if self.startup_failed or (self.error_occurred and self.config.lifespan == "on"):
            self.logger.error("Application startup failed. Exiting.")
            self.should_exit = True
        else:
            self.logger.info("Application startup complete.")

    async def shutdown(self) -> None:
        """Tell the application, if it is still running, that the server has stopped; return once it has finished."""
        if self.error_occurred:
            return
        self.logger.info("Waiting for application shutdown.")
        self.phase = "shutdown"
        await self.receive_queue.put({"type": "lifespan.shutdown"})
        try:
            await self.shutdown_event.wait()
        finally:
            await self.end()
        if self.shutdown_failed or self.error_occurred:
            self.logger.error("Application shutdown failed. Exiting.")
            self.should_exit = True
        else:
            self.logger.info("Application shutdown complete.")

    async def end(self) -> None:
        """End the application's call: it has sent its last event, or is not waited for any longer."""
        self.phase = "over"
        if self.task is not None and not self.task.done():
            await asyncio.sleep(0)  # usually its coroutine only has to return
            self.task.cancel()
            await asyncio.wait([self.task], timeout=END_SECONDS)

    async def main(self) -> None:
        """Run the application through its lifespan; both events are set at the end in any case."""
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.config.loaded_app(scope, self.receive, self.send)
        except BaseException as exc:  # SystemExit as well: every failure is reported
            self.report(exc)
        finally:
            self.startup_event.set()
            self.shutdown_event.set()

    def report(self, exc: BaseException) -> None:
        """Log what the application raised, unless it has already reported a failure or was just cancelled."""
        if isinstance(exc, asyncio.CancelledError) and self.phase in ("serving", "over"):
            return
        self.error_occurred = True
        if self.startup_failed or self.shutdown_failed:
            return
        if self.config.lifespan == "auto" and not self.startup_event.is_set():
            self.logger.info("ASGI 'lifespan' protocol appears unsupported.")
            self.logger.debug("Exception raised by the application for the lifespan scope:", exc_info=exc)
        else:
            self.logger.error("Exception in 'lifespan' protocol\n", exc_info=exc)

    async def send(self, message: Message) -> None:
        """Handle an event from the application. Raises RuntimeError if it is unknown or out of order."""
        kind = message["type"]
        phase, _, outcome = kind.removeprefix("lifespan.").partition(".")
        if phase not in ("startup", "shutdown") or outcome not in ("complete", "failed"):
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent on lifespan protocol.")
        if self.shutdown_event.is_set() or self.startup_event.is_set() != (phase == "shutdown"):
            raise RuntimeError(STATE_TRANSITION_ERROR)
        if outcome == "failed" and message.get("message") and self.phase != "over":  # then it was cancelled
            self.logger.error("%s", message["message"])
        if phase == "startup":
            self.startup_failed = outcome == "failed"
            self.startup_event.set()
        else:
            self.shutdown_failed = outcome == "failed"
            self.shutdown_event.set()

    async def receive(self) -> Message:
        """Return the next event for the application; after lifespan.shutdown, wait for ever."""
        return await self.receive_queue.get()


def __getattr__(name: str) -> Any:
    return from_elsewhere(__name__, {"Config": "fastserve.config"}, name)  # which programs find here in uvicorn
