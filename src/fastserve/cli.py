"""The command `fastserve`, made from the table of options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from fastserve import _version
from fastserve._version import VERSION
from fastserve.logging.log_config import ConfigError
from fastserve.options import config_file
from fastserve.options.config_file import ConfigFile
from fastserve.options.table import GROUPS, OPTIONS, Option, OptionError
from fastserve.options.values import Flag, Kind, Switch
from fastserve.process import frozen


class ParamType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click
    """Click's view of a kind of value."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.metavar

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Return the values of a repeatable option in the environment."""
        return self.kind.split(rv)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a text; any other type has been converted already."""
        if not isinstance(value, str):
            return value
        try:
            return self.kind.parsed(value)
        except (TypeError, ValueError) as exc:
            self.fail(f"{exc}.", param, ctx)


class Parameter(click.Option):
    """An option whose errors name the environment variable that the value came from."""

    def get_error_hint(self, ctx: click.Context | None, **more: Any) -> str:
        hint = super().get_error_hint(ctx, **more)
        source = None if ctx is None else ctx.get_parameter_source(self.name or "")
        if source is not ParameterSource.ENVIRONMENT:
            return hint
        names = [self.envvar] if isinstance(self.envvar, str) else list(self.envvar or ())
        return f"{hint} (environment variable {next((name for name in names if os.environ.get(name)), names[0])})"


class StartupFailure(click.ClickException):
    """The command cannot start, and logging is not set up: one line, exit code 3."""

    exit_code = 3


class Refusal(click.ClickException):
    """Options that can be parsed but not used, or not together: one line, exit code 2."""

    exit_code = 2


class Command(click.Command):
    """A click command whose --help lists the options by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups = {option.param: option.group for option in OPTIONS}
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, "Other")}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections[groups.get(param.name or "", "Other")].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class ServeCommand(Command):
    """The command that serves, unless its first argument names another one.

    An application has a colon in its name, the other commands have none.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as the command line of this process: see click."""
        frozen.divert()  # multiprocessing's own arguments are not for this command
        named = {**dict(zip(("args", "prog_name"), args, strict=False)), **extra}
        words = list(sys.argv[1:] if named.get("args") is None else named["args"])
        other = OTHERS.get(words[0]) if words and own_name() else None
        if other is None:
            return super().main(*args, **extra)
        program = f"{named.get('prog_name') or 'fastserve'} {words[0]}"
        return other.made().main(**{**named, "args": words[1:], "prog_name": program})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        if own_name():
            with formatter.section("Other commands"):
                formatter.write_dl([(name, other.help) for name, other in OTHERS.items()])


def own_name() -> bool:
    """Return whether this is fastserve's command, and not what fastserve.compat runs in uvicorn's place."""
    return _version.server_name == "Fastserve"


def variables(name: str) -> str | list[str]:
    """Return the environment variable of an option, and under fastserve.compat that of uvicorn as well."""
    theirs = name.replace("FASTSERVE", _version.server_name.upper(), 1)
    return name if theirs == name else [name, theirs]


def parameter(option: Option) -> click.Option:
    """Return the click option for a row of the table."""
    attributes: dict[str, Any] = {"help": option.help, "envvar": variables(option.environment)}
    default = option.default if option.command_default is None else option.command_default
    attributes["show_default"] = default not in (None, "") and not isinstance(option.kind, Flag)
    name = option.name
    if isinstance(option.kind, Switch):
        attributes |= {"is_flag": True, "default": default}
        if not isinstance(option.kind, Flag):
            name = f"{name}/--no-{name[2:]}"
    else:
        attributes |= {"type": ParamType(option.kind), "metavar": option.kind.metavar}
        attributes |= {"multiple": True} if option.kind.repeatable else {"default": default}
    return Parameter([name, option.param], **attributes)


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import platform

        python = f"{platform.python_implementation()} {platform.python_version()}"
        click.echo(f"Running fastserve {VERSION} with {python} on {platform.system()}")
        ctx.exit()


FILE = "fastserve.options.config_file"  # the key of a context's ConfigFile
CONFIG_HELP = (
    "Read options from this TOML file.  [default: fastserve.toml, else [tool.fastserve] of pyproject.toml, in the"
    " current directory]"
)


def read_config_file(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Take options from a file into the context, once --config and --no-config are both known."""
    if ctx.resilient_parsing:
        return
    said = ctx.meta.setdefault(f"{FILE}.said", {})
    name = param.name or ""
    said[name] = (value, ctx.get_parameter_source(name))
    if len(said) < 2:
        return
    (path, path_from), (none, none_from) = said["config"], said["no_config"]
    if path and none:
        if path_from is none_from:
            raise Refusal(f"config '{path}' and no_config contradict each other: leave one out")
        none = none_from is ParameterSource.COMMANDLINE
    if none or not (path or own_name()):
        return  # uvicorn, for which fastserve.compat stands, has no such file
    with refusals():
        found = config_file.read(path) if path else config_file.find()
    if found is not None:
        ctx.meta[FILE] = found
        given = config_file.without_overridden(found.values, os.environ)
        ctx.default_map = {**given, **(ctx.default_map or {})}


