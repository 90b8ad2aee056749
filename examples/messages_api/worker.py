"""The handler `ask`: one call of the Anthropic Messages API, its text streamed into the job's output.

Its input is `{"prompt": TEXT, "model"?: NAME, "system"?: TEXT, "max_tokens"?: NUMBER}`. Key and address come from the
worker's environment: ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL. `python -m messages_api.worker [DATA]` is a worker with it.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import Message

from headrace.worker import HandlerContext, HandlerFailure, InvalidInput, Worker
from messages_api.failures import API_ERRORS, failure_of

MODEL = "claude-haiku-4-5"
OUTPUT_TOKENS_MAX = 1024
CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")

worker = Worker(slots=16)


@worker.handler("ask")
async def ask(input: dict[str, Any], context: HandlerContext) -> dict[str, Any]:
    """Asks the model, and returns its words and what they cost. Trying again is left to the job's retry policy."""
    request = request_of(input)
    if not any(os.environ.get(name) for name in CREDENTIALS):
        raise HandlerFailure("the worker has no ANTHROPIC_API_KEY", "AUTH", sign="environment")
    async with AsyncAnthropic(max_retries=0) as client:
        try:
            async with client.messages.stream(**request) as stream:
                async for text in stream.text_stream:
                    await context.write(text)
                message = await stream.get_final_message()
        except API_ERRORS as error:
            raise failure_of(error) from error
    if message.stop_reason is None:
        raise HandlerFailure("the Messages API's stream ended in the middle of the message", "NETWORK", sign="stream")
    context.add_usage(
        turns=1,
        input_tokens=message.usage.input_tokens,
        output_tokens=message.usage.output_tokens,
        cache_creation_tokens=message.usage.cache_creation_input_tokens or 0,
        cache_read_tokens=message.usage.cache_read_input_tokens or 0,
    )
    return answer_of(message)


def request_of(input: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments. Raises InvalidInput."""
    prompt = input.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidInput("`prompt` has to be a text", sign="prompt")
    request = {
        "model": input.get("model", MODEL),
        "max_tokens": input.get("max_tokens", OUTPUT_TOKENS_MAX),
        "messages": [{"role": "user", "content": prompt}],
    }
    return {**request, "system": input["system"]} if "system" in input else request


def answer_of(message: Message) -> dict[str, Any]:
    """What the job returns."""
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "model": message.model,
        "stop_reason": message.stop_reason,
        "usage": {"input_tokens": message.usage.input_tokens, "output_tokens": message.usage.output_tokens},
    }


def main() -> None:
    """Works until it is ended."""
    logging.basicConfig(level=logging.INFO)
    worker.server = os.environ.get("HEADRACE_SERVER", worker.server)
    if len(sys.argv) > 1:
        worker.data = Path(sys.argv[1])
    worker.run()


if __name__ == "__main__":
    main()
