"""X3 in the driver: what the CLI asks goes to a person, many at once, and nobody takes that wait for a stall."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e2e.control_plane import Gate
from headrace.v1 import input_pb2, outcome_pb2, task_pb2
from headrace_worker.executors.claude import asking, control
from headrace_worker.executors.claude.permission import DENIED_BY_PERSON, input_request, permission, shown_json
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from headrace_worker.limits import INPUT_JSON_BYTES_MAX
from worker.conftest import QUICK

Run = Callable[..., tuple[Outcome, Any]]
ASK = task_pb2.PERMISSION_PROMPTS_ASK
WRITE = {"name": "Write", "input": {"file_path": "a.txt", "content": "x"}}
IMPATIENT = replace(QUICK, start=5.0, first_token=0.3, streaming=0.3, tool=0.3, after_tool=0.3)

ASKING = """
def ask(request_id, tool="Write", **fields):
    request = {"subtype": "can_use_tool", "tool_name": tool, "tool_use_id": "t-" + request_id, **fields}
    say(type="control_request", request_id=request_id, request=request)
def call(*names):
    say(type="assistant", message={"id": "m", "model": "m-1", "content":
        [{"type": "tool_use", "id": "t-" + name, "name": "Write", "input": {}} for name in names]})
started(); init()
"""


def scripted(*steps: dict[str, Any]) -> str:
    return f"please SIMULATE<<{json.dumps(steps)}>>"


def text_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result.claude.text


async def until_asked(attempt: Any, *names: str) -> None:
    """Waits until the requests of these ids are open; without ids, until one is."""
    await attempt.wait_output(lambda a: set(names) <= set(a.asked) and bool(a.asked))


def answering(**said: Any) -> Callable[[Any], Any]:
    """Answers the first question."""

    async def answer(attempt: Any) -> None:
        await until_asked(attempt)
        (request_id,) = attempt.asked
        attempt.answers[request_id].set_result(input_pb2.InputAnswer(request_id=request_id, **said))

    return answer


def test_x3_a_permission_is_asked_for_and_the_tool_runs_when_it_is_allowed(run_claude: Run) -> None:
    outcome, attempt = run_claude(
        scripted({"tools": [WRITE]}, {"text": "done"}), meanwhile=answering(allow=True), permission_prompts=ASK
    )
    assert text_of(outcome) == "done"
    (request,) = attempt.asked.values()
    assert (request.kind, request.tool_name) == (input_pb2.INPUT_KIND_PERMISSION, "Write")
    assert json.loads(request.input_json) == WRITE["input"]
    result = next(frame.user.blocks[0].tool_result for frame in attempt.frames() if frame.HasField("user"))
    assert (result.is_error, "created" in result.text) == (False, True)


def test_x3_a_denial_reaches_the_model_and_the_turn_goes_on(run_claude: Run) -> None:
    outcome, attempt = run_claude(
        scripted({"tools": [WRITE]}, {"text": "not done"}),
        meanwhile=answering(message="not here"),
        permission_prompts=ASK,
    )
    assert text_of(outcome) == "not done"
    result = next(frame.user.blocks[0].tool_result for frame in attempt.frames() if frame.HasField("user"))
    assert (result.is_error, result.text) == (True, "not here")


def test_x3_a_person_who_ends_the_turn_with_a_denial_ends_the_job(run_claude: Run) -> None:
    outcome, _ = run_claude(
        scripted({"tools": [WRITE]}, {"text": "never said"}),
        meanwhile=answering(message="stop it", interrupt=True),
        permission_prompts=ASK,
    )
    assert isinstance(outcome, Failed)
    assert outcome.failure.failure_class == outcome_pb2.FAILURE_CLASS_CANCELLED
    assert (outcome.failure.message, outcome.failure.sign) == ("a person ended the turn: stop it", "answer.interrupt")


def test_x3_a_wait_for_a_person_is_no_stall(run_claude: Run) -> None:
    """Every phase may be silent for 0.3 s here; the answer comes after the CLI was silent for twice as long."""

    async def late(attempt: Any) -> None:
        await until_asked(attempt, "q")
        await attempt.wait_output(lambda a: sum(f.HasField("system") for f in a.frames()) >= 2)
        attempt.answers["q"].set_result(input_pb2.InputAnswer(allow=True))

    script = ASKING + 'call("q"); ask("q")\n' + 'for _ in range(2): time.sleep(0.6); say(type="system", subtype="x")\n'
    script += "hear(); result()\n"
    outcome, _ = run_claude(script=script, meanwhile=late, permission_prompts=ASK, seconds=IMPATIENT)
    assert text_of(outcome) == "fine"


def test_x3_after_the_answer_the_watchdogs_watch_again(run_claude: Run) -> None:
    script = ASKING + 'call("q"); ask("q"); hear(); time.sleep(60)\n'
    outcome, _ = run_claude(script=script, meanwhile=answering(allow=True), permission_prompts=ASK, seconds=IMPATIENT)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.failure_class, outcome.failure.sign) == (
        *(outcome_pb2.FAILURE_CLASS_STALL, "watchdog=tool"),
    )


def test_x3_several_are_open_at_once_and_each_gets_its_own_answer(run_claude: Run) -> None:
    async def backwards(attempt: Any) -> None:
        await until_asked(attempt, "a", "b", "c")
        for name in "cab":
            attempt.answers[name].set_result(input_pb2.InputAnswer(allow=name != "b", message=name))

    script = ASKING + 'call(*"abc")\nfor name in "abc": ask(name, input={"of": name})\n'
    script += "answers = [hear()['response'] for _ in range(3)]\n"
    script += "result(json.dumps({one['request_id']: one['response'] for one in answers}))\n"
    outcome, attempt = run_claude(script=script, meanwhile=backwards, permission_prompts=ASK)
    assert json.loads(text_of(outcome)) == {
        "a": {"behavior": "allow", "updatedInput": {"of": "a"}},
        "b": {"behavior": "deny", "message": "b"},
        "c": {"behavior": "allow", "updatedInput": {"of": "c"}},
    }
    assert [json.loads(attempt.asked[name].input_json) for name in "abc"] == [{"of": "a"}, {"of": "b"}, {"of": "c"}]


def test_x3_what_the_cli_takes_back_gets_no_answer(run_claude: Run, tmp_path: Path) -> None:
    asked = Gate(tmp_path / "asked")

    async def too_late(attempt: Any) -> None:
        await until_asked(attempt, "a", "b")
        await asyncio.to_thread(asked.open)
        await attempt.wait_output(lambda a: a.withdrawn == ["a"])
        attempt.answers["b"].set_result(input_pb2.InputAnswer(allow=True))

    script = ASKING + f'ask("a"); ask("b"); open({str(asked.path)!r}).read()\n'
    script += "say(type='control_cancel_request', request_id='a')\n"
    script += "result(json.dumps(hear()['response']['request_id']))\n"
    outcome, attempt = run_claude(script=script, meanwhile=too_late, permission_prompts=ASK)
    assert (text_of(outcome), attempt.withdrawn) == ('"b"', ["a"])


@pytest.mark.parametrize("kill", [False, True])
def test_c1_a_stop_takes_open_questions_back(run_claude: Run, kill: bool) -> None:
    async def stop(attempt: Any) -> None:
        await until_asked(attempt)
        attempt.stop(kill=kill)

    outcome, attempt = run_claude(scripted({"tools": [WRITE]}), meanwhile=stop, permission_prompts=ASK)
    assert isinstance(outcome, Cancelled)
    assert attempt.withdrawn == list(attempt.asked)


def test_x3_a_cli_that_dies_while_it_asks_leaves_no_question_open(run_claude: Run, tmp_path: Path) -> None:
    asked = Gate(tmp_path / "asked")

    async def let_it_die(attempt: Any) -> None:
        await until_asked(attempt, "q")
        await asyncio.to_thread(asked.open)

    script = ASKING + f'ask("q"); open({str(asked.path)!r}).read(); os._exit(3)\n'
    outcome, attempt = run_claude(script=script, meanwhile=let_it_die, permission_prompts=ASK)
    assert isinstance(outcome, Failed)
    assert attempt.withdrawn == ["q"]


def test_x3_the_call_comes_into_the_log_before_its_question(run_claude: Run) -> None:
    """What was emitted when the question was asked."""
    before: list[list[str | None]] = []

    async def look(attempt: Any) -> None:
        await until_asked(attempt, "q")
        before.append([frame.WhichOneof("kind") for frame in attempt.frames()])
        attempt.answers["q"].set_result(input_pb2.InputAnswer(allow=True))

    run_claude(script=ASKING + 'call("q"); ask("q"); hear(); result()\n', meanwhile=look, permission_prompts=ASK)
    assert before == [["init", "assistant", "control"]]


def test_x3_a_person_does_not_wait_behind_output_that_is_held_back(run_claude: Run) -> None:
    async def held(attempt: Any) -> None:
        attempt.room.clear()
        await until_asked(attempt, "q")
        assert attempt.frames() == []
        attempt.room.set()
        attempt.answers["q"].set_result(input_pb2.InputAnswer(allow=True))

    outcome, _ = run_claude(
        script=ASKING + 'call("q"); ask("q"); hear(); result()\n', meanwhile=held, permission_prompts=ASK
    )
    assert text_of(outcome) == "fine"


def test_x3_without_ask_many_are_denied_at_once(run_claude: Run) -> None:
    script = ASKING + 'for name in "abc": ask(name)\n'
    script += "result(json.dumps([hear()['response']['response']['behavior'] for _ in range(3)]))\n"
    outcome, attempt = run_claude(script=script)
    assert (json.loads(text_of(outcome)), attempt.asked) == (["deny"] * 3, {})


@pytest.mark.parametrize(("prompts", "asked"), [(ASK, 3), (task_pb2.PERMISSION_PROMPTS_UNSPECIFIED, 0)])
def test_x3_what_is_asked_beyond_what_may_wait_is_denied_at_once(
    run_claude: Run, monkeypatch: pytest.MonkeyPatch, prompts: task_pb2.PermissionPrompts, asked: int
) -> None:
    monkeypatch.setattr(asking, "ASKED_COUNT_MAX", 3)

    async def answer(attempt: Any) -> None:
        if not asked:
            return
        await until_asked(attempt, "0", "1", "2")
        for name in "012":
            attempt.answers[name].set_result(input_pb2.InputAnswer(allow=True))

    script = ASKING + "for number in range(8): ask(str(number))\n"
    script += "answers = [hear()['response'] for _ in range(8)]\n"
    script += "result(json.dumps({one['request_id']: one['response'] for one in answers}))\n"
    outcome, attempt = run_claude(script=script, meanwhile=answer, permission_prompts=prompts)
    answers = json.loads(text_of(outcome))
    assert (len(answers), len(attempt.asked)) == (8, asked)
    assert [name for name, one in answers.items() if one["behavior"] == "allow"] == list("012"[:asked])
    if asked:
        assert answers["7"]["message"] == "3 requests wait already. Wait for their answers first."


def test_x3_requests_that_are_too_large_together_are_denied(run_claude: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ASKED_BYTES_MAX", 10_000)

    async def answer(attempt: Any) -> None:
        await until_asked(attempt, "a")
        await attempt.wait_output(lambda a: len(a.frames()) == 3)
        attempt.answers["a"].set_result(input_pb2.InputAnswer(allow=True))

    script = ASKING + "for name in 'ab': ask(name, input={'x': 'x' * 20_000})\nfirst = hear()['response']\n"
    script += "hear()\nask('c', input={})\nthird = hear()['response']\n"
    script += "result(json.dumps([first, third['request_id']]))\n"

    async def answer_each(attempt: Any) -> None:
        await answer(attempt)
        await until_asked(attempt, "c")
        attempt.answers["c"].set_result(input_pb2.InputAnswer(allow=True))

    outcome, attempt = run_claude(script=script, meanwhile=answer_each, permission_prompts=ASK)
    first, third = json.loads(text_of(outcome))
    assert (first["request_id"], first["response"]["behavior"], third) == ("b", "deny", "c")
    assert "more than 10000 bytes" in first["response"]["message"]
    assert sorted(attempt.asked) == ["a", "c"]


def test_x3_an_id_that_is_open_already_is_not_asked_under_again(run_claude: Run) -> None:
    async def answer(attempt: Any) -> None:
        await until_asked(attempt, "a")
        await attempt.wait_output(lambda a: len(a.frames()) == 3)
        attempt.answers["a"].set_result(input_pb2.InputAnswer(allow=True))

    script = ASKING + "ask('a'); ask('a')\nanswers = [hear()['response']['response']['behavior'] for _ in range(2)]\n"
    outcome, attempt = run_claude(
        script=script + "result(json.dumps(answers))\n", meanwhile=answer, permission_prompts=ASK
    )
    assert (json.loads(text_of(outcome)), list(attempt.asked)) == (["deny", "allow"], ["a"])


def test_e4_a_cli_that_asks_and_takes_no_answers_is_ended(run_claude: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "STDIN_LANE_BYTES_MAX", 100_000)
    script = ASKING + "for number in range(5000): ask(str(number))\ntime.sleep(60)\n"
    outcome, _ = run_claude(script=script)
    assert isinstance(outcome, Failed)
    found = outcome.failure
    assert (found.failure_class, found.sign) == (outcome_pb2.FAILURE_CLASS_RESOURCE, "stdin")
    assert found.message.startswith("the CLI asks and takes no answers")


QUESTIONS = {"questions": [{"question": "Which?"}, {"question": "How many?"}]}


@pytest.mark.parametrize(
    ("said", "updated"),
    [
        (
            input_pb2.InputAnswer(allow=True, message="blue"),
            {**QUESTIONS, "answers": {"Which?": "blue", "How many?": "blue"}},
        ),
        (
            input_pb2.InputAnswer(allow=True, updated_input_json='{"answers": {"Which?": "red"}}'),
            {**QUESTIONS, "answers": {"Which?": "red"}},
        ),
    ],
)
def test_x3_answers_to_a_question_stand_beside_it(said: input_pb2.InputAnswer, updated: dict[str, Any]) -> None:
    request = {"tool_name": "AskUserQuestion", "input": QUESTIONS}
    assert input_request("q", request).kind == input_pb2.INPUT_KIND_QUESTION
    assert permission(request, said) == {"behavior": "allow", "updatedInput": updated}


def test_x3_another_input_takes_the_place_of_the_whole_one() -> None:
    request = {"tool_name": "Write", "input": {"file_path": "a", "content": "b"}}
    changed = input_pb2.InputAnswer(allow=True, updated_input_json='{"file_path": "c"}')
    assert permission(request, changed)["updatedInput"] == {"file_path": "c"}
    assert permission(request, input_pb2.InputAnswer(allow=True))["updatedInput"] == request["input"]


def test_x3_a_denial_always_says_something() -> None:
    assert permission({}, input_pb2.InputAnswer()) == {"behavior": "deny", "message": DENIED_BY_PERSON}
    ended = permission({}, input_pb2.InputAnswer(message="no", interrupt=True))
    assert ended == {"behavior": "deny", "message": "no", "interrupt": True}


@pytest.mark.parametrize(
    "value",
    [
        {"content": "é" * INPUT_JSON_BYTES_MAX, "file_path": "a.txt"},
        {"edits": [{"old": "x" * 5000, "new": "y" * 5000} for _ in range(100)], "file_path": "a.txt"},
    ],
)
def test_x3_what_a_person_is_shown_is_bounded_and_still_json(value: dict[str, Any]) -> None:
    shown = shown_json(value)
    assert len(shown.encode()) <= INPUT_JSON_BYTES_MAX
    assert json.loads(shown)["file_path"] == "a.txt"
    assert "cut:" in shown


def test_x3_an_input_of_many_small_parts_is_left_to_the_log() -> None:
    shown = shown_json({"list": list(range(INPUT_JSON_BYTES_MAX))})
    assert "the frame of the request in the log has it all" in json.loads(shown)["cut"]


def test_x3_the_tool_runs_with_its_whole_input_however_large_that_is(run_claude: Run) -> None:
    size = 5 * 1024 * 1024
    script = ASKING + f'ask("q", input={{"content": "x" * {size}}})\n'
    script += "answer = hear()['response']['response']\nresult(str(len(answer['updatedInput']['content'])))\n"
    outcome, attempt = run_claude(script=script, meanwhile=answering(allow=True), permission_prompts=ASK)
    assert text_of(outcome) == str(size)
    assert len(attempt.asked["q"].input_json.encode()) <= INPUT_JSON_BYTES_MAX
