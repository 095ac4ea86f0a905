/**
 * Sends as native/load/produce.c does, on Node's sockets: where there is no compiler, and over TLS. Open loop: request k is
 * due at start + k / rate, whether or not a connection is free, and its latency counts from there.
 */
import { writeFileSync } from 'node:fs';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { headerField } from '../../../src/protocol/records/batch-header.ts';
import { errorName } from '../../../test/support/load/error-name.ts';
import { produceEnvelope, RawConnection } from '../../../test/support/raw-client.ts';
import { formatLedger, readLedger } from '../ledger.ts';
import type { ProducePlan, RequestPlan, SendResult } from '../plan.ts';
import { Latencies, nowNanos } from './latencies.ts';
import { type PooledBatch, PooledBatches } from './pooled-batches.ts';

/** Answers after which nothing was appended; all else may be in the log, and would be there twice. */
const refusals: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.NOT_ENOUGH_REPLICAS,
]);
const refusedPauseMs = 20;
const drainNanos = 10e9;
const correlationAt = 8;

interface Slot {
  readonly connection: RawConnection;
  since: number;
  batch: PooledBatch | null;
  partition: number;
}

export interface SenderEvents {
  begin(): void;
  end(): void;
  result(result: SendResult): void;
  failed(error: Error): void;
}

export class Sender {
  readonly #plan: ProducePlan | RequestPlan;
  readonly #events: SenderEvents;
  readonly #pool: PooledBatches | null;
  readonly #errorAt: number;
  readonly #idle: Slot[] = [];
  readonly #latencies = new Latencies();
  readonly #crcs: number[][] = [];
  #startAt = 0;
  #begin = 0;
  #end = 0;
  #due = 0;
  #partition = 0;
  #inFlight = 0;
  #refusedNow = 0;
  #sending = true;
  #counting = false;
  #over = false;
  #countedFrom = 0;
  #cpuBegin = 0;
  #seconds = 0;
  #cpuSeconds = 0;
  #slip = 0;
  #requests = 0;
  #bytes = 0;
  #allRequests = 0;
  #allBytes = 0;
  #refused = 0;

