"""Output: appended once, in order, without holes, up to the job's cap, byte by byte as it came."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.v1 import event_pb2
from headrace_server.core.job import Progress
from headrace_server.core.states import JobState
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.outputs import Appended
from headrace_server.store.codec import produced_of
from headrace_server.store.records.log_pages import read_page
from store.driving import Bench, chunk, claude_spec, frame


def outputs(bench: Bench, lease: Lease) -> list[event_pb2.Output]:
    return [event.output for event in bench.events(lease.job_id) if event.HasField("output")]


def data(bench: Bench, lease: Lease) -> bytes:
    return b"".join(output.chunk.data for output in outputs(bench, lease))


def test_e5_output_names_attempt_epoch_and_producer_sequence(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, chunk(1))
    event = bench.events(lease.job_id)[-1]
    assert (event.attempt, event.epoch, event.output.producer_sequence, event.position) == (1, 1, 1, 0)


def test_e5_a_resend_is_deduplicated(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, chunk(1, b"a"), chunk(2, b"b"))
    again = bench.append(lease, chunk(1, b"a"), chunk(2, b"b"), chunk(3, b"c"))
    assert again == Appended(committed=3, stale=False, sequence=bench.job(lease.job_id).sequence)
    assert data(bench, lease) == b"abc"


def test_e5_nothing_is_taken_after_a_hole(bench: Bench) -> None:
    lease = bench.running()
    assert bench.append(lease, chunk(1, b"a"), chunk(3, b"c"), chunk(2, b"b")).committed == 1
    assert bench.append(lease, chunk(2, b"b"), chunk(3, b"c")).committed == 3
    assert data(bench, lease) == b"abc"


def test_e5_output_of_a_fenced_attempt_is_never_appended(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, chunk(1, b"a"))
    bench.lose()
    fresh = bench.assign(lease.job_id)
    assert bench.append(lease, chunk(2, b"b")) == Appended(0, stale=True)
    assert bench.append(fresh, chunk(1, b"A")).committed == 1
    assert data(bench, lease) == b"aA"


def test_output_implies_the_start(bench: Bench) -> None:
    (job,) = bench.submit()
    bench.append(bench.assign(job.id), chunk(1))
    assert bench.kinds(job.id)[2:] == ["attempt_started", "output"]


def test_e6_output_past_the_cap_is_dropped_with_one_event_and_the_job_goes_on(bench: Bench) -> None:
    lease = bench.running(output_bytes_max=5)
    assert bench.append(lease, chunk(1, b"abc"), chunk(2, b"defg"), chunk(3, b"hijk")).committed == 3
    job = bench.job(lease.job_id)
    assert (job.truncated, job.output_bytes, job.producer_sequence) == (True, 3, 3)
    assert bench.kinds(job.id)[3:] == ["output", "output_truncated"]
    bench.finish(lease, outputs=3)
    assert bench.job(lease.job_id).state is JobState.SUCCEEDED


def test_e6_nothing_that_would_fit_is_kept_after_the_cut(bench: Bench) -> None:
    lease = bench.running(output_bytes_max=5)
    bench.append(lease, chunk(1, b"abc"), chunk(2, b"defg"), chunk(3, b"h"))
    bench.append(lease, chunk(4, b"i"))
    assert data(bench, lease) == b"abc"


def test_e6_output_up_to_the_cap_is_kept(bench: Bench) -> None:
    lease = bench.running(output_bytes_max=5)
    bench.append(lease, chunk(1, b"abc"), chunk(2, b"de"))
    assert (data(bench, lease), bench.job(lease.job_id).truncated) == (b"abcde", False)


def test_e6_the_cap_is_the_jobs_and_not_the_attempts(bench: Bench) -> None:
    lease = bench.running(output_bytes_max=5)
    bench.append(lease, chunk(1, b"abc"))
    bench.lose()
    fresh = bench.assign(lease.job_id)
    bench.append(fresh, chunk(1, b"def"), chunk(2, b"g"))
    assert data(bench, lease) == b"abc"
    assert bench.kinds(lease.job_id).count("output_truncated") == 1


def test_e6_progress_and_usage_go_on_after_the_cut(bench: Bench) -> None:
    lease = bench.running(output_bytes_max=0)
    progress = event_pb2.Output(producer_sequence=2, progress={"done": 1, "total": 2, "message": "half"})
    bench.append(lease, chunk(1), progress)
    assert bench.job(lease.job_id).progress == Progress(1, 2, "half")


def test_r6_an_attempt_is_dirty_even_when_the_output_that_says_so_is_dropped(bench: Bench) -> None:
    lease = bench.running(claude_spec(), output_bytes_max=3)
    bench.append(lease, frame(1, "one"), frame(2, "two"), frame(3, "two", dirty=True), frame(4, "two", dirty=True))
    job = bench.job(lease.job_id)
    assert (job.dirty, job.claude_session, job.output_bytes, job.producer_sequence) == (True, "two", 2, 4)
    assert [len(output.claude.raw_json) for output in outputs(bench, lease)] == [2, 0, 0]
    bench.lose()
    assert bench.job(lease.job_id).holder == "w1"


def test_e6_bytes_are_kept_exactly(bench: Bench) -> None:
    lease = bench.running()
    pieces = [b"\x1b[31m", "ä".encode()[:1], "ä".encode()[1:], bytes(range(256)), b"\r\n\0"]
    bench.append(lease, *(chunk(n, piece) for n, piece in enumerate(pieces, start=1)))
    assert data(bench, lease) == b"".join(pieces)
    assert [output.chunk.data for output in outputs(bench, lease)] == pieces


def test_e1_a_page_ends_before_it_is_too_large_and_a_larger_event_is_a_page_of_its_own(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, chunk(1, b"x" * 5000), chunk(2, b"y" * 10), chunk(3, b"z" * 10))
    bench.finish(lease, outputs=3)
    row, after, pages = bench.job(lease.job_id).row, 0, []
    while True:
        page = bench.read(read_page, row, after, 300, 100)
        pages.append([event_pb2.Event.FromString(body).sequence for body in page.events])
        after = page.last_sequence
        if page.ended:
            break
    assert [sequence for page_ in pages for sequence in page_] == list(range(1, 8))
    assert [4] in pages


def test_e1_pages_bounded_by_number_are_the_whole_log(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, *(chunk(n) for n in range(1, 20)))
    row, after, read = bench.job(lease.job_id).row, 0, 0
    while (page := bench.read(read_page, row, after, 1 << 20, 4)).events:
        assert len(page.events) <= 4
        assert not page.ended
        read += len(page.events)
        after = page.last_sequence
    assert (after, read) == (22, 22)


@given(st.binary(max_size=200), st.booleans(), st.integers(1, 2**62))
def test_what_is_stored_is_what_the_worker_sent(body: bytes, dirty: bool, sequence: int) -> None:
    output = chunk(sequence, body, dirty=dirty)
    assert event_pb2.Output.FromString(produced_of(output).body) == output


Sends = st.lists(st.lists(st.integers(1, 12), max_size=6), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(Sends)
def test_e5_however_it_is_resent_the_log_has_each_piece_once_in_order(bench: Bench, sends: list[list[int]]) -> None:
    lease = bench.running()
    for send in sends:
        bench.append(lease, *(chunk(n, b"%d," % n) for n in send))
    last = bench.job(lease.job_id).producer_sequence
    assert data(bench, lease) == b"".join(b"%d," % n for n in range(1, last + 1))
    bench.finish(lease, outputs=last)


def test_e3_a_report_waits_for_the_output_before_it(bench: Bench) -> None:
    lease = bench.running()
    step = event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_INTERRUPT)
    assert bench.report(lease, report_number=1, after_producer_sequence=1, step=step) == 0
    assert "cancel_stepped" not in bench.kinds(lease.job_id)
    bench.append(lease, chunk(1))
    assert bench.report(lease, report_number=1, after_producer_sequence=1, step=step) == 1
    assert bench.kinds(lease.job_id)[-1] == "cancel_stepped"
