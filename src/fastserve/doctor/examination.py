"""`fastserve doctor`: all checks, in the order in which their findings are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fastserve.doctor import machine, running, setup
from fastserve.doctor.finding import FAIL, Case, Check, Finding
from fastserve.options import environment
from fastserve.options.table import Options

BALANCERS = (*setup.BALANCERS, "nlb")
CHECKS: tuple[Check, ...] = (
    machine.descriptors,
    machine.backlog,
    machine.workers,
    setup.packages,
    machine.memory,
    machine.first_process,
    setup.concurrency,
    setup.log_output,
    setup.keep_alive,
    setup.trust,
    setup.sockets,
    setup.own_files,
    setup.static_files,
    setup.certificate,
    machine.clock,
    running.response,
)


def examine(options: Options, balancer: str | None, url: str | None) -> list[Finding]:
    """Return what there is to say of these options on this machine. Raises OptionError for a wrong WEB_CONCURRENCY."""
    workers = options.workers if options.workers is not None else environment.workers()
    trusted = options.forwarded_allow_ips
    if trusted is None:
        trusted = environment.forwarded_allow_ips()
    listed = trusted if isinstance(trusted, str) else ",".join(trusted)
    case = Case(options, workers, listed, balancer, url)
    return [finding for check in CHECKS for finding in check(case)]


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as JSON: `ok` is false where one is a FAIL."""
    ok = all(finding.level != FAIL for finding in findings)
    return json.dumps({"ok": ok, "findings": [finding._asdict() for finding in findings]}, indent=2)