@contextmanager
def refusals(found: ConfigFile | None = None, params: set[str] | None = None) -> Iterator[None]:
    """Leave the process as a command does whose options or files cannot be used.

    `params` are those that come from the file that was found: the line says so of each that it names.
    """
    try:
        yield
    except OptionError as exc:
        text = str(exc)
        named = [param for param in sorted(params or ()) if param in text.replace(":", " ").split()]
        origin = f" ({', '.join(named)}: from {found.name})" if found is not None and named else ""
        raise Refusal(f"{text}{origin}") from exc
    except ConfigError as exc:
        raise StartupFailure(str(exc)) from exc


def sources_of(ctx: click.Context) -> dict[str, str]:
    """Return where each parameter's value comes from: command, environment, file or default."""
    words = {
        ParameterSource.COMMANDLINE: "command",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: "file",
    }
    found = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name: words.get(source, "default") if source else "default" for name, source in found.items()}


def settle(ctx: click.Context, options: dict[str, Any]) -> dict[str, str]:
    """Return where each value comes from; reset those of the file that say in another way where to listen."""
    sources = sources_of(ctx)
    filed = {param for param, source in sources.items() if source == "file"}
    given = {param for param, source in sources.items() if source in ("command", "environment")}
    for param in config_file.replaced_places(given, filed):
        options[param] = None
        sources[param] = "default"
    return sources


def serve(app: str, print_config: bool = False, check_config: bool = False, **options: Any) -> None:
    """Serve APP, an application given as <module>:<attribute>.

    Each option can also be given by the environment: --root-path as FASTSERVE_ROOT_PATH, for instance, --header as
    FASTSERVE_HEADERS with spaces between headers, APP as FASTSERVE_APP; and by a file, as root-path, headers or app.
    The command line has precedence, followed by the environment.
    """
    ctx = click.get_current_context(silent=True)  # None for programs that call this function
    found: ConfigFile | None = None if ctx is None else ctx.meta.get(FILE)
    sources = {} if ctx is None else settle(ctx, options)
    # An option that was not given is None, or an empty tuple: Config has its default.
    given = {param: value for param, value in options.items() if value not in (None, ())}
    if print_config and check_config:
        raise Refusal("print_config and check_config do two things: give one at a time")
    token = config_file.in_use.set(found.name if found is not None else "")
    try:
        with refusals(found, {param for param, source in sources.items() if source == "file"}):
            if print_config:
                from fastserve.options import resolved

                click.echo("\n".join(resolved.lines(app, given, sources)))
            elif check_config:
                check(app, given)
            else:
                from fastserve.main import run

                run(app, **given)
    finally:
        config_file.in_use.reset(token)


