/**
 * Produces prebuilt distinct batches over many connections, pipelined, at full speed or paced. One thread.
 *
 *   due   | requests whose time has come, oldest first |      (paced only; bounded by the plan's time limit)
 *   slots | idle | in flight | of each connection             (depth per connection)
 *
 * Paced latency counts from the tick at which the request was due, whether or not a slot was free then: a broker that
 * stalls is charged for the requests it kept from being sent (no coordinated omission). Ticks are a millisecond apart.
 */
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { BatchPool } from '../../test/support/load/batches.ts';
import { errorName } from '../../test/support/load/error-name.ts';
import { produceEnvelope, RawConnection } from '../../test/support/raw-client.ts';
import { LatencyRecorder } from './latency.ts';
import type { ProducerPlan } from './messages.ts';

/** Below this a request is copied into one piece: cheaper than a gathered write. */
const copyBytesMax = 16 * 1024;
const refusedPauseMs = 20;
const poolBytesMin = 64 * 1024 * 1024;

interface Slot {
  readonly connection: RawConnection;
  /** Head of the frame, or the whole frame when it is small. */
  readonly head: Buffer;
  sentAt: number;
  readonly onFrame: (frame: Buffer) => void;
}

export interface ProduceLoadEvents {
  begin(): void;
  end(): void;
  failed(error: Error): void;
}

export class ProduceLoad {
  readonly latency = new LatencyRecorder();
  bytes = 0;
  requests = 0;
  totalBytes = 0;
  seconds = 0;
  /** Requests the broker had no room for, each sent again after a pause. */
  refused = 0;
  readonly #plan: ProducerPlan;
  readonly #events: ProduceLoadEvents;
  readonly #pool: BatchPool;
  readonly #envelopes: { head: Buffer; tail: Buffer; correlationAt: number }[];
  readonly #errorAt: number;
  readonly #small: boolean;
  readonly #idle: Slot[] = [];
  readonly #due: number[] = [];
  #dueHead = 0;
  #connections: RawConnection[] = [];
  #partition = 0;
  #inFlight = 0;
  /** Refused requests whose pause is not over. */
  #waiting = 0;
  #warm = true;
  #sending = false;
  #begunAt = 0;
  #sentBytes = 0;

  constructor(plan: ProducerPlan, events: ProduceLoadEvents) {
    this.#plan = plan;
    this.#events = events;
    const sample = new BatchPool(plan.shape, 1).batchBytes;
    this.#small = sample < copyBytesMax;
    const wanted = Math.min(16_384, Math.ceil(poolBytesMin / sample));
    this.#pool = new BatchPool(plan.shape, Math.max(wanted, plan.connections * plan.depth + 1));
    this.#envelopes = Array.from({ length: plan.partitions }, (_, partition) =>
      produceEnvelope(plan.topic, partition, sample),
    );
    // correlation id, tags, topics, name, partitions, index, then the error code.
    this.#errorAt = 4 + 1 + 1 + 1 + Buffer.byteLength(plan.topic) + 1 + 4;
  }

  async connect(): Promise<void> {
    const { address, connections, depth } = this.#plan;
    const { head, tail } = this.#envelopes[0]!;
    const frameBytes = this.#small ? head.length + this.#pool.batchBytes + tail.length : head.length;
    for (let c = 0; c < connections; c++) {
      const connection = await RawConnection.connect(address, 'bench', 64 * 1024);
      connection.closed.then((reason) => {
        if (this.#sending || this.#inFlight > 0) this.#events.failed(reason);
      });
      this.#connections.push(connection);
    }
    // Neighbours in the list are on different connections.
    for (let d = 0; d < depth; d++) {
      for (const connection of this.#connections) {
        const slot: Slot = {
          connection,
          head: Buffer.alloc(frameBytes),
          sentAt: 0,
          onFrame: (frame) => this.#answered(slot, frame),
        };
        this.#idle.push(slot);
      }
    }
  }

  go(): void {
    this.#sending = true;
    const { bytesPerSecond } = this.#plan;
    if (bytesPerSecond === 0) {
      while (this.#idle.length > 0) this.#send(this.#idle.pop()!, performance.now());
      return;
    }
    const intervalMs = (this.#pool.batchBytes / bytesPerSecond) * 1000;
    let next = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      for (; this.#sending && next <= now; next += intervalMs) this.#due.push(now);
      this.#sendDue();
      if (!this.#sending) clearInterval(timer);
    }, 1);
  }

  close(): void {
    for (const connection of this.#connections) connection.socket.destroy();
  }

  #sendDue(): void {
    while (this.#sending && this.#dueHead < this.#due.length && this.#idle.length > 0) {
      this.#send(this.#idle.pop()!, this.#due[this.#dueHead++]!);
    }
    if (this.#dueHead > 4096) {
      this.#due.splice(0, this.#dueHead);
      this.#dueHead = 0;
    }
  }

  #send(slot: Slot, since: number): void {
    const { head, tail, correlationAt } = this.#envelopes[this.#partition]!;
    this.#partition = (this.#partition + 1) % this.#envelopes.length;
    const batch = this.#pool.take();
    const correlationId = slot.connection.nextCorrelationId();
    slot.sentAt = since;
    this.#inFlight++;
    this.#sentBytes += batch.length;
    slot.head.set(head, 0);
    slot.head.writeInt32BE(correlationId, correlationAt);
    if (this.#small) {
      slot.head.set(batch, head.length);
      slot.head.set(tail, head.length + batch.length);
      slot.connection.sendFrame([slot.head], correlationId, slot.onFrame, ignore);
    } else {
      slot.connection.sendFrame([slot.head, batch, tail], correlationId, slot.onFrame, ignore);
    }
  }

  #answered(slot: Slot, frame: Buffer): void {
    const now = performance.now();
    const error = frame.readInt16BE(this.#errorAt);
    if (error === ErrorCode.NOT_ENOUGH_REPLICAS) {
      // No room until an upload is done: asked again like a stock client would; the latency goes on counting.
      this.refused++;
      this.#waiting++;
      this.#inFlight--;
      this.#sentBytes -= this.#pool.batchBytes;
      setTimeout(() => {
        this.#waiting--;
        this.#send(slot, slot.sentAt);
      }, refusedPauseMs);
      return;
    }
    if (error !== 0) {
      this.#sending = false;
      this.#events.failed(new Error(`produce was answered ${errorName(error)}`));
      return;
    }
    this.#inFlight--;
    this.totalBytes += this.#pool.batchBytes;
    if (!this.#warm) {
      this.bytes += this.#pool.batchBytes;
      this.requests++;
      this.latency.record(now - slot.sentAt);
    } else if (this.totalBytes >= this.#plan.warmBytes) {
      this.#warm = false;
      this.#begunAt = now;
      this.#events.begin();
    }
    if (
      this.#sending &&
      !this.#warm &&
      (this.#sentBytes >= this.#plan.warmBytes + this.#plan.bytes ||
        now - this.#begunAt > this.#plan.secondsMax * 1000)
    ) {
      this.#sending = false;
    }
    if (!this.#sending) {
      if (this.#inFlight === 0 && this.#waiting === 0) {
        this.seconds = (now - this.#begunAt) / 1000;
        this.#events.end();
      }
      return;
    }
    if (this.#plan.bytesPerSecond === 0) {
      this.#send(slot, now);
    } else {
      this.#idle.unshift(slot);
      this.#sendDue();
    }
  }
}

/** The connection's end is reported once, by `closed`. */
function ignore(): void {}
