"""The options of the server: what they need, whom they trust, what they say of files."""

from __future__ import annotations

import ipaddress
import os
import stat
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from fastserve._version import requirement
from fastserve.doctor.finding import FAIL, OK, WARN, Case, Finding
from fastserve.logging.formatters import LOGGING_CONFIG
from fastserve.logging.log_config import ConfigError
from fastserve.net import certificates, tls
from fastserve.net.address import Bind
from fastserve.static.mounts import mounts_of

DAY = 86400.0
SOON = 14 * DAY
LOCAL = ("127.", "::1", "localhost")
# The side that waits less closes idle connections: that must be the balancer, or a request meets a closed one.
BALANCERS: dict[str, tuple[float, str, str]] = {
    "alb": (60, FAIL, "its idle_timeout"),
    "nginx": (60, WARN, "keepalive_timeout of its upstream"),
    "traefik": (90, WARN, "idleConnTimeout of its serversTransport"),
    "cloudflare": (900, WARN, "its proxy idle timeout"),
}
NLB_SECONDS = 350.0  # after which it drops what it knows of a connection, without a word


def packages(case: Case) -> Iterator[Finding]:
    """Look for the packages that the options need."""
    options = case.options
    needed = [  # with the extra that brings the package
        (options.loop == "uvloop", FAIL, "uvloop", "--loop uvloop", None),
        (options.env_file is not None, FAIL, "dotenv", "--env-file", "standard"),
        (str(options.log_config).endswith((".yaml", ".yml")), FAIL, "yaml", "--log-config", "standard"),
        (options.http == "h11", FAIL, "h11", "--http h11", "h11"),
        (str(options.ws).startswith("websockets"), FAIL, "websockets", f"--ws {options.ws}", "standard"),
        (options.ws == "wsproto", FAIL, "wsproto", "--ws wsproto", "wsproto"),
        (options.reload, WARN, "watchfiles", "--reload, which polls without it", "standard"),
        (options.loop == "auto" and os.name == "posix", WARN, "uvloop", "a faster event loop", None),
    ]
    missing = [
        Finding(level, "packages", f"{package} is missing for {what}", f"pip install '{install}'")
        for wanted, level, package, what, extra in needed
        if wanted and not installed(package)
        for install in [requirement(extra) if extra else package]
    ]
    loop = "uvloop" if options.loop in ("auto", "uvloop") and installed("uvloop") else options.loop
    yield from missing or [Finding(OK, "packages", f"all that the options need (event loop: {loop})")]


def installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def concurrency(case: Case) -> Iterator[Finding]:
    """Look for the limit that idle connections use up."""
    limit = case.options.limit_concurrency
    if limit and not case.options.limit_requests:
        text = f"idle connections count for --limit-concurrency {limit}, and use it up"
        yield Finding(WARN, "overload", text, "use --limit-requests with what the application can work on at a time")
    elif case.options.limit_requests:
        yield Finding(OK, "overload", f"{case.options.limit_requests} requests at a time, others wait")


def log_output(case: Case) -> Iterator[Finding]:
    """Look whether lines of several workers can be torn on their way through a pipe."""
    try:
        piped = stat.S_ISFIFO(os.fstat(1).st_mode)
    except OSError:
        return
    foreign = case.options.log_config is not None and case.options.log_config is not LOGGING_CONFIG
    if piped and foreign and case.workers > 1:
        text = "standard output is a pipe that several workers share, and handlers of --log-config may write long lines"
        yield Finding(WARN, "log", text, "keep lines below 4096 bytes, or leave out --log-config")
    else:
        yield Finding(OK, "log", "lines are written whole")