def check(app: str, given: dict[str, Any]) -> None:
    """Print OK if the server could start. Raises OptionError and ConfigError."""
    from fastserve.doctor.rehearsal import rehearse

    try:
        rehearse(app, given)
    except (OptionError, ConfigError) as exc:
        code = Refusal.exit_code if isinstance(exc, OptionError) else StartupFailure.exit_code
        leave_threads(f"Error: {exc}", code)
        raise
    leave_threads("OK", 0)
    click.echo("OK")


def leave_threads(line: str, code: int) -> None:
    """Print a line and end the process where threads of the application, which may never end, would keep it."""
    import threading

    if any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread()):
        click.echo(line, err=bool(code))
        sys.stdout.flush()
        os._exit(code)


def translate(words: tuple[str, ...]) -> None:
    """Print the command of fastserve for COMMAND, one of uvicorn, gunicorn, hypercorn or granian.

    Nothing is started, and configuration files are read without running them. Variables before COMMAND count as they do
    for that server. What has no counterpart is named on standard error, with the reason.
    """
    from fastserve.translate.command import translate as translated
    from fastserve.translate.result import Untranslatable

    try:
        result = translated(words, os.environ)
    except Untranslatable as exc:
        raise Refusal(str(exc)) from exc
    except ConfigError as exc:
        raise StartupFailure(str(exc)) from exc
    for note in result.notes:
        click.echo(note, err=True)
    click.echo(result.command())


def doctor(app: str | None, as_json: bool, balancer: str | None, url: str | None, **options: Any) -> None:
    """Check the options of a server against this machine, and report what would go wrong in production.

    The options are those of `fastserve`, read from the same places; nothing is imported, bound or changed. Each line is
    OK, WARN or FAIL, with the option to use. The exit code is 1 if one is FAIL.
    """
    from fastserve.doctor import examination
    from fastserve.doctor.finding import FAIL
    from fastserve.options import conflicts
    from fastserve.options.table import Options

    ctx = click.get_current_context()
    found: ConfigFile | None = ctx.meta.get(FILE)
    sources = settle(ctx, options)
    given = {param: value for param, value in options.items() if value not in (None, ())}
    with refusals(found, {param for param, source in sources.items() if source == "file"}):
        checked = Options(app or "", **given)
        conflicts.check(checked)
        findings = examination.examine(checked, balancer, url)
    click.echo(examination.as_json(findings) if as_json else "\n".join(finding.line() for finding in findings))
    if any(finding.level == FAIL for finding in findings):
        ctx.exit(1)


