"""`headrace work`: the options, their help, and what the end of a worker means to a shell."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvloop
from pydantic import ValidationError

from headrace_worker.agent import EndCause, Ending
from headrace_worker.app import SetupFailed, clear_away, composed, data_folder
from headrace_worker.local_lock import LocalLock, LockTaken
from headrace_worker.settings import Settings
from headrace_worker.signals import ending_by_signal

USAGE_STATUS = 2
LOCKED_STATUS = 5
STATUSES = {EndCause.DRAINED: 0, EndCause.ABORTED: 1, EndCause.DISMISSED: 3, EndCause.LEASE_ENDED: 4}

EPILOG = (
    "Every option can be set by a variable HEADRACE_WORKER_… with its name: HEADRACE_WORKER_ALLOW_COMMAND=git,make."
    "\n\nThe first SIGTERM or SIGINT drains: no new work, running work gets --drain-seconds, then goes back to the"
    " queue. A second one ends it at once.\n\nExit status: 0 drained, 1 ended at once, 2 wrong options, 3 not taken by"
    " the server, 4 lost its control plane (with --lock), 5 lock or data folder taken."
)

RunAs = Annotated[
    str | None,
    typer.Option(
        metavar="USER",
        help="The user that Claude and commands run as; the worker has to be root.",
        show_default="the worker's own",
    ),
]
Profile = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE", help="Variables that Claude jobs may name, e.g. another credential. Repeatable."),
]

AllowCommand = Annotated[
    list[str] | None,
    typer.Option(metavar="PROGRAM", help="A program that command jobs may run, by name or absolute path. Repeatable."),
]
AllowRoot = Annotated[
    list[Path] | None,
    typer.Option(metavar="FOLDER", help="A folder inside which a job's workspace may lie. Repeatable."),
]
SessionsMax = Annotated[
    int | None,
    typer.Option(metavar="COUNT", help="Sessions whose process is kept between turns, 1 to 1000.", show_default="16"),
]

app = typer.Typer(name="headrace work", add_completion=False, rich_markup_mode=None)
logger = logging.getLogger("headrace_worker")


@app.command(epilog=EPILOG)
def work(
    server: Annotated[
        str | None, typer.Option(help="The control plane: HOST:PORT or unix:PATH.", show_default="localhost:7410")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Attempts that run at once.", show_default="4")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What jobs may ask for in a worker. Repeatable.")
    ] = None,
    allow_command: AllowCommand = None,
    allow_root: AllowRoot = None,
    claude: Annotated[
        str | None,
        typer.Option(metavar="PATH|simulated|none", help="The Claude CLI.", show_default="`claude` on the PATH"),
    ] = None,
    claude_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="A config folder that all Claude jobs share.", show_default="one for each job"
        ),
    ] = None,
    run_as: RunAs = None,
    profile: Profile = None,
    sessions_max: SessionsMax = None,
    handlers: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE[:NAME]", help="A Python module whose Worker brings handlers. Repeatable."),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The worker's name, which no other has.", show_default="the host's"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Workspaces and spools.", show_default="in the user's state folder, by name"
        ),
    ] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="How long running work may go on after the first signal.", show_default="10")
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Serve one control plane only: hold this lock, and exit when the lease has ended."
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.", show_default="info")
    ] = None,
) -> None:
    """Runs jobs: connects to a control plane, offers slots, and runs what it is given."""
    given = {name: value for name, value in locals().items() if value is not None and value != []}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        fail(USAGE_STATUS, *(complaint(part, given) for part in error.errors()))
    logging.basicConfig(stream=sys.stderr, level=settings.log_level.upper(), format="headrace work: %(message)s")
    leave(run(settings))


def run(settings: Settings) -> int:
    """Works until the end; returns the exit status."""
    locks: list[LocalLock] = []
    data = data_folder(settings)
    try:
        for path in (settings.lock, data / "lock"):
            if path is not None:
                locks.append(LocalLock(path))
        clear_away(data)
        return uvloop.run(serve(settings))
    except LockTaken as error:
        fail(LOCKED_STATUS, str(error))
    except SetupFailed as error:
        fail(USAGE_STATUS, str(error))
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        of_folder = str(error.filename or "").startswith(str(data))
        fail(USAGE_STATUS, f"the data folder {data} can't be used: {what}" if of_folder else what)
    finally:
        for lock in locks:
            lock.close()


async def serve(settings: Settings) -> int:
    """Puts the worker together and runs it."""
    with composed(settings, os.environ) as (agent, identity):
        kinds = ", ".join(identity.capabilities.executors) or "nothing: see --allow-command, --claude and --handlers"
        whose = f" as {settings.run_as}" if settings.run_as else ""
        logger.info("worker %s, %d slots, runs %s%s", identity.worker_id, identity.slots, kinds, whose)
        with ending_by_signal(agent):
            ending = await agent.run()
    return STATUSES[tell(ending).cause]


def tell(ending: Ending) -> Ending:
    """Says why the worker ended."""
    if ending.cause is EndCause.DISMISSED:
        logger.error("%s. Give each worker an --id of its own.", ending.message.rstrip("."))
    elif ending.cause is not EndCause.DRAINED:
        logger.warning("ended: %s", ending.message or ending.cause.value)
    else:
        logger.info("drained")
    return ending


def complaint(part: Any, options: Mapping[str, object]) -> str:
    """One wrong setting, in one line: the option or variable that says it, and the value that is out of bounds."""
    if not part["loc"]:
        return str(part["msg"]).removeprefix("Value error, ")
    name = str(part["loc"][0])
    name = "--" + name.replace("_", "-") if name in options else f"HEADRACE_WORKER_{name.upper()}"
    if part["type"].startswith("byte_size"):
        return f"{name}: {part['input']!r} is not a size: write 512MiB, 2GiB"
    value = f", not {part['input']}" if part["type"].startswith(("greater_than", "less_than")) else ""
    return f"{name}: {part['msg'].removeprefix('Value error, ')}{value}"


def fail(status: int, *lines: str) -> NoReturn:
    """Says what is wrong and ends."""
    for line in lines:
        print(f"headrace work: {line}", file=sys.stderr)
    raise typer.Exit(status)


def leave(status: int) -> None:
    """Ends the process even while a handler's thread does not return: nobody can end a thread."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
