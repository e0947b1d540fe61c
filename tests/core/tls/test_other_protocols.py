"""Protocols that are not the core's, over TLS of the core's own: their transport is as asyncio's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from core.tls.client import Secure
from fakes.worker import FakeWorker, hello
from tls.pki import Pki

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(max_examples=60, deadline=None, database=None)
Work = Callable[..., FakeWorker]


class Recorder(asyncio.Protocol):
    """A protocol that is not the core's."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Buffered(asyncio.BufferedProtocol):
    """A protocol that has room for a few bytes at a time."""

    def __init__(self) -> None:
        self.received = b""
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]


class TestOtherProtocols:
    """What is not the core's gets a transport as asyncio's for TLS."""

    @pytest.fixture
    def wire(self, work: Work) -> FakeWorker:
        return work(hello())

    def connected(self, wire: FakeWorker, pki: Pki, protocol: Any) -> Secure:
        peer = Secure(wire, pki, lambda: protocol)
        peer.shake_hands()
        peer.exchange()
        return peer

    def test_calls(self, wire: FakeWorker, pki: Pki) -> None:
        recorder = Recorder()
        peer = self.connected(wire, pki, recorder)
        transport = recorder.transport
        assert peer.ask(b"hello") == b""
        assert recorder.received == b"hello"
        assert transport.get_protocol() is recorder
        transport.write(b"one ")
        transport.writelines([b"two ", bytearray(b"three")])
        assert peer.read() == b"one two three"
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        assert not transport.is_closing()
        wire.call(transport.close)
        assert transport.is_closing()
        assert peer.has_ended
        transport.write(b"too late")
        assert peer.read() == b""
        peer.end()
        assert recorder.calls == ["made", "eof", "lost"]
        assert transport.get_write_buffer_size() == 0
        peer.leave()

    def test_extra_info(self, wire: FakeWorker, pki: Pki) -> None:
        recorder = Recorder()
        peer = self.connected(wire, pki, recorder)
        info = recorder.transport.get_extra_info
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert isinstance(info("sslcontext"), ssl.SSLContext)
        assert info("cipher") == peer.tls.cipher()
        assert (info("peercert"), info("compression")) == (None, None)
        assert info("peername") == peer.transport.get_extra_info("peername")
        assert info("nothing", 5) == 5
        peer.leave()

    def test_flow_control(self, wire: FakeWorker, pki: Pki) -> None:
        recorder = Recorder()
        peer = self.connected(wire, pki, recorder)
        transport = recorder.transport
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (0, 1000)
        peer.transport.stuck = True
        peer.transport.set_write_buffer_limits(high=0)
        wire.call(transport.write, b"x" * 100)
        assert recorder.calls == ["made"]
        wire.call(transport.write, b"x" * 1000)
        assert recorder.calls == ["made", "pause"]
        peer.transport.unstick()
        wire.settle()
        assert recorder.calls == ["made", "pause", "resume"]
        assert peer.read() == b"x" * 1100
        peer.leave()

    def test_a_pause_of_reading(self, wire: FakeWorker, pki: Pki) -> None:
        recorder = Recorder()
        peer = self.connected(wire, pki, recorder)
        transport = recorder.transport
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        assert not peer.transport.reading
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        assert peer.transport.calls == ["pause_reading", "resume_reading"]
        peer.leave()

    def test_a_pause_before_the_first_byte(self, wire: FakeWorker, pki: Pki) -> None:
        """What came with the end of the handshake waits as well."""

        class Resting(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.transport.pause_reading()

        recorder = Resting()
        peer = Secure(wire, pki, lambda: recorder)
        peer.shake_hands()
        peer.ask(b"hello")
        assert recorder.received == b""
        wire.call(recorder.transport.resume_reading)
        assert recorder.received == b"hello"
        peer.ask(b" again")
        assert recorder.received == b"hello again"
        peer.leave()

    @given(st.lists(st.sampled_from(["pause", "resume", "turn", "piece"]), max_size=12), st.integers(0, 2))
    @bounded
    def test_pauses_while_something_is_unread(self, pki: Pki, calls: list[str], before: int) -> None:
        """Where records end is counted once, in whatever order reading is paused and resumed and they come."""

        class Resting(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.transport.pause_reading()

        wire = FakeWorker(hello())
        recorder = Resting()
        peer = Secure(wire, pki, lambda: recorder)
        peer.shake_hands()
        last_flight = peer.outgoing.read()
        texts = [b"%d " % number * 50 for number in range(20)]
        records = b"".join(map(peer.encrypted, texts))
        pieces = [records[at : at + 100] for at in range(0, len(records), 100)]
        peer.put([last_flight + b"".join(pieces[:before])])
        del pieces[:before]
        for call in calls:
            if call == "turn":
                wire.settle()
            elif call == "piece" and peer.transport.reading:
                peer.protocol.data_received(pieces.pop(0))
            elif call in ("pause", "resume"):
                getattr(recorder.transport, f"{call}_reading")()
        recorder.transport.resume_reading()
        wire.settle()
        peer.put([b"".join(pieces)])
        assert recorder.received == b"".join(texts)
        peer.leave()
        wire.close()

    def test_another_protocol(self, wire: FakeWorker, pki: Pki) -> None:
        recorder, buffered = Recorder(), Buffered()
        peer = self.connected(wire, pki, recorder)
        recorder.transport.set_protocol(buffered)
        peer.ask(b"more than it has room for")
        assert (recorder.received, buffered.received) == (b"", b"more than it has room for")
        peer.leave()

    def test_a_client_that_does_not_end(self, wire: FakeWorker, pki: Pki) -> None:
        """As with asyncio, it has 30 seconds after close()."""
        recorder = Recorder()
        peer = self.connected(wire, pki, recorder)
        wire.call(recorder.transport.close)
        wire.advance(29)
        assert peer.transport.calls == []
        wire.advance(2)
        assert peer.transport.calls == ["abort"]
        assert recorder.calls == ["made", "lost"]
        peer.leave()

    def test_a_client_that_does_not_read_at_all(self, wire: FakeWorker, pki: Pki) -> None:
        """close() waits for it, abort() does not."""
        recorder = Recorder()
        peer = self.connected(wire, pki, recorder)
        wire.call(recorder.transport.close)
        assert peer.transport.calls == []
        wire.call(recorder.transport.abort)
        assert peer.transport.calls == ["abort"]
        assert recorder.calls == ["made", "lost"]
        peer.leave()
