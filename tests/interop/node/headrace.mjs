// Headrace's services, with stubs made from the .proto files while the program runs: nothing is generated.
// Owns loading, calls with a deadline, streams that are cancelled when they are left, and the details of errors.

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const SERVICES = ["job_service", "queue_service", "event_service"].map((name) => `headrace/v1/${name}.proto`);
const DETAILS = ["google/rpc/status.proto", "google/rpc/error_details.proto"];
const DEADLINE_MILLISECONDS = 10_000;

// 64-bit numbers as strings, since a double can't hold them all; enums by name; a oneof says which of its fields is set.
const SHAPE = { longs: String, enums: String, defaults: true, oneofs: true };

export class Headrace {
  // `folders`: where the .proto files are, those of Headrace and those of googleapis.
  constructor(address, folders) {
    this.types = loader.loadSync([...SERVICES, ...DETAILS], { ...SHAPE, includeDirs: folders });
    const { v1 } = grpc.loadPackageDefinition(this.types).headrace;
    const credentials = grpc.credentials.createInsecure();
    this.jobs = new v1.JobService(address, credentials);
    this.queues = new v1.QueueService(address, credentials);
    this.events = new v1.EventService(address, credentials);
  }

  close() {
    for (const stub of [this.jobs, this.queues, this.events]) stub.close();
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

  // All messages about a job to its end, whatever happens to the connection: it goes on from the last cursor.
  async *follow(request) {
    let cursor = "";
    for (;;) {
      try {
        for await (const message of this.stream(this.jobs, "watchJob", { ...request, cursor })) {
          cursor = message.cursor || cursor;
          if (message.kind === "end" && message.end.reason === "END_REASON_DRAINING") break;
          yield message;
          if (message.kind === "end") return;
        }
      } catch (error) {
        if (error.code !== grpc.status.UNAVAILABLE) throw error;
        yield { kind: "cut", cursor };
      }
    }
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
