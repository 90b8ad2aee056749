"""`headrace serve`: reads the command line, runs the control plane, and turns signals into an orderly end."""

import os

# Before grpc is imported: nothing in here ever forks without exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# What goes wrong is said by this program, in words.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from pydantic import ValidationError

from headrace_server.app import App
from headrace_server.settings import Settings
from headrace_server.store.errors import DataInUse, ForeignData, StoreUnavailable

EXIT_UNUSABLE = 1
EXIT_USAGE = 2
EXIT_AT_ONCE = 130
RunAs = Annotated[
    str | None,
    typer.Option(metavar="USER", help="The user that Claude and commands run as; needs root.", show_default="your own"),
]

EPILOG = (
    "Options but --no-worker can be set by variables: HEADRACE_METRICS_LISTEN for --metrics, else HEADRACE_… with the"
    " option's name: HEADRACE_ALLOW_COMMAND=git,make. More settings have a variable alone: see the README."
    "\n\nThe first SIGTERM or SIGINT drains, a second one ends it at once."
    "\n\nExit status: 0 after an orderly stop, 1 can't start or a part of it failed, 2 wrong options, 130 after a"
    " second signal."
)


def serve(
    data: Annotated[
        Path | None, typer.Option(help="Folder of the database.", show_default="in your state folder")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(help="TCP address, loopback only; port 0 picks a free one.", show_default="127.0.0.1:7410"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Slots of the local worker, or the most of them.", show_default="4")
    ] = None,
    workers_min: Annotated[
        int | None,
        typer.Option(
            help="The fewest slots of the local worker; between both they follow the load.",
            show_default="as many as --workers",
        ),
    ] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Start no local worker.")] = False,
    allow_command: Annotated[
        list[str] | None, typer.Option(help="A program that the local worker may run. Repeatable.")
    ] = None,
    allow_root: Annotated[
        list[Path] | None, typer.Option(help="A folder inside which workspaces may lie. Repeatable.")
    ] = None,
    claude: Annotated[
        str | None,
        typer.Option(
            help="The local worker's Claude CLI: a path, `simulated`, or `none`.", show_default="`claude` on the PATH"
        ),
    ] = None,
    run_as: RunAs = None,
    handlers: Annotated[
        list[str] | None, typer.Option(help="A Python module whose handlers the local worker registers. Repeatable.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Show metrics to Prometheus on this HOST:PORT, loopback only.", show_default="none"),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
) -> None:
    """Run the control plane, and with it a local worker."""
    given: dict[str, Any] = {
        "data": data,
        "listen": listen,
        "workers": 0 if no_worker else workers,
        "workers_min": workers_min,
        "allow_command": tuple(allow_command) if allow_command else None,
        "allow_root": tuple(allow_root) if allow_root else None,
        "claude": claude,
        "run_as": run_as,
        "handlers": tuple(handlers) if handlers else None,
        "metrics_listen": metrics,
        "log_level": log_level,
    }
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0])
            said = _option(name) if given.get(name) is not None else _variable(name)
            typer.echo(f"headrace serve: {said}: {_what_is_wrong(one)}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    raise typer.Exit(uvloop.run(_run(settings)))


def _what_is_wrong(part: Any) -> str:
    if part["type"].startswith("byte_size"):
        return f"{part['input']!r} is not a size: write 512MiB, 2GiB"
    value = f", not {part['input']}" if part["type"].startswith(("greater_than", "less_than")) else ""
    return f"{part['msg'].removeprefix('Value error, ')}{value}"


def _option(name: str) -> str:
    return "--" + name.replace("metrics_listen", "metrics").replace("_", "-")


def _variable(name: str) -> str:
    return name if name.isupper() else f"HEADRACE_{name.upper()}"


async def _run(settings: Settings) -> int:
    app = App(settings)
    signals = _Signals(app)
    try:
        address = await app.start()
    except (DataInUse, ForeignData, StoreUnavailable, OSError) as error:
        of_folder = isinstance(error, OSError) and str(error.filename or "").startswith(str(settings.data))
        what = f"the data folder {settings.data} can't be used: " if of_folder else ""
        typer.echo(f"headrace serve: {what}{reason_of(error)}", err=True)
        return EXIT_UNUSABLE
    where = f"{address.host}:{address.port}"
    try:
        (settings.data / "address").write_text(f"{where}\n")
    except OSError as error:
        typer.echo(f"headrace serve: its address is not written down: {reason_of(error)}", err=True)
    typer.echo(f"headrace serves on {where} and unix:{address.socket}; data in {settings.data}")
    if address.metrics_port:
        host = settings.metrics_listen.rpartition(":")[0]
        typer.echo(f"metrics on http://{host}:{address.metrics_port}/metrics")
    failed = asyncio.ensure_future(app.wait_failed())
    await asyncio.wait((failed, signals.first), return_when=asyncio.FIRST_COMPLETED)
    broken = failed.done()
    failed.cancel()
    if not broken:
        typer.echo("headrace is draining; a second signal ends it at once", err=True)
    await app.stop()
    return EXIT_UNUSABLE if broken else 0


class _Signals:
    """The first SIGTERM or SIGINT begins an orderly end; the second ends the process at once."""

    def __init__(self, app: App) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[None] = loop.create_future()
        self._app = app
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        if not self.first.done():
            self.first.set_result(None)
            return
        self._app.abandon()
        # What was acknowledged is committed, so nothing is lost by not closing anything.
        os._exit(EXIT_AT_ONCE)


def reason_of(error: Exception) -> str:
    """Why it can't be started, without numbers that only programs understand."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def main() -> None:
    """Entry point of `python -m headrace_server`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=EPILOG)(serve)
    app(prog_name="headrace serve")


if __name__ == "__main__":
    main()
