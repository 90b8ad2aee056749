"""The rows, in the order of the table. Each has a control plane of its own, on a fresh folder."""

from benchmark.bench import Row
from benchmark.rows.crowd import measure_crowd, measure_delivery
from benchmark.rows.deep import measure_depth
from benchmark.rows.feed import measure_feed
from benchmark.rows.followers import measure_fan_out, measure_idle
from benchmark.rows.handlers import measure_handlers, measure_latency
from benchmark.rows.limits import measure_fair, measure_saturated
from benchmark.rows.output import measure_output
from benchmark.rows.restart import measure_restart
from benchmark.rows.sessions import measure_sessions
from benchmark.rows.stalled import measure_stalled
from benchmark.rows.storage import measure_storage
from benchmark.rows.submit import measure_bulk, measure_submit

ROWS = {
    row.name: row
    for row in (
        Row("submit", "durable SubmitJob by 64 callers", measure_submit),
        Row("bulk", "durable SubmitJobs, 500 jobs a call", measure_bulk),
        Row("handlers", "empty handler jobs on a worker with 512 slots", measure_handlers),
        Row("latency", "from submit to the handler's start, a call every 5 ms", measure_latency),
        Row("output", "from a worker through the store to one follower", measure_output),
        Row("stalled", "a follower that stops reading while much is produced", measure_stalled),
        Row("idle", "followers of a job on which nothing happens", measure_idle),
        Row("fanout", "1, 10 and 100 followers of one job", measure_fan_out),
        Row("crowd", "thousands of idle followers beside a busy job that many follow", measure_crowd),
        Row("delivery", "lines at a pace to many followers", measure_delivery),
        Row("storage", "bytes of the database for each event and each output", measure_storage),
        Row("feed", "the feed: live, from its beginning, through a filter, to 100 readers", measure_feed),
        Row("depth", "submit and dispatch with a deep queue against an empty one", measure_depth),
        Row("saturated", "dispatch beside a backlog that a limit holds", measure_saturated),
        Row("fair", "slots shared out among owners by weight", measure_fair),
        Row("sessions", "sessions that talk at once: how late words are, and what a session costs", measure_sessions),
        Row("restart", "kill -9 with jobs queued and running, and a start on the same data", measure_restart),
    )
}
