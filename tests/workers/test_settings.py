"""gunicorn's settings as options of Config, without a process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from fastserve.workers import FastserveWorker

Make = Callable[..., FastserveWorker]


@pytest.fixture
def worker() -> Iterator[Make]:
    """Make a worker as the arbiter does: worker(**settings)."""
    made: list[FastserveWorker] = []

    def make(worker_class: type[FastserveWorker] = FastserveWorker, **settings: Any) -> FastserveWorker:
        cfg = Config()
        for name, value in settings.items():
            cfg.set(name, value)
        made.append(worker_class(1, os.getpid(), [], None, cfg.timeout / 2, cfg, None))
        return made[-1]

    yield make
    for each in made:
        each.tmp.close()


def test_no_file_of_options_is_read(worker: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn's settings are all that there is: fastserve.toml is for the command."""
    (tmp_path / "fastserve.toml").write_text("prot = 1\n")
    monkeypatch.chdir(tmp_path)
    assert worker().config.port == 8000


def test_defaults(worker: Make) -> None:
    config = worker().config
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown) == (2, 29)
    assert (config.limit_max_requests, config.backlog, config.wsgi_threads) == (None, 2048, 10)
    assert (config.log_config, config.access_log, config.workers) == (None, False, 1)
    assert (config.limit_request_line, config.limit_request_fields) == (16384, 128)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"keepalive": 0}, {"timeout_keep_alive": 0}),
        ({"keepalive": 7}, {"timeout_keep_alive": 7}),
        ({"graceful_timeout": 1}, {"timeout_graceful_shutdown": 0.5}),
        ({"graceful_timeout": 0}, {"timeout_graceful_shutdown": 0}),
        ({"backlog": 5}, {"backlog": 5}),
        ({"threads": 4}, {"wsgi_threads": 4}),
        ({"max_requests": 10}, {"limit_max_requests": 10}),
        ({"limit_request_line": 100}, {"limit_request_line": 100}),
        ({"limit_request_line": 0}, {"limit_request_line": 2**31 - 1}),
        ({"limit_request_fields": 7}, {"limit_request_fields": 7}),
        ({"forwarded_allow_ips": "10.0.0.1,10.1.0.0/16"}, {"forwarded_allow_ips": ["10.0.0.1", "10.1.0.0/16"]}),
        ({"forwarded_allow_ips": "*"}, {"forwarded_allow_ips": ["*"]}),
    ],
)
def test_settings(worker: Make, settings: dict[str, Any], options: dict[str, Any]) -> None:
    config = worker(**settings).config
    assert {name: getattr(config, name) for name in options} == options


def test_jitter(worker: Make) -> None:
    limits = {worker(max_requests=10, max_requests_jitter=3).config.limit_max_requests for _ in range(60)}
    assert limits == {10, 11, 12, 13}


def test_tls(worker: Make) -> None:
    made = worker(cert_reqs=2)
    for name, value in {"keyfile": "key", "certfile": "cert", "ca_certs": "ca"}.items():
        made.cfg.settings[name].value = value  # not set(), which looks for the file
    assert made.ssl_kwargs() == {
        "ssl_keyfile": "key",
        "ssl_certfile": "cert",
        "ssl_ca_certs": "ca",
        "ssl_cert_reqs": 2,
    }


def test_tls_by_gunicorns_hook(worker: Make) -> None:
    made = worker()

    def hook(conf: Any, default_factory: Any) -> Any:
        return ("made", conf, default_factory())

    made.cfg.set("ssl_context", hook)
    factory = made.ssl_kwargs()["ssl_context_factory"]
    assert factory("config", lambda: "default") == ("made", made.cfg, "default")


def test_making_one_changes_nothing_in_the_arbiter(worker: Make) -> None:
    before = list(logging.getLogger("fastserve").handlers)
    worker()
    assert logging.getLogger("fastserve").handlers == before
