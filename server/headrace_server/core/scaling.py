"""Scaling: how many slots a worker gets, from what waits, what runs and what memory is left (Q9).

Up is quick and by doubling, down is slow and by halving: down only to the peak of at least the last cool-down, so a
load that comes and goes within it moves nothing. A shrunk pool ends nothing; it takes no more work until it is below
its slots. Times are readings of one steady clock.
"""

from dataclasses import dataclass, replace

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """Between which bounds, and how fast."""

    slots_min: int
    slots_max: int
    up_seconds: float
    """Between two changes of which the second one grows, or shrinks for want of memory."""
    down_seconds: float
    """No shrinking for want of work within so long after a change, nor after the last time that the work was there."""
    slot_memory_bytes: int
    """What one slot is taken to need at least; zero leaves memory out."""

    def __post_init__(self) -> None:
        assert 1 <= self.slots_min <= self.slots_max
        assert self.up_seconds <= self.down_seconds


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker has to do, and on what."""

    queued: int
    """Slots that jobs ask for which wait and could run on it; past the most that it can have, the count may be cut."""
    used: int
    """Slots that it holds."""
    memory_available_bytes: int | None = None
    """Free on its host; None when it did not say."""
    memory_used_bytes: int = 0
    """What the slots in use hold, as far as is known."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The slots as they were decided last, and what the next decision has to know."""

    slots: int
    changed: float
    window_began: float
    peak: int = 0
    """The most slots that were wanted in the window that began then, …"""
    peak_before: int = 0
    """… and in the one before it."""
    squeezed: bool = False
    """The last change was for want of memory: growing again takes the long cool-down."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The slots from now on; `reason` is empty when they stay as they were."""

    scale: Scale
    reason: str = ""


def first_scale(policy: ScalingPolicy, now: float) -> Scale:
    """A pool that nothing is known of has the least slots, and may grow at once."""
    return Scale(policy.slots_min, now - policy.up_seconds, now)


def decide(policy: ScalingPolicy, scale: Scale, load: Load, now: float) -> Decision:
    """The slots that a worker is to have."""
    wanted = _within(policy, load.used + load.queued)
    noted = _note(policy, scale, wanted, now)
    since = now - scale.changed
    slots = scale.slots
    if since >= policy.up_seconds:
        fits = _memory_slots(policy, load, reserve=0)
        if fits is not None and fits < slots:
            fewer = max(fits, slots // 2, policy.slots_min)
            return _changed(noted, fewer, now, f"memory: {_memory(policy, load)}", squeezed=True)
        if wanted > slots and (since >= policy.down_seconds or not scale.squeezed):
            return _grow(policy, noted, load, wanted, now)
    peak = max(noted.peak, noted.peak_before)
    if peak < slots and since >= policy.down_seconds:
        reason = f"at most {peak} were wanted in the last {policy.down_seconds:g} s"
        return _changed(noted, max(peak, slots // 2), now, reason)
    return Decision(noted)


def slot_bytes(policy: ScalingPolicy, load: Load) -> int:
    """What one more slot is taken to need: what those in use hold on average, and never less than the setting."""
    if policy.slot_memory_bytes == 0:
        return 0
    return max(policy.slot_memory_bytes, load.memory_used_bytes // load.used if load.used else 0)


def _grow(policy: ScalingPolicy, scale: Scale, load: Load, wanted: int, now: float) -> Decision:
    # One slot's memory more than is needed has to be free: at the edge it neither grows nor shrinks.
    fits = _memory_slots(policy, load, reserve=1)
    slots = min(wanted, scale.slots * 2)
    reason = f"{load.queued} more are wanted" if load.queued else f"{load.used} are in use"
    if fits is not None and fits < slots:
        slots, reason = fits, f"{reason}; memory: {_memory(policy, load)}"
    return _changed(scale, slots, now, reason) if slots > scale.slots else Decision(scale)


def _changed(scale: Scale, slots: int, now: float, why: str, *, squeezed: bool = False) -> Decision:
    if slots == scale.slots:
        return Decision(scale)
    changed = replace(scale, slots=slots, changed=now, squeezed=squeezed)
    return Decision(changed, f"from {scale.slots} to {slots} slots: {why}")


def _note(policy: ScalingPolicy, scale: Scale, wanted: int, now: float) -> Scale:
    if now - scale.window_began < policy.down_seconds:
        return replace(scale, peak=max(scale.peak, wanted)) if wanted > scale.peak else scale
    # What was wanted last has been wanted until now, however long nobody looked.
    return replace(scale, window_began=now, peak=wanted, peak_before=scale.peak)


def _memory_slots(policy: ScalingPolicy, load: Load, reserve: int) -> int | None:
    """The slots that memory allows, with that of some kept back; None when it says nothing."""
    if load.memory_available_bytes is None or policy.slot_memory_bytes == 0:
        return None
    more = load.memory_available_bytes // slot_bytes(policy, load) - reserve
    return _within(policy, load.used + max(0, more))


def _memory(policy: ScalingPolicy, load: Load) -> str:
    available = (load.memory_available_bytes or 0) / GIB
    return f"{available:.1f} GiB are free, a slot takes {slot_bytes(policy, load) / GIB:.2f} GiB"


def _within(policy: ScalingPolicy, slots: int) -> int:
    return max(policy.slots_min, min(policy.slots_max, slots))
