"""Tests of plain connections, run once more over TLS and on both loops."""

from __future__ import annotations

from asgi.test_core_items import (
    test_item_1_one_call_a_request,
    test_item_7_application_that_returns_too_early,
    test_item_7_exception_in_the_body_breaks_the_connection,
    test_item_8_another_error_beside_the_disconnect_is_logged,
    test_item_8_disconnect_error_is_not_logged,
)
from asgi.test_http_receive import TestBody, TestCalls, TestContinue, TestDisconnect
from asgi.test_http_send import TestEnd, TestFlow, TestFraming, TestHttp10
from asgi.test_turn import (
    test_many_connections_at_once,
    test_pieces_do_not_wait_for_the_code_between_them,
)
from protocol.test_rfc9112_connection import TestSection93Persistence, TestSection96SlowReader

__all__ = [
    "TestBody",
    "TestCalls",
    "TestContinue",
    "TestDisconnect",
    "TestEnd",
    "TestFlow",
    "TestFraming",
    "TestHttp10",
    "TestSection93Persistence",
    "TestSection96SlowReader",
    "test_item_1_one_call_a_request",
    "test_item_7_application_that_returns_too_early",
    "test_item_7_exception_in_the_body_breaks_the_connection",
    "test_item_8_another_error_beside_the_disconnect_is_logged",
    "test_item_8_disconnect_error_is_not_logged",
    "test_many_connections_at_once",
    "test_pieces_do_not_wait_for_the_code_between_them",
]
