"""What an attempt is told waits in its inbox, is told again until acknowledged, and ends with the attempt (X3)."""

from headrace.v1 import input_pb2, task_pb2, worker_service_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.store.attempts.commands import tell_answer, tell_settings
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.effects import Command
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import list_audit
from store.driving import HOME, NAMESPACE, Bench, OpenStore, claude_spec

MODEL = worker_service_pb2.SettingsCommand(model="haiku", permission_mode=task_pb2.PERMISSION_MODE_PLAN)
OTHER = Holder("w2", "i1")


def asking(bench: Bench) -> Lease:
    """An attempt that has asked something, as every one has that is told something."""
    lease = bench.running(claude_spec())
    ask(bench, lease)
    return lease


def tell(bench: Bench, lease: Lease, name: str = "q") -> None:
    """Has an attempt told something. Who asks and answers is held by test_inputs."""

    def verb(ledger: Ledger) -> None:
        job = ledger.job(lease.job_id)
        assert job is not None
        tell_answer(ledger, job, input_pb2.InputAnswer(request_id=name))

    bench.write(verb)


def ask(bench: Bench, lease: Lease, number: int = 1) -> None:
    request = input_pb2.InputRequest(request_id=f"q{number}")
    bench.report(lease, report_number=number, input_requested=request)


def settings(bench: Bench, lease: Lease) -> None:
    def verb(ledger: Ledger) -> None:
        job = ledger.job(lease.job_id)
        assert job is not None
        tell_settings(ledger, job, MODEL)

    bench.write(verb)


def renewed(bench: Bench, holder: Holder = HOME) -> list[int]:
    """Numbers of the commands that a renewal brings."""
    return [command.number for command in bench.hear(holder, counter=1).commands]


def rows(bench: Bench) -> int:
    with bench.engine.reading() as connection:
        return int(connection.rows("SELECT count(*) FROM commands")[0][0])


def test_a_command_is_told_at_once_and_again_until_it_is_acknowledged(bench: Bench) -> None:
    lease = asking(bench)
    tell(bench, lease)
    (command,) = bench.effects[-1].commands
    job = bench.job(lease.job_id)
    assert command[:5] == (HOME.worker, lease.job_id, job.epoch, job.attempt, 1)
    assert bench.hear(counter=1).commands == (command,)
    assert bench.hear(counter=2).commands == (command,)
    assert bench.hear(starts=[lease]).commands == ()
    bench.hear(command_acks=[(lease, 1, "")])
    assert renewed(bench) == []


def test_commands_are_numbered_within_the_attempt_and_come_in_order(bench: Bench) -> None:
    lease = asking(bench)
    for name in "abc":
        tell(bench, lease, name)
    bench.hear(command_acks=[(lease, 2, "")])
    assert renewed(bench) == [1, 3]
    bench.hear(command_acks=[(lease, 3, "")])
    tell(bench, lease, "d")
    assert renewed(bench) == [1, 4]


def test_a_worker_that_comes_back_is_told_what_it_has_not_acknowledged(reopen: OpenStore) -> None:
    bench = reopen()
    bench.welcome(HOME)
    lease = asking(bench)
    tell(bench, lease)
    tell(bench, lease, "r")
    bench.hear(command_acks=[(lease, 1, "")])
    bench = reopen()
    welcomed = bench.welcome(HOME, lease, reattach=True)
    assert [command.number for command in welcomed.commands] == [2]


def test_nobody_but_the_holder_of_the_lease_is_told_or_may_acknowledge(bench: Bench) -> None:
    lease = asking(bench)
    tell(bench, lease)
    assert renewed(bench, OTHER) == []
    bench.hear(OTHER, command_acks=[(lease, 1, "")])
    assert renewed(bench) == [1]


def test_the_inbox_ends_with_the_attempt_and_the_next_one_begins_anew(bench: Bench) -> None:
    lease = asking(bench)
    tell(bench, lease)
    bench.lose()
    assert rows(bench) == 0
    again = bench.assign(lease.job_id)
    assert renewed(bench) == []
    ask(bench, again)
    tell(bench, again)
    assert renewed(bench) == [1]
    bench.hear(command_acks=[(lease, 1, "")])
    assert renewed(bench) == [1]
    bench.fail(again, FailureClass.INVALID, reports=1)
    assert rows(bench) == 0


def test_settings_that_can_not_be_changed_are_seen_in_the_audit_log(bench: Bench) -> None:
    lease = asking(bench)
    settings(bench, lease)
    (command,) = bench.effects[-1].commands
    assert said(command).settings == MODEL
    for _ in range(2):
        bench.hear(command_acks=[(lease, 1, "there is no model haiku")])
    (entry,) = bench.read(list_audit, NAMESPACE, "job", "", 0, 10)
    assert entry.actor == f"worker:{HOME.worker}"
    assert entry.detail == "the settings were not changed: there is no model haiku"


def test_an_answer_that_came_too_late_for_the_cli_is_nobodys_fault(bench: Bench) -> None:
    lease = asking(bench)
    tell(bench, lease)
    bench.hear(command_acks=[(lease, 1, "nothing waits for this answer any more")])
    assert bench.read(list_audit, NAMESPACE, "job", "", 0, 10) == []
    assert renewed(bench) == []


def said(command: Command) -> worker_service_pb2.AttemptCommand:
    return worker_service_pb2.AttemptCommand.FromString(command.body)
