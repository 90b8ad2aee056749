"""The entry point: puts the parts together, handles signals, and turns the end into an exit code.

Run as `python -m headrace_worker.simulator`. It is the only place that reads the environment.
"""

import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace_worker.simulator import script, signals, transcript
from headrace_worker.simulator.conversation import Conversation
from headrace_worker.simulator.flags import Options, UsageError, parse
from headrace_worker.simulator.frames import VERSION, Frames
from headrace_worker.simulator.host import Host, Switches
from headrace_worker.simulator.ledger import Ledger
from headrace_worker.simulator.output import Output
from headrace_worker.simulator.script import ScriptError, ScriptFile
from headrace_worker.simulator.session import Session, TurnEndError
from headrace_worker.simulator.timing import Ids, Timing
from headrace_worker.simulator.tools import Children, Tools, Workspace
from headrace_worker.simulator.transcript import Transcript

_TERMINATED = 143
_USAGE = "Usage: claude [options] [prompt]\n\nThe simulated Claude CLI of Headrace; its README describes its scripts.\n"


class ConversationMissingError(Exception):
    """`--resume` named a session that is not on this disk."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        options = parse(arguments, is_root=os.geteuid() == 0 and environment.get("IS_SANDBOX") != "1")
        script_file = _script_file(environment)
    except (UsageError, ScriptError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    if options.version or options.help:
        sys.stdout.write(f"{VERSION} (Claude Code simulator)\n" if options.version else _USAGE)
        return 0
    output = Output()
    code = _run(options, script_file, output, environment)
    output.drain()
    return code


def _run(options: Options, script_file: ScriptFile, output: Output, environment: Mapping[str, str]) -> int:
    bypass = options.permission_mode == "bypassPermissions"
    switches = Switches(options.permission_mode, options.model, may_bypass=bypass)
    children = Children()
    try:
        session = _session(options, environment, output, switches, children)
    except UsageError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except ConversationMissingError as problem:
        return _refuse_resume(options, output, str(problem))
    conversation = Conversation(session, script_file)
    _handle_signals(session, children)
    try:
        conversation.play_start()
        return _converse(conversation, options, session.host)
    except ScriptError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1


def _converse(conversation: Conversation, options: Options, host: Host) -> int:
    if options.input_format == "stream-json":
        host.start()
        return conversation.run_stream()
    prompt = options.prompt or sys.stdin.read().strip()
    if not prompt:
        sys.stderr.write("Error: Input must be provided either through stdin or as a prompt argument\n")
        return 1
    return conversation.run_prompt(prompt)


def _session(
    options: Options,
    environment: Mapping[str, str],
    output: Output,
    switches: Switches,
    children: Children,
) -> Session:
    folder = os.getcwd()
    session_id, kept = _open_transcript(options, environment, folder)
    memory = kept.recall()
    seed = environment.get("HEADRACE_SIMULATOR_SEED") or options.prompt or ""
    ids = Ids(f"{seed}|{session_id}|{memory.lines}")
    own_frames = Frames(session_id, folder, Ids(f"{seed}|{session_id}|{memory.lines}|host"))
    host = Host(output, switches, own_frames, memory.messages)
    timing = Timing(_pace(environment), host.wait_interrupt)
    workspace = Workspace(Path(folder), tuple(Path(other) for other in options.add_dirs))
    return Session(
        options=options,
        environment=environment,
        switches=switches,
        output=output,
        host=host,
        timing=timing,
        ids=ids,
        frames=Frames(session_id, folder, ids),
        ledger=Ledger.carrying(dict(memory.totals or {})),
        transcript=kept,
        tools=Tools(workspace, children, timing),
        scripted=memory.scripted,
        answers=memory.answers,
        context_characters=memory.characters,
    )


def _open_transcript(options: Options, environment: Mapping[str, str], folder: str) -> tuple[str, Transcript]:
    """The session's id and file. A new id is random even under a seed: two sessions must never share a file."""
    projects = transcript.projects_folder(environment)
    new_id = options.session_id or str(uuid.uuid4())
    new = Transcript(transcript.path_for(projects, folder, new_id) if options.persist else None)
    if options.resume is None:
        if options.session_id and transcript.find(projects, folder, options.session_id):
            raise UsageError(f"Error: Session ID {options.session_id} is already in use.")
        return new_id, new
    past = transcript.find(projects, folder, options.resume)
    if past is None:
        raise ConversationMissingError(f"No conversation found with session ID: {options.resume}")
    if not options.fork_session:
        return options.resume, Transcript(past)
    Transcript(past).copy_to(new, new_id)
    return new_id, new


def _refuse_resume(options: Options, output: Output, message: str) -> int:
    """A resume of nothing: one result, before anything is read."""
    if options.output_format == "text":
        sys.stderr.write(f"{message}\n")
        return 1
    end = TurnEndError("error_during_execution", "", errors=[message])
    del end.fields["terminal_reason"]
    result = {
        "type": "result",
        **end.fields,
        "duration_ms": 0,
        "duration_api_ms": 0,
        "num_turns": 0,
        "stop_reason": None,
        "session_id": options.resume,
        "usage": {"input_tokens": 0, "output_tokens": 0},
        "permission_denials": [],
        "uuid": str(uuid.uuid4()),
        **Ledger.carrying({}).close_result(),
    }
    output.send(result)
    return 1


def _handle_signals(session: Session, children: Children) -> None:
    def terminate() -> None:
        """As the real program: 143, or 0 with the rest lost when nobody reads."""
        children.end_all()
        os._exit(_TERMINATED if session.output.drain(0.2) else 0)

    signals.watch({signal.SIGTERM: terminate, signal.SIGINT: session.host.stop})
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _pace(environment: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(environment.get("HEADRACE_SIMULATOR_PACE", "1")))
    except ValueError:
        raise UsageError("Error: HEADRACE_SIMULATOR_PACE is not a number.") from None


def _script_file(environment: Mapping[str, str]) -> ScriptFile:
    path = environment.get("HEADRACE_SIMULATOR_SCRIPT")
    return script.from_file(Path(path)) if path else ScriptFile()


if __name__ == "__main__":
    code = main(sys.argv[1:], dict(os.environ))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
