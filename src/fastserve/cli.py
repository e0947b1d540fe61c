"""The command `fastserve`, made from the table of options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fastserve import _version
from fastserve._version import VERSION
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
        return [text for text in rv.split(self.kind.separator) if text]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a text; any other type has been converted already."""
        if not isinstance(value, str):
            return value
        try:
            return self.kind.parsed(value)
        except (TypeError, ValueError) as exc:
            self.fail(f"{exc}.", param, ctx)


class StartupFailure(click.ClickException):
    """The command cannot start, and logging is not set up: one line, exit code 3."""

    exit_code = 3


class Refusal(click.ClickException):
    """Options that can be parsed but not used, or not together: one line, exit code 2."""

    exit_code = 2


class Command(click.Command):
    """A click command whose --help lists the options by group."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as the command line of this process: see click."""
        frozen.divert()  # multiprocessing's own arguments are not for this command
        return super().main(*args, **extra)

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
    return click.Option([name, option.param], **attributes)


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import platform

        python = f"{platform.python_implementation()} {platform.python_version()}"
        click.echo(f"Running fastserve {VERSION} with {python} on {platform.system()}")
        ctx.exit()


def serve(app: str, **options: Any) -> None:
    """Serve APP, an application given as <module>:<attribute>.

    Each option can also be given by the environment: --root-path as FASTSERVE_ROOT_PATH, for instance, --header as
    FASTSERVE_HEADERS with spaces between headers, APP as FASTSERVE_APP. The command line has precedence.
    """
    from fastserve.config import ConfigError
    from fastserve.main import run

    # An option that was not given is None, or an empty tuple: Config has its default.
    given = {param: value for param, value in options.items() if value not in (None, ())}
    try:
        run(app, **given)
    except OptionError as exc:
        raise Refusal(str(exc)) from exc
    except ConfigError as exc:
        raise StartupFailure(str(exc)) from exc


main = Command(
    "fastserve",
    callback=serve,
    help=serve.__doc__,
    params=[
        click.Argument(["app"], envvar=variables("FASTSERVE_APP")),
        *(parameter(option) for option in OPTIONS),
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
