// node drive.mjs SCENARIO, with ADDRESS, FOLDERS (a JSON list, where .proto files are) and INPUT (JSON) in the environment.
// Does what one test wants and prints what it saw, a line of JSON each. It judges nothing: the test does.

import { writeFile } from "node:fs/promises";
import { Headrace, fromValue, toStruct } from "./headrace.mjs";

const headrace = new Headrace(process.env.ADDRESS, JSON.parse(process.env.FOLDERS));
const input = JSON.parse(process.env.INPUT);
const { jobs, queues, events } = headrace;

function say(what) {
  process.stdout.write(`${JSON.stringify(what, plain)}\n`);
}

// Bytes as base64, as in the JSON form of protobuf.
function plain(key, value) {
  return value?.type === "Buffer" ? Buffer.from(value.data).toString("base64") : value;
}

async function submit(spec, requestId = "") {
  const answer = await headrace.call(jobs, "submitJob", { requestId, spec });
  say({ submitted: answer });
  return answer.job.id;
}

async function refused(promise) {
  try {
    say({ accepted: await promise });
  } catch (error) {
    say({ refused: headrace.explain(error) });
  }
}

const isOutput = (message) => message.batch?.events.some((event) => event.kind === "output");
const isStart = (message) => message.batch?.events.some((event) => event.kind === "attemptStarted");

// Prints every message of a stream, up to and with the first one that `last` accepts; its cursor.
async function show(stream, last = () => false) {
  let cursor = "";
  for await (const message of stream) {
    say(message);
    cursor = message.cursor;
    if (last(message)) break;
  }
  return cursor;
}

const watch = (request) => headrace.stream(jobs, "watchJob", request);
const feed = (request) => headrace.stream(events, "watchEvents", { scope: "FEED_SCOPE_NAMESPACE", ...request });

const scenarios = {
  async submit() {
    const jobId = await submit(input.spec, input.requestId);
    await submit(input.spec, input.requestId);
    await refused(headrace.call(jobs, "submitJob", { requestId: input.requestId, spec: { ...input.spec, priority: 1 } }));
    await show(watch({ jobId }));
    await submit(input.spec, input.requestId);
  },

  async claude() {
    const jobId = await submit(input.spec);
    await show(watch({ jobId, deltas: true }));
  },

  // A function of a worker, with its input and its result as JSON.
  async handler() {
    const jobId = await submit({ handler: { name: input.name, input: toStruct(input.value) } });
    for await (const { end } of watch({ jobId })) if (end) say({ value: fromValue(end.job.result.handler.value) });
    const { job } = await headrace.call(jobs, "getJob", { jobId });
    say({ stored: fromValue({ kind: "structValue", structValue: job.spec.handler.input }) });
  },

  // The job waits at a gate, which is opened after the first watch was left.
  async resume() {
    const jobId = await submit(input.spec);
    const cursor = await show(watch({ jobId }), isOutput);
    say({ left: cursor });
    await writeFile(input.gate, "");
    await show(watch({ jobId, cursor }));
    say({ again: jobId });
    await show(watch({ jobId }));
  },

  async cancel() {
    const jobId = await submit(input.spec);
    const cursor = await show(watch({ jobId }), isStart);
    say({ cancelled: await headrace.call(jobs, "cancelJob", { jobId, reason: "enough" }) });
    await show(watch({ jobId, cursor }));
    say({ cancelled: await headrace.call(jobs, "cancelJob", { jobId }) });
  },

  async errors() {
    await refused(headrace.call(jobs, "submitJob", { spec: input.badSpec }));
    await refused(headrace.call(jobs, "getJob", { jobId: input.missing }));
    await refused(show(watch({ jobId: input.missing })));
  },

  async queue() {
    const { queue } = await headrace.call(queues, "createQueue", { queue: input.queue });
    say({ queue });
    await refused(headrace.call(queues, "createQueue", { queue: input.queue }));
    const { name } = queue;
    say(await headrace.call(queues, "pauseQueue", { name, reason: "first look" }));
    const first = await submit({ ...input.spec, queue: name });
    const second = await submit({ ...input.spec, queue: name });
    await refused(headrace.call(jobs, "submitJob", { spec: { ...input.spec, queue: name } }));
    say({ explained: await headrace.call(jobs, "explainJob", { jobId: second }) });
    say(await headrace.call(queues, "resumeQueue", { name }));
    for (const jobId of [first, second]) await show(watch({ jobId, withoutOutput: true }));
  },

  // The feed of one queue: live until the first job has ended, then left, and resumed up to now when the second has.
  async feed() {
    const filter = `queue = "${input.queue.name}"`;
    await headrace.call(queues, "createQueue", { queue: input.queue });
    const spec = { ...input.spec, queue: input.queue.name };
    const ended = (message) => message.batch?.events.some(({ event }) => event.kind === "succeeded");
    await submit(spec);
    const cursor = await show(feed({ filter, fromBeginning: true }), ended);
    const jobId = await submit(spec);
    for await (const message of watch({ jobId, withoutOutput: true })) if (message.kind === "end") break;
    say({ left: cursor });
    await show(feed({ filter, cursor, noFollow: true }));
    say({ listed: await headrace.call(events, "listEvents", { filter, scope: "FEED_SCOPE_NAMESPACE", oldestFirst: true }) });
  },

  // A message on a stream that makes its session; what is asked of a person is allowed; closed when the turn has ended.
  async converse() {
    const { ask, messages, close } = headrace.converse({ create: input.spec });
    for await (const message of messages) {
      say(message);
      if (message.opened) {
        input.sessionId = message.opened.session.id;
        ask({ message: { text: input.text, requestId: "node" } });
      }
      for (const { request } of message.inputs?.open ?? []) ask({ answer: { requestId: request.requestId, allow: true } });
      if (message.batch?.events.some((event) => event.kind === "succeeded")) {
        await headrace.call(headrace.sessions, "closeSession", { sessionId: input.sessionId });
      }
      if (message.end) break;
    }
    close();
  },

  async follow() {
    const jobId = await submit(input.spec);
    await show(headrace.follow({ jobId }));
  },
};

await scenarios[process.argv[2]]();
headrace.close();