def http_url(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the value if it is a URL to ask for."""
    if value is not None and not value.startswith(("http://", "https://")):
        raise click.BadParameter(f"{value!r}: expected http:// or https://.", ctx, param)
    return value


def doctor_command() -> Command:
    """Return the command that takes the server's options besides its own."""
    from fastserve.doctor.examination import BALANCERS

    return Command(
        "doctor",
        callback=doctor,
        help=doctor.__doc__,
        params=[
            click.Argument(["app"], envvar=variables("FASTSERVE_APP"), required=False),
            *(parameter(option) for option in OPTIONS),
            *file_options(),
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
            click.Option(["--balancer"], type=click.Choice(BALANCERS), help="What stands in front of the server."),
            click.Option(["--url"], callback=http_url, help="Ask for this URL of the running server as well."),
        ],
    )


def translate_command() -> click.Command:
    """Return the command whose arguments are another command."""
    return click.Command(
        "translate",
        callback=translate,
        help=translate.__doc__,
        params=[click.Argument(["words"], metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )


class VerbCommand(click.Command):
    """A click command whose --help lists the verbs of the control socket."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from fastserve.operations.ctl import help_of_verbs

        with formatter.section("Verbs"):
            formatter.write_dl(help_of_verbs())
        super().format_options(ctx, formatter)


def ctl(socket: str, verb: str, arguments: tuple[str, ...]) -> None:
    """Query or control a running server by its control socket (--control-socket).

    The exit code is 1 if the server refuses, 3 if nothing responds at the socket.
    """
    from fastserve.operations.client import Failed
    from fastserve.operations.ctl import carry_out
    from fastserve.operations.verbs import Wrong

    try:
        done, text = carry_out(socket, verb, arguments)
    except Wrong as exc:
        raise Refusal(str(exc)) from exc
    except Failed as exc:
        raise StartupFailure(str(exc)) from exc
    if not done:
        raise click.ClickException(text)
    click.echo(text)


def ctl_command() -> click.Command:
    return VerbCommand(
        "ctl",
        callback=ctl,
        help=ctl.__doc__,
        params=[
            click.Option(
                ["-s", "--socket"],
                envvar="FASTSERVE_CONTROL_SOCKET",
                show_envvar=True,
                required=True,
                metavar="PATH",
                help="The control socket of the server.",
            ),
            click.Argument(["verb"]),
            click.Argument(["arguments"], nargs=-1, metavar="[ARGUMENT]..."),
        ],
    )


def top(place: str, once: bool, as_json: bool, interval: float) -> None:
    """Watch a running server: rates, percentiles, a line for each worker, and the longest requests under way.

    PLACE is the path of its control socket (--control-socket), or the URL of its metrics (--metrics-bind), which do not
    show individual requests. Keys: q quits, space pauses, s changes the order, w shows the requests of another worker.
    """
    from fastserve.operations.client import Failed
    from fastserve.top import once as without_screen
    from fastserve.top.reader import Reader

    try:
        if once or as_json:
            without_screen.show(Reader(place), once, as_json, interval, click.echo)
            return
        from fastserve.top import live

        live.run(Reader(place), interval)
    except Failed as exc:
        raise StartupFailure(str(exc)) from exc
    except ImportError as exc:
        raise StartupFailure(
            f"the screen needs rich: pip install '{_version.requirement('top')}', or use --once"
        ) from exc
    except KeyboardInterrupt:
        pass


def top_command() -> click.Command:
    return click.Command(
        "top",
        callback=top,
        help=top.__doc__,
        params=[
            click.Argument(["place"], envvar="FASTSERVE_CONTROL_SOCKET"),
            click.Option(["--once"], is_flag=True, help="Print what is known after one interval, and exit."),
            click.Option(["--json", "as_json"], is_flag=True, help="Print a line of JSON each interval."),
            click.Option(
                ["--interval"],
                type=click.FloatRange(0.1, 3600),
                default=1.0,
                show_default=True,
                metavar="SECONDS",
                help="Time between two readings.",
            ),
        ],
    )


class Other(NamedTuple):
    """A command beside the one that serves, which is made when it is called."""

    made: Callable[[], click.Command]
    help: str


OTHERS: dict[str, Other] = {
    "ctl": Other(ctl_command, "Query or control a running server."),
    "doctor": Other(doctor_command, "Report what would go wrong with these options on this machine."),
    "top": Other(top_command, "Watch a running server."),
    "translate": Other(translate_command, "Print the command for one of uvicorn, gunicorn, hypercorn or granian."),
}


def file_options() -> list[click.Option]:
    """Return the options that say which file has further ones."""
    shared: dict[str, Any] = {"is_eager": True, "expose_value": False, "callback": read_config_file}
    return [
        click.Option(["--config"], envvar="FASTSERVE_CONFIG", metavar="FILE", help=CONFIG_HELP, **shared),
        click.Option(
            ["--no-config"], is_flag=True, envvar="FASTSERVE_NO_CONFIG", help="Read no file of options.", **shared
        ),
    ]


main = ServeCommand(
    "fastserve",
    callback=serve,
    help=serve.__doc__,
    params=[
        click.Argument(["app"], envvar=variables("FASTSERVE_APP")),
        *(parameter(option) for option in OPTIONS),
        *file_options(),
        click.Option(
            ["--print-config"],
            is_flag=True,
            help="Print the options as a file for --config, with the source of each value, and exit.",
        ),
        click.Option(
            ["--check-config"],
            is_flag=True,
            help="Check options and files, import the application, print OK or what is wrong, and exit.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=print_version,
            help="Display the fastserve version and exit.",
        ),
    ],
)
