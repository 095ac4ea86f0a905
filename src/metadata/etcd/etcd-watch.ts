/**
 * One watch of etcd over streams that come and go: it goes on where it stood. Main thread.
 *
 *   stream ──► created ──► events … ──┬─► stream lost ──► pause ──► a new stream, from the revision behind the last event
 *                                     └─► compacted, refused ──► ended
 *
 * etcd cuts an answer of more than a request's size into fragments, between any two events: then the last revision may not be
 * whole yet, and a new stream begins at that revision again and leaves out as many of its events as were told already.
 */
import type { Clock, Timer } from '../../ports/clock.ts';
import type { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { judge } from './etcd-answers.ts';
import { decodeWatch, encodeWatch } from './etcd-messages.ts';
import type { GrpcFailure, GrpcStream, GrpcStreamListener } from './grpc-endpoint.ts';
import { etcdCompacted, type WatchEvent, type WatchListener, type WatchRequest } from './kv.ts';

const path = '/etcdserverpb.Watch/Watch';
const pauseMs = { first: 50, max: 2_000 } as const;

export interface EtcdWatchPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  open(path: string, listener: GrpcStreamListener): GrpcStream;
}

export class EtcdWatch {
  readonly #request: WatchRequest;
  readonly #listener: WatchListener;
  readonly #ports: EtcdWatchPorts;
  /** Revision to begin at, and how many of its events were told. */
  #next: number;
  #toldOfNext = 0;
  /** Of the present stream's first revision, still to leave out. */
  #skip = 0;
  #stream: GrpcStream | null = null;
  #timer: Timer | null = null;
  #failures = 0;
  #over = false;

  constructor(request: WatchRequest, listener: WatchListener, ports: EtcdWatchPorts) {
    this.#request = request;
    this.#listener = listener;
    this.#ports = ports;
    this.#next = request.fromRevision;
  }

  start(): void {
    if (this.#over) return;
    this.#skip = this.#toldOfNext;
    const stream = this.#ports.open(path, {
      message: (bytes) => {
        if (this.#stream === stream) this.#message(bytes);
      },
      ended: (failure) => {
        if (this.#stream === stream) this.#lost(failure);
      },
    });
    this.#stream = stream;
    stream.write(encodeWatch({ ...this.#request, fromRevision: this.#next }));
  }

  /** On another stream, at once. */
  restart(): void {
    if (this.#over || this.#stream === null) return;
    this.#stream.cancel();
    this.#stream = null;
    this.start();
  }

  cancel(): void {
    this.#over = true;
    this.#timer?.cancel();
    this.#stream?.cancel();
    this.#stream = null;
  }

  #message(bytes: Buffer): void {
    let answer: ReturnType<typeof decodeWatch>;
    try {
      answer = decodeWatch(bytes);
    } catch (error) {
      return this.#end(error as MillraceError);
    }
    if (answer.compactRevision > 0)
      return this.#end(etcdCompacted(`revision ${this.#next}, compacted up to ${answer.compactRevision}`));
    if (answer.canceled) return this.#canceled(answer.reason);
    this.#failures = 0;
    const events = this.#fresh(answer.events, answer.fragment);
    if (events.length > 0) this.#listener.events(events);
  }

  /** Without those that an earlier stream has told of; notes where to go on. */
  #fresh(events: readonly WatchEvent[], fragment: boolean): readonly WatchEvent[] {
    const fresh: WatchEvent[] = [];
    for (const event of events) {
      const revision = event.type === 'put' ? event.entry.modRevision : event.modRevision;
      if (revision < this.#next) continue;
      if (revision > this.#next) {
        this.#next = revision;
        this.#toldOfNext = 0;
        this.#skip = 0;
      }
      if (this.#skip > 0) {
        this.#skip--;
        continue;
      }
      this.#toldOfNext++;
      fresh.push(event);
    }
    if (!fragment && events.length > 0) {
      this.#next++;
      this.#toldOfNext = 0;
    }
    return fresh;
  }

  #canceled(reason: string): void {
    const verdict = judge({ code: 2, details: reason });
    if (verdict.type === 'final') this.#end(verdict.error);
    else this.#lost({ code: 14, details: reason });
  }

  #lost(failure: GrpcFailure | null): void {
    const verdict = failure === null ? null : judge(failure);
    if (verdict?.type === 'final') return this.#end(verdict.error);
    const { clock, random, logger } = this.#ports;
    this.#stream?.cancel();
    this.#stream = null;
    this.#failures++;
    if (this.#failures === 1 || this.#failures % 30 === 0)
      logger.info('a watch of etcd lost its stream', { reason: failure?.details ?? 'ended' });
    const ceiling = Math.min(pauseMs.max, pauseMs.first * 2 ** Math.min(this.#failures - 1, 10));
    this.#timer = clock.after(ceiling / 2 + random.below(Math.ceil(ceiling / 2)), () => this.start());
  }

  #end(error: MillraceError): void {
    if (this.#over) return;
    this.cancel();
    this.#listener.ended(error);
  }
}
