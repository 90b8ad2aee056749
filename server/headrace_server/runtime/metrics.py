"""What operators watch: one set of instruments, for every exporter. Names and units follow OpenTelemetry's conventions.

What commits tell is added up here in batches; the rest is what `runtime.health` sees when it looks. Instruments only
read that, on whatever thread their exporter has, so nothing on the way of a job ever waits for one.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from headrace_server.core.alerts import Alert
from headrace_server.core.failures import FailureClass
from headrace_server.core.health import Sample, WorkerCounts
from headrace_server.core.ids import SECOND
from headrace_server.core.job import InputResolution, Usage
from headrace_server.core.states import JobState
from headrace_server.store.effects import Effects, Measure
from headrace_server.store.records.health import OTHERS, Counted

LAGS_COUNT = 10
"""Looks of which the longest lag is shown: exporters come by less often than looks."""
QUEUES_COUNT_MAX = 200
"""Queues with labels of their own; what happens in others is counted together."""

ANSWERS = frozenset({InputResolution.ALLOWED, InputResolution.DENIED})
"""What a person did."""
JOB_SECONDS_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0)
COMMIT_SECONDS_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

NAMESPACE = "headrace.namespace"
QUEUE = "headrace.queue"
JOB_STATE = "headrace.job.state"
FAILURE_CLASS = "headrace.failure.class"
WORKER_STATE = "headrace.worker.state"
ALERT = "headrace.alert"
TOKEN_KIND = "headrace.token.kind"
SESSION_STATE = "headrace.session.state"
RESOLUTION = "headrace.input.resolution"

Labels = tuple[str, ...]
Read = Callable[[], Iterable[Observation]]


class Distribution:
    """How many times are at most how long."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        """Upper bounds in seconds, included."""
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.longest = 0.0
        self.shortest = float("inf")

    def add(self, seconds: float, count: int = 1) -> None:
        """Adds a time."""
        self.counts[bisect_left(self.bounds, seconds)] += count
        self.sum += seconds * count
        self.longest = max(self.longest, seconds)
        self.shortest = min(self.shortest, seconds)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Distributions of one kind of time, by their attributes."""

    name: str
    description: str
    bounds: Sequence[float]
    series: dict[Labels, Distribution] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    """Names of what `series` goes by."""

    def add(self, labels: Labels, seconds: float, count: int = 1) -> None:
        """Adds a time."""
        one = self.series.get(labels)
        if one is None:
            one = self.series[labels] = Distribution(self.bounds)
        one.add(seconds, count)


@dataclass(frozen=True, slots=True)
class Look:
    """What was there when the server was last looked at."""

    sample: Sample = field(default_factory=Sample)
    jobs: Mapping[Labels, int] = field(default_factory=dict)
    """By namespace, queue and state."""
    sessions: Mapping[Labels, int] = field(default_factory=dict)
    """By state."""
    inputs: Mapping[Labels, int] = field(default_factory=dict)
    """What is asked of people, by namespace and queue."""
    input_ages: Mapping[Labels, float] = field(default_factory=dict)
    """For how many seconds the oldest of them has been asked."""
    alerts: Mapping[Labels, int] = field(default_factory=dict)
    """One for each that stands, by name."""
    lag_seconds: float = 0.0
    """The longest of the last looks."""


