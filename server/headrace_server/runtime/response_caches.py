"""What workers tell of the answers that they keep, as metrics (X7): what they keep now, and sums of what they counted.

A worker counts from its start, and workers come and go; here only what a worker adds counts, so sums never fall.
"""

from collections import OrderedDict
from collections.abc import Callable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from headrace.v1 import worker_pb2
from headrace_server.runtime.registry import Registry
from headrace_server.store.attempts.leases import Holder

WORKERS_COUNT_MAX = 10_000
"""Of which is known what they had counted; of others that come back, what they count from then on."""

_COUNTERS = {
    "hits": ("{job}", "Jobs that got a kept answer"),
    "misses": ("{job}", "Jobs that looked for one and found none"),
    "shared": ("{job}", "Of the hits, jobs that waited for another one which asked the same"),
    "stores": ("{answer}", "Answers that were kept"),
    "evictions": ("{answer}", "Answers that were removed to make room for others"),
}
_GAUGES = {
    "entries": ("{answer}", "Answers that this node's workers keep"),
    "size_bytes": ("By", "What these take on their disks"),
}


class ResponseCaches:
    """The instruments of one control plane process; it looks when it is told to."""

    def __init__(self, registry: Registry, meter: Meter) -> None:
        self._registry = registry
        self._last: OrderedDict[Holder, worker_pb2.ResponseCacheState] = OrderedDict()
        """The one that was seen last is the last one."""
        self._counted = dict.fromkeys(_COUNTERS, 0)
        self._kept = dict.fromkeys(_GAUGES, 0)
        for name, (unit, description) in _COUNTERS.items():
            read = _reader(self._counted, name)
            meter.create_observable_counter(f"headrace.response_cache.{name}", [read], unit, description)
        for name, (unit, description) in _GAUGES.items():
            read = _reader(self._kept, name)
            instrument = f"headrace.response_cache.{name.removesuffix('_bytes')}"
            meter.create_observable_up_down_counter(instrument, [read], unit, description)

    def look(self) -> None:
        """Adds up what workers have told since the last look."""
        kept = dict.fromkeys(_GAUGES, 0)
        for lane in self._registry.lanes():
            state = lane.response_cache
            if state is None:
                continue
            for name in _GAUGES:
                kept[name] += getattr(state, name)
            # Of one that is seen for the first time nobody knows what was counted before this process began.
            before = self._last.pop(lane.holder, state)
            self._last[lane.holder] = state
            for name in _COUNTERS:
                self._counted[name] += max(0, getattr(state, name) - getattr(before, name))
        self._kept.update(kept)
        while len(self._last) > WORKERS_COUNT_MAX:
            self._last.popitem(last=False)


def _reader(values: dict[str, int], name: str) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(values[name])]
