// Headrace's services, with stubs made from the .proto files while the program runs: nothing is generated.
// Owns loading, calls with a deadline, streams that are cancelled when they are left, the details of errors, and JSON values.

import { setTimeout } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const SERVICES = ["job_service", "queue_service", "event_service", "session_service"].map((name) => `headrace/v1/${name}.proto`);
const DETAILS = ["google/rpc/status.proto", "google/rpc/error_details.proto"];
const DEADLINE_MILLISECONDS = 10_000;
const PATIENCE = ["UNAVAILABLE", "RESOURCE_EXHAUSTED"];
const BROKEN = ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"];
const RETRY_NANOSECONDS = 100_000_000;
// Finds out that a connection is dead while nothing is said on it.
const CHANNEL = { "grpc.keepalive_time_ms": 30_000, "grpc.keepalive_timeout_ms": 10_000 };

// 64-bit numbers as strings, since a double can't hold them all; enums by name; a oneof says which of its fields is set.
const SHAPE = { longs: String, enums: String, defaults: true, oneofs: true };

export class Headrace {
  // `folders`: where the .proto files are, those of Headrace and those of googleapis.
  constructor(address, folders) {
    this.types = loader.loadSync([...SERVICES, ...DETAILS], { ...SHAPE, includeDirs: folders });
    const { v1 } = grpc.loadPackageDefinition(this.types).headrace;
    const credentials = grpc.credentials.createInsecure();
    this.jobs = new v1.JobService(address, credentials, CHANNEL);
    this.queues = new v1.QueueService(address, credentials, CHANNEL);
    this.events = new v1.EventService(address, credentials, CHANNEL);
    this.sessions = new v1.SessionService(address, credentials, CHANNEL);
  }

  close() {
    for (const stub of [this.jobs, this.queues, this.events, this.sessions]) stub.close();
  }

  // One request, one answer; rejects with grpc-js's error, whose details `explain` reads.
  call(stub, method, request) {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + DEADLINE_MILLISECONDS };
      stub[method](request, options, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  // The messages of a stream. Leaving the loop cancels the call, which never cancels a job.
  async *stream(stub, method, request) {
    const metadata = new grpc.Metadata({ waitForReady: true });
    const call = stub[method](request, metadata);
    call.on("error", () => {}); // the loop throws it; the one after a cancel is for nobody
    try {
      yield* call;
    } finally {
      call.cancel();
    }
  }

  // A session on one stream: `ask` sends a request, `messages` are what the server says. A request is answered by the
  // `done` with its number, among the other messages.
  converse(open) {
    const call = this.sessions.converse(new grpc.Metadata({ waitForReady: true }));
    call.on("error", () => {}); // the loop over the messages throws it
    let number = 0;
    const ask = (kind) => {
      call.write({ number: ++number, ...kind });
      return String(number);
    };
    ask({ open });
    return { ask, messages: call, close: () => call.cancel() };
  }

  // All messages about a job to its end, whatever happens to the connection or the server: it goes on from the last
  // cursor. Each stream begins with `opened`; only the last one ends with another reason than that the server drains.
  async *follow(request) {
    let cursor = "";
    for (;;) {
      try {
        for await (const message of this.stream(this.jobs, "watchJob", { ...request, cursor })) {
          cursor = message.cursor || cursor;
          yield message;
          if (message.kind === "end" && message.end.reason !== "END_REASON_DRAINING") return;
        }
      } catch (error) {
        await setTimeout(this.retryDelay(error));
      }
    }
  }

  // Milliseconds after which a stream can be opened again; throws the error when that is of no use. An error without
  // ErrorInfo is not Headrace's: the connection broke, or the server ended it (a call that comes while grpc shuts down is
  // answered with CANCELLED).
  retryDelay(error) {
    const { code, details } = this.explain(error);
    if (!(details.ErrorInfo ? PATIENCE : BROKEN).includes(code)) throw error;
    const { seconds, nanos } = details.RetryInfo?.retryDelay ?? { seconds: "0", nanos: RETRY_NANOSECONDS };
    return Number(seconds) * 1_000 + nanos / 1_000_000;
  }

  // Code, message and details of an error, the details by the short name of their type.
  explain(error) {
    const [trailer] = error.metadata.get("grpc-status-details-bin");
    const status = trailer ? this.types["google.rpc.Status"].deserialize(trailer) : { details: [] };
    const details = {};
    for (const { type_url: url, value } of status.details) {
      const type = url.slice(url.lastIndexOf("/") + 1);
      details[type.slice(type.lastIndexOf(".") + 1)] = this.types[type].deserialize(value);
    }
    return { code: grpc.status[error.code], message: error.details, details };
  }
}

// A JSON value as google.protobuf.Value; stubs that are made at run time do not convert it by themselves.
export function toValue(value) {
  if (value === null) return { nullValue: "NULL_VALUE" };
  if (Array.isArray(value)) return { listValue: { values: value.map(toValue) } };
  if (typeof value === "object") return { structValue: toStruct(value) };
  return { [`${typeof value === "boolean" ? "bool" : typeof value}Value`]: value };
}

// An object as google.protobuf.Struct.
export function toStruct(object) {
  return { fields: Object.fromEntries(Object.entries(object).map(([key, value]) => [key, toValue(value)])) };
}

// The JSON value of a google.protobuf.Value.
export function fromValue(value) {
  switch (value.kind) {
    case "structValue":
      return Object.fromEntries(Object.entries(value.structValue.fields).map(([key, inner]) => [key, fromValue(inner)]));
    case "listValue":
      return value.listValue.values.map(fromValue);
    case "nullValue":
      return null;
    default:
      return value[value.kind];
  }
}