def keep_alive(case: Case) -> Iterator[Finding]:
    """Compare how long idle connections are kept here and by the balancer."""
    check, seconds = "keep-alive", float(case.options.timeout_keep_alive)
    if case.balancer is None:
        yield Finding(OK, check, f"{seconds:g} s", "with --balancer it is compared with that one's")
    elif case.balancer == "nlb":
        if seconds >= NLB_SECONDS:
            text = f"{seconds:g} s, and an NLB forgets connections that are idle for {NLB_SECONDS:g} s"
            yield Finding(WARN, check, text, f"use --timeout-keep-alive {NLB_SECONDS - 10:g}")
        else:
            yield Finding(OK, check, f"{seconds:g} s, below the {NLB_SECONDS:g} s of an NLB")
    else:
        idle, level, setting = BALANCERS[case.balancer]
        if seconds <= idle:
            text = (
                f"{seconds:g} s, and {case.balancer} reuses connections for {idle:g} s ({setting}): some requests fail"
            )
            yield Finding(level, check, text, f"use --timeout-keep-alive {idle + max(15, idle // 10):g}")
        else:
            yield Finding(OK, check, f"{seconds:g} s, above the {idle:g} s of {case.balancer}")


def trust(case: Case) -> Iterator[Finding]:
    """Look whose X-Forwarded-For is believed."""
    check = "proxies"
    places = case.options.binds
    trusted = [part.strip() for part in case.trusted.split(",") if part.strip()]
    for part, network in list(mistaken(trusted)):
        text = f"{part} is an address in a network, and trusts nobody"
        yield Finding(WARN, check, text, f"use --forwarded-allow-ips {network}")
        trusted.remove(part)
    if not case.options.proxy_headers:
        proxied = case.balancer not in (None, "nlb")
        remedy = "use --proxy-headers" if proxied else ""
        text = "what they say is not used"
        yield Finding(WARN if proxied else OK, check, text, remedy)
    elif trusted == ["*"] and case.options.forwarded_hops is not None:
        yield Finding(OK, check, f"the address {case.options.forwarded_hops} from the right counts, whoever sends it")
    elif "*" in trusted:
        if all(place.path is not None for place in places):
            text = "anyone who can open the UNIX socket is trusted, and the first address counts"
            yield Finding(OK, check, text, "use --forwarded-allow-ips unix: to have the last one count")
        else:
            text = "any client can say which address it has (--forwarded-allow-ips '*')"
            yield Finding(WARN, check, text, "use --forwarded-allow-ips with the proxies' addresses or networks")
    elif case.balancer == "nlb" and case.options.proxy_protocol != "off":
        yield Finding(OK, check, f"the PROXY protocol tells clients ({case.options.proxy_protocol})")
    elif case.balancer == "nlb":
        text = "clients have their own addresses where the NLB's preserve_client_ip.enabled is on, as for instances"
        yield Finding(OK, check, text, "for IP targets use its proxy_protocol_v2.enabled, and --proxy-protocol v2")
    elif case.balancer is not None and all(part.startswith(LOCAL) for part in trusted):
        yield from untrusted(case, check, trusted)
    else:
        yield Finding(OK, check, f"trusted: {', '.join(trusted) or 'none'}")


