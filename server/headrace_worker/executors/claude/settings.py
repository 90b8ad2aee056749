"""Changes how a running CLI goes on: its model and its permission mode, by control requests."""

import asyncio
import logging

from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.control import ControlRefused
from headrace_worker.executors.claude.launch import PERMISSION_MODES
from headrace_worker.executors.contract import Attempt
from headrace_worker.executors.limits import SETTING_SECONDS

logger = logging.getLogger(__name__)


async def change(cli: Cli, model: str, permission_mode: str) -> None:
    """Gives the CLI another model, or another permission mode, or both; empty leaves it.

    Raises ControlRefused, also when it does not answer in time.
    """
    try:
        async with asyncio.timeout(SETTING_SECONDS):
            if model and model != cli.model:
                await cli.control.request("set_model", model=model)
                cli.model = model
            if permission_mode and permission_mode != cli.permission_mode:
                await cli.control.request("set_permission_mode", mode=permission_mode)
                cli.permission_mode = permission_mode
    except TimeoutError:
        raise ControlRefused(f"the CLI did not answer within {SETTING_SECONDS:g} s") from None


async def obey_settings(attempt: Attempt, cli: Cli) -> None:
    """Carries out the changes that come during a turn."""
    while True:
        wanted = await attempt.next_settings()
        settings = wanted.settings
        mode = PERMISSION_MODES[settings.permission_mode] if settings.permission_mode else ""
        try:
            await change(cli, settings.model, mode)
        except ControlRefused as refused:
            logger.info("the CLI refused a change of settings", extra={"fault": str(refused)})
            wanted.refuse(str(refused))
        else:
            wanted.done()