class Metrics:
    """The instruments of one control plane process."""

    def __init__(self, meter: Meter) -> None:
        self._queues: dict[tuple[str, str], tuple[str, str]] = {}
        self._counts: dict[Measure, Counter[Labels]] = {
            measure: Counter() for measure in Measure if measure is not Measure.ATTEMPT_ENDED
        }
        self._tokens: Counter[Labels] = Counter()
        self._cost_micros: Counter[Labels] = Counter()
        self._model_calls: Counter[Labels] = Counter()
        self._tool_calls: Counter[Labels] = Counter()
        self._resolved: Counter[Labels] = Counter()
        queue = (NAMESPACE, QUEUE)
        self._waits = Histogram(
            "headrace.job.wait.duration",
            "From when a job could have started to its first start",
            JOB_SECONDS_BOUNDS,
            attributes=queue,
        )
        self._runs = Histogram(
            "headrace.attempt.duration",
            "From the start to the end of an attempt",
            JOB_SECONDS_BOUNDS,
            attributes=queue,
        )
        self._first_tokens = Histogram(
            "headrace.claude.time_to_first_token",
            "From when the CLI was given a message until the model's first word",
            JOB_SECONDS_BOUNDS,
            attributes=queue,
        )
        self._answers = Histogram(
            "headrace.input.answer.duration",
            "From when a person was asked until somebody answered",
            JOB_SECONDS_BOUNDS,
            attributes=queue,
        )
        self._commits = Histogram(
            "headrace.commit.duration", "From the begin of a transaction until it is durable", COMMIT_SECONDS_BOUNDS
        )
        self._look = Look()
        self._lags: deque[float] = deque(maxlen=LAGS_COUNT)
        self._make_counters(meter)
        self._make_gauges(meter)

    @property
    def histograms(self) -> Sequence[Histogram]:
        """Distributions that are added up here: an instrument would cost more than what it measures."""
        return (self._waits, self._runs, self._first_tokens, self._answers, self._commits)

    def committed(self, effects: Effects) -> None:
        """Adds up what a transaction told."""
        self._commits.add((), effects.commit_seconds)
        for (measure, namespace, queue, value), count in Counter(effects.measured).items():
            labels = self._labels(namespace, queue)
            if measure is Measure.ATTEMPT_ENDED:
                self._runs.add(labels, value / SECOND, count)
                continue
            if measure is Measure.STARTED and value >= 0:
                self._waits.add(labels, value / SECOND, count)
            self._counts[measure][(*labels, *_named(measure, value))] += count
        for namespace, queue, micros in effects.first_tokens:
            self._first_tokens.add(self._labels(namespace, queue), micros / SECOND)
        for namespace, queue, used in effects.used:
            self._use(self._labels(namespace, queue), used)
        for resolved in effects.resolved:
            labels = self._labels(resolved.namespace, resolved.queue)
            self._resolved[(*labels, resolved.resolution.name)] += 1
            if resolved.resolution in ANSWERS:
                self._answers.add(labels, resolved.waited / SECOND)

    def _use(self, labels: tuple[str, str], used: Usage) -> None:
        for kind, tokens in (
            ("input", used.input_tokens),
            ("output", used.output_tokens),
            ("cache_creation", used.cache_creation_tokens),
            ("cache_read", used.cache_read_tokens),
        ):
            if tokens:
                self._tokens[(*labels, kind)] += tokens
        self._cost_micros[labels] += used.cost_usd_micros
        self._model_calls[labels] += used.turns
        self._tool_calls[labels] += used.tool_calls

    def looked(self, sample: Sample, counted: Counted, alerts: Sequence[Alert]) -> None:
        """Takes note of what a look at the server saw."""
        by_queue: Counter[Labels] = Counter()
        for namespace, queue, state, count in counted.jobs:
            by_queue[(*self._labels(namespace, queue), state.name)] += count
        # Where nothing waits any more, that is shown.
        inputs: Counter[Labels] = Counter(dict.fromkeys(self._look.inputs, 0))
        ages = dict.fromkeys(inputs, 0.0)
        for one in counted.inputs:
            labels = self._labels(one.namespace, one.queue)
            inputs[labels] += one.count
            ages[labels] = max(ages.get(labels, 0.0), (sample.time - one.oldest) / SECOND)
        self._lags.append(sample.lag_seconds)
        self._look = Look(
            sample=sample,
            jobs=by_queue,
            sessions={(state.name,): count for state, count in counted.sessions.items()},
            inputs=inputs,
            input_ages=ages,
            alerts={(alert.name.value,): 1 for alert in alerts},
            lag_seconds=max(self._lags),
        )

    def _labels(self, namespace: str, queue: str) -> tuple[str, str]:
        name = (namespace, queue)
        known = self._queues.get(name)
        if known is not None:
            return known
        if len(self._queues) >= QUEUES_COUNT_MAX:
            return OTHERS
        self._queues[name] = name
        return name

    def _make_counters(self, meter: Meter) -> None:
        queue = (NAMESPACE, QUEUE)
        for measure, name, unit, description, attributes in (
            (Measure.SUBMITTED, "headrace.job.submitted", "{job}", "Jobs accepted", queue),
            (Measure.STARTED, "headrace.attempt.started", "{attempt}", "Attempts started", queue),
            (Measure.ENDED, "headrace.job.ended", "{job}", "Jobs ended, by state", (*queue, JOB_STATE)),
            (
                Measure.ATTEMPT_FAILED,
                "headrace.attempt.failed",
                "{attempt}",
                "Attempts failed, by class",
                (*queue, FAILURE_CLASS),
            ),
        ):
            read = _reader(self._counts[measure], attributes)
            meter.create_observable_counter(name, [read], unit, description)
        for name, unit, description, counts, attributes in (
            ("headrace.claude.tokens", "{token}", "Tokens used, by kind", self._tokens, (*queue, TOKEN_KIND)),
            ("headrace.claude.cost", "{micro_usd}", "Cost in millionths of a US dollar", self._cost_micros, queue),
            ("headrace.claude.model_calls", "{call}", "Calls of the model", self._model_calls, queue),
            ("headrace.claude.tool_calls", "{call}", "Calls of tools", self._tool_calls, queue),
            (
                "headrace.input.resolved",
                "{request}",
                "Requests to people that are over, by resolution",
                self._resolved,
                (*queue, RESOLUTION),
            ),
        ):
            meter.create_observable_counter(name, [_reader(counts, attributes)], unit, description)

    def _make_gauges(self, meter: Meter) -> None:
        def gauge(name: str, unit: str, description: str, read: Read) -> None:
            meter.create_observable_up_down_counter(name, [lambda options: read()], unit, description)

        def plain(name: str, unit: str, description: str, of: Callable[[Sample], float]) -> None:
            gauge(name, unit, description, lambda: [Observation(of(self._look.sample))])

        sessions, processes = "Sessions by state", "Memory of the processes of sessions on this node's workers"
        gauge("headrace.sessions", "{session}", sessions, lambda: _observed(self._look.sessions, (SESSION_STATE,)))
        plain(
            "headrace.session.processes", "{process}", "Processes of sessions", lambda sample: sample.session_processes
        )
        plain("headrace.session.memory", "By", processes, lambda sample: sample.session_memory_bytes)
        by_job = (NAMESPACE, QUEUE, JOB_STATE)
        gauge("headrace.jobs", "{job}", "Jobs by state", lambda: _observed(self._look.jobs, by_job))
        by_queue = (NAMESPACE, QUEUE)
        asked = "Requests that wait for a person"
        gauge("headrace.inputs", "{request}", asked, lambda: _observed(self._look.inputs, by_queue))
        meter.create_observable_gauge(
            "headrace.input.age",
            [lambda options: _observed(self._look.input_ages, by_queue)],
            "s",
            "How long the oldest request that waits for a person has waited",
        )
        workers = "Workers by state"
        gauge("headrace.workers", "{worker}", workers, lambda: _by_state(self._look.sample.workers))
        alerts = "Alerts that stand, by name"
        gauge("headrace.alerts", "{alert}", alerts, lambda: _observed(self._look.alerts, (ALERT,)))
        plain("headrace.slots", "{slot}", "Slots of this node's workers", lambda sample: sample.slots)
        plain("headrace.slots.used", "{slot}", "Slots that attempts take", lambda sample: sample.slots_used)
        plain(
            "headrace.attempts", "{attempt}", "Attempts that this node's workers have", lambda sample: sample.attempts
        )
        plain("headrace.followers", "{stream}", "Open streams that follow a job", lambda sample: sample.followers)
        plain("headrace.commit.waiting", "{write}", "Writes not answered yet", lambda sample: sample.waiting_writes)
        plain("process.memory.usage", "By", "Physical memory of the process", lambda sample: sample.memory_bytes)
        meter.create_observable_gauge(
            "headrace.event_loop.lag",
            [lambda options: [Observation(self._look.lag_seconds)]],
            "s",
            "The longest that the event loop was late in the last seconds",
        )


def _named(measure: Measure, value: int) -> Labels:
    if measure is Measure.ENDED:
        return (JobState(value).name,)
    return (FailureClass(value).name,) if measure is Measure.ATTEMPT_FAILED else ()


def _by_state(workers: WorkerCounts) -> list[Observation]:
    counts = {
        "READY": workers.ready,
        "DRAINING": workers.draining,
        "DISCONNECTED": workers.disconnected,
        "LOST": workers.lost,
    }
    return [Observation(count, {WORKER_STATE: state}) for state, count in counts.items()]


def _reader(counts: Mapping[Labels, float], attributes: Labels) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: _observed(counts, attributes)


def _observed(counts: Mapping[Labels, float], attributes: Labels) -> Iterator[Observation]:
    # A copy is made in one step of the interpreter; the event loop goes on counting meanwhile.
    copy: dict[Any, float] = dict(counts)
    for labels, count in copy.items():
        yield Observation(count, dict(zip(attributes, labels, strict=True)))