def mistaken(trusted: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what is like 10.0.0.1/8, which is compared as a name, as with uvicorn, and the network that is meant."""
    for part in trusted:
        try:
            network = str(ipaddress.ip_network(part, strict=False))
        except ValueError:
            continue
        if "/" in part and ipaddress.ip_interface(part).ip != ipaddress.ip_network(network).network_address:
            yield part, network


def untrusted(case: Case, check: str, trusted: list[str]) -> Iterator[Finding]:
    """Yield what to say of a balancer while only this machine is trusted."""
    outside = [place for place in case.options.binds if place.is_tcp and not (place.host or "").startswith(LOCAL)]
    if outside or case.balancer in ("alb", "cloudflare"):
        text = f"clients have the address of {case.balancer}, which is not among those trusted ({', '.join(trusted)})"
        yield Finding(WARN, check, text, "use --forwarded-allow-ips with its addresses or networks")
    else:
        yield Finding(OK, check, f"trusted: {', '.join(trusted)}")


def sockets(case: Case) -> Iterator[Finding]:
    """Look at the UNIX sockets to be bound: their folders, and who may connect."""
    for place in case.options.places:
        if place.path is None:
            continue
        check, path = "UNIX socket", Path(place.path)
        mode = case.options.uds_permissions
        if mode is None:
            try:
                mode = stat.S_IMODE(path.stat().st_mode)
            except OSError:
                mode = 0o666
        unusable = unusable_folder(check, path)
        if unusable is not None:
            yield unusable
        elif mode & 0o002:
            text = f"any user of this machine may connect to {path} (mode {mode:o})"
            yield Finding(WARN, check, text, "use --uds-permissions 660 with a group for the proxy")
        else:
            yield Finding(OK, check, f"{path} (mode {mode:o})")


def unusable_folder(check: str, path: Path) -> Finding | None:
    """Return why no file can be made at a path, None if it can."""
    if not path.parent.is_dir():
        return Finding(FAIL, check, f"there is no directory {path.parent}", "make it, or use another path")
    if not os.access(path.parent, os.W_OK):
        return Finding(FAIL, check, f"{path.parent} cannot be written to", "change its owner, or use another path")
    return None


def own_files(case: Case) -> Iterator[Finding]:
    """Check the directories of the control socket, pid file, metrics socket and topics."""
    options = case.options
    paths = [("control socket", options.control_socket), ("pid file", options.pid_file)]
    paths += [("metrics", Bind.parse(text).path) for text in options.metrics_bind or ()]
    topics = str(options.topics or "")
    if topics.startswith("unix:"):
        folder = Path(topics.removeprefix("unix:"))  # which is made if it is not there
        paths.append(("topics", folder / "socket" if folder.is_dir() else folder))
    for check, path in paths:
        if path is not None:
            yield unusable_folder(check, Path(path)) or Finding(OK, check, f"{Path(path).parent} can be written to")


def static_files(case: Case) -> Iterator[Finding]:
    """Look at the directories of --static."""
    for text in case.options.static or []:
        try:
            (mount,) = mounts_of([text])
        except ConfigError as exc:
            yield Finding(FAIL, "static files", str(exc), "make it, or let the server's user search it (mode x)")
        else:
            route = mount.route.decode("ascii") or "/"
            yield Finding(OK, "static files", f"{route} from {os.fsdecode(mount.directory)}")


def certificate(case: Case) -> Iterator[Finding]:
    """Look whether certificates and keys go together, and how long each certificate is valid."""
    options = case.options
    if not options.certificate_files:
        return
    check = "certificate"
    try:
        made = tls.Certificates(options, None)
        leaves = [tls.leaf_of(certfile) for certfile, _ in options.certificate_files]
    except ConfigError as exc:
        yield Finding(FAIL, check, str(exc), "use another --ssl-certfile or --ssl-keyfile")
        return
    named = len(leaves) > 1
    for (certfile, _), leaf in zip(options.certificate_files, leaves, strict=True):
        yield validity(f"{check} '{os.fspath(certfile)}'" if named else check, leaf)
    for unused in made.unused:
        yield Finding(WARN, f"{check} '{unused}'", "it has no name that is not in one before it", "leave it out")


def validity(check: str, leaf: bytes) -> Finding:
    """Return how long a certificate is valid."""
    valid = certificates.validity(leaf)
    if valid is None:
        return Finding(WARN, check, "its end cannot be read")
    now, (begin, end) = time.time(), valid
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end))
    remedy = "renew it, and send SIGHUP"
    if now < begin:
        return Finding(FAIL, check, f"it is valid from {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(begin))} on",
                       "look at the clock, or use another --ssl-certfile")  # fmt: skip
    if end <= now:
        return Finding(FAIL, check, f"it was valid until {shown}", remedy)
    if end - now < SOON:
        return Finding(WARN, check, f"it is valid until {shown}, {(end - now) / DAY:.0f} days", remedy)
    return Finding(OK, check, f"valid until {shown}, {(end - now) / DAY:.0f} days")