  constructor(plan: ProducePlan | RequestPlan, events: SenderEvents) {
    this.#plan = plan;
    this.#events = events;
    this.#pool = plan.kind === 'produce' ? new PooledBatches(plan.pool) : null;
    this.#errorAt = plan.kind === 'produce' ? 4 + 1 + 1 + 1 + Buffer.byteLength(plan.topic) + 1 + 4 : 0;
    if (plan.kind !== 'produce') return;
    for (let p = 0; p < plan.partitions; p++) this.#crcs.push([]);
    try {
      if (plan.ledger !== null)
        for (const [p, crcs] of readLedger(plan.ledger).crcs.entries()) this.#crcs[p] = [...crcs];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  async connect(): Promise<void> {
    const { address, ca, connections, depth } = this.#plan;
    const open: RawConnection[] = [];
    for (let i = 0; i < connections; i++) {
      const secured = ca === null ? undefined : { ca, servername: 'localhost' };
      const connection = await RawConnection.connect(address, 'bench', 64 * 1024, secured);
      connection.closed.then((reason) => {
        if (!this.#over) this.#events.failed(reason);
      });
      open.push(connection);
    }
    for (let d = 0; d < depth; d++)
      for (const connection of open) this.#idle.push({ connection, since: 0, batch: null, partition: 0 });
  }

  go(): void {
    const plan = this.#plan;
    this.#startAt = nowNanos();
    this.#begin = this.#startAt + plan.leadSeconds * 1e9;
    this.#end = this.#begin + plan.seconds * 1e9;
    if (plan.requestsPerSecond === 0)
      while (this.#idle.length > 0) this.#sendNew(this.#idle.pop()!, nowNanos());
    const timer = setInterval(() => {
      this.#turn();
      if (this.#over) clearInterval(timer);
    }, 1);
  }

  /** Ends the window before its time. */
  finish(): void {
    if (this.#counting) this.#end = Math.min(this.#end, nowNanos());
  }

  #dueAt(index: number): number {
    return this.#startAt + (index * 1e9) / this.#plan.requestsPerSecond;
  }

  #turn(): void {
    const now = nowNanos();
    const plan = this.#plan;
    if (this.#sending && !this.#counting && now >= this.#begin) {
      this.#counting = true;
      this.#countedFrom = now;
      this.#cpuBegin = cpuSeconds();
      this.#events.begin();
    }
    const full = plan.bytesMax > 0 && this.#bytes >= plan.bytesMax;
    if (this.#sending && this.#counting && (now >= this.#end || full)) {
      this.#sending = false;
      this.#counting = false;
      this.#seconds = (now - this.#countedFrom) / 1e9;
      this.#cpuSeconds = cpuSeconds() - this.#cpuBegin;
      this.#end = Math.min(this.#end, now);
      this.#events.end();
    }
    this.#sendDue(now);
    const drained = this.#inFlight === 0 && this.#refusedNow === 0;
    if (!this.#sending && !this.#over && (drained || now > this.#end + drainNanos)) this.#finish(now);
  }

  #sendDue(now: number): void {
    if (!this.#sending || this.#plan.requestsPerSecond === 0) return;
    while (this.#idle.length > 0) {
      const due = this.#dueAt(this.#due);
      if (due > now || due >= this.#end) return;
      if (this.#counting) this.#slip = Math.max(this.#slip, now - due);
      this.#due++;
      this.#sendNew(this.#idle.shift()!, due);
    }
  }

  #sendNew(slot: Slot, since: number): void {
    const plan = this.#plan;
    slot.since = since;
    slot.batch = this.#pool?.take(since) ?? null;
    if (plan.kind === 'produce') {
      slot.partition = this.#partition;
      this.#partition = (this.#partition + 1) % plan.partitions;
    }
    this.#send(slot);
  }

  #send(slot: Slot): void {
    const plan = this.#plan;
    const { connection, batch } = slot;
    const correlationId = connection.nextCorrelationId();
    this.#inFlight++;
    const onFrame = (frame: Buffer): void => this.#answered(slot, frame);
    if (plan.kind === 'request' || batch === null) {
      const frame = Buffer.from((plan as RequestPlan).frame);
      frame.writeInt32BE(correlationId, correlationAt);
      connection.sendFrame([frame], correlationId, onFrame, ignore);
      return;
    }
    const { head, tail } = produceEnvelope(plan.topic, slot.partition, batch.bytes.length);
    head.writeInt32BE(correlationId, correlationAt);
    connection.sendFrame([head, batch.bytes, tail], correlationId, onFrame, ignore);
  }

  #answered(slot: Slot, frame: Buffer): void {
    const now = nowNanos();
    const plan = this.#plan;
    const { batch } = slot;
    this.#inFlight--;
    const error = this.#errorAt === 0 ? 0 : frame.readInt16BE(this.#errorAt);
    if (refusals.has(error)) {
      this.#refused++;
      this.#refusedNow++;
      setTimeout(() => {
        this.#refusedNow--;
        this.#send(slot);
      }, refusedPauseMs);
      return;
    }
    if (error !== 0) return this.#events.failed(new Error(`the broker answered ${errorName(error)}`));
    const bytes = batch === null ? frame.length : batch.bytes.length;
    this.#allRequests++;
    this.#allBytes += bytes;
    if (this.#counting) {
      this.#requests++;
      this.#bytes += bytes;
    }
    const counts =
      plan.requestsPerSecond > 0 ? slot.since >= this.#begin && slot.since < this.#end : this.#counting;
    if (counts) this.#latencies.record(now - slot.since);
    if (plan.kind === 'produce' && batch !== null) {
      const number = Number(frame.readBigInt64BE(this.#errorAt + 2)) / plan.recordsPerBatch;
      this.#crcs[slot.partition]![number] = batch.view.getUint32(headerField.crc);
      this.#pool!.giveBack(batch);
    }
    if (plan.requestsPerSecond > 0 || !this.#sending) this.#idle.push(slot);
    else this.#sendNew(slot, now);
  }

  #finish(now: number): void {
    this.#over = true;
    const plan = this.#plan;
    let unsent = 0;
    if (plan.requestsPerSecond > 0)
      for (; this.#dueAt(this.#due + unsent) < this.#end; unsent++)
        this.#latencies.record(now - this.#dueAt(this.#due + unsent));
    if (plan.kind === 'produce' && plan.ledger !== null)
      writeFileSync(
        plan.ledger,
        formatLedger(this.#crcs.map((crcs) => Uint32Array.from(crcs, (crc) => crc ?? 0))),
      );
    this.#events.result({
      requests: this.#requests,
      bytes: this.#bytes,
      seconds: this.#seconds,
      allRequests: this.#allRequests,
      allBytes: this.#allBytes,
      refused: this.#refused,
      unsent,
      unanswered: this.#inFlight + this.#refusedNow,
      slipMs: this.#slip / 1e6,
      cpuSeconds: this.#cpuSeconds,
      latency: this.#latencies.pairs(),
    });
  }
}

export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The connection's end is reported once, by `closed`. */
function ignore(): void {}
