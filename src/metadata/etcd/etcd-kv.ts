/**
 * The key space of an etcd cluster (kv.ts) over gRPC. Main thread.
 *
 * One member is asked at a time; one that does not answer, or has no leader, is left for the next, and so are the streams that
 * were open to it. A read goes on from member to member until its time is over; a write of which no one can say whether it was
 * done ends as that. Every call says that it wants a member that knows a leader, so that one which is cut off from the others
 * says so at once.
 *
 * Limits: a call takes at most `timeoutMs` in all and 2 s at one member, one that keeps a lease alive 1 s; streams are opened again after 50 ms to 2 s.
 */
import type { Clock, Timer } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { judge } from './etcd-answers.ts';
import {
  decodeAuthenticate,
  decodeLease,
  decodeRange,
  decodeTxn,
  encodeAuthenticate,
  encodeCompaction,
  encodeGrant,
  encodeLeaseId,
  encodeRange,
  encodeTxn,
} from './etcd-messages.ts';
import { EtcdWatch } from './etcd-watch.ts';
import { type EtcdTls, GrpcEndpoint, type GrpcFailure, type GrpcStream } from './grpc-endpoint.ts';
import {
  type EtcdKv,
  etcdUnavailable,
  etcdUnknown,
  type Lease,
  type LeaseId,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  type Watch,
  type WatchListener,
  type WatchRequest,
} from './kv.ts';

export interface EtcdKvOptions {
  /** host:port of members; at least one. */
  readonly endpoints: readonly string[];
  readonly tls: EtcdTls | null;
  readonly user: { readonly name: string; readonly password: string } | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Of a whole call. */
  readonly timeoutMs?: number;
}

const timeoutMsDefault = 5_000;
const attemptMsMax = 2_000;
/** A lease of three seconds must outlive a member that says nothing. */
const keepAliveMsMax = 1_000;
/** Between two rounds over all members. */
const roundPauseMs = 100;

const paths = {
  range: '/etcdserverpb.KV/Range',
  txn: '/etcdserverpb.KV/Txn',
  compact: '/etcdserverpb.KV/Compact',
  grant: '/etcdserverpb.Lease/LeaseGrant',
  revoke: '/etcdserverpb.Lease/LeaseRevoke',
  keepAlive: '/etcdserverpb.Lease/LeaseKeepAlive',
  authenticate: '/etcdserverpb.Auth/Authenticate',
} as const;

export class GrpcEtcdKv implements EtcdKv {
  readonly #options: EtcdKvOptions;
  readonly #timeoutMs: number;
  readonly #endpoints: readonly GrpcEndpoint[];
  #current = 0;
  #token: Promise<string> | null = null;
  readonly #watches = new Set<EtcdWatch>();
  readonly #pending = new Set<(error: MillraceError) => void>();
  #closed = false;

  constructor(options: EtcdKvOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? timeoutMsDefault;
    this.#endpoints = options.endpoints.map((address) => new GrpcEndpoint(address, options.tls));
  }

  async range(request: RangeRequest): Promise<RangeResult> {
    return decodeRange(await this.#call(paths.range, encodeRange(request).finish(), false));
  }

  async txn(request: TxnRequest): Promise<TxnResult> {
    const writes = [...(request.success ?? []), ...(request.failure ?? [])].some(
      ({ type }) => type !== 'range',
    );
    return decodeTxn(await this.#call(paths.txn, encodeTxn(request), writes));
  }

  watch(request: WatchRequest, listener: WatchListener): Watch {
    const { clock, random, logger } = this.#options;
    const watch = new EtcdWatch(
      request,
      {
        events: (events) => listener.events(events),
        ended: (error) => {
          this.#watches.delete(watch);
          listener.ended(error);
        },
      },
      { clock, random, logger, open: (path, on) => this.#stream(path, on) },
    );
    this.#watches.add(watch);
    if (!this.#closed) watch.start();
    return {
      cancel: () => {
        this.#watches.delete(watch);
        watch.cancel();
      },
    };
  }

  async grant(ttlSeconds: number): Promise<Lease> {
    return decodeLease(await this.#call(paths.grant, encodeGrant(ttlSeconds), true));
  }

  /** A stream of one question and one answer: etcd has no call for it. */
  async keepAlive(lease: LeaseId): Promise<number> {
    const ask = (deadlineMs: number): Promise<Buffer> =>
      this.#ask(paths.keepAlive, encodeLeaseId(lease), deadlineMs);
    const answer = await this.#withMembers(false, ask, keepAliveMsMax);
    return Math.max(0, decodeLease(answer).ttlSeconds);
  }

  async revoke(lease: LeaseId): Promise<void> {
    try {
      await this.#call(paths.revoke, encodeLeaseId(lease), true);
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === 'ETCD_LEASE_GONE')) throw error;
    }
  }

  async compact(revision: number): Promise<void> {
    try {
      await this.#call(paths.compact, encodeCompaction(revision), false);
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === 'ETCD_COMPACTED')) throw error;
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.cancel();
    this.#watches.clear();
    for (const reject of [...this.#pending]) reject(etcdUnknown('the client was closed'));
    for (const endpoint of this.#endpoints) endpoint.close();
    return Promise.resolve();
  }

  #call(path: string, request: Buffer, writes: boolean): Promise<Buffer> {
    return this.#withMembers(writes, async (deadlineMs, endpoint) =>
      endpoint.unary(path, request, deadlineMs, await this.#headers()),
    );
  }

  /** Asks one member after the other, as far as what they answer, or do not answer, allows. */
  #withMembers(
    writes: boolean,
    ask: (deadlineMs: number, endpoint: GrpcEndpoint) => Promise<Buffer>,
    attemptMs = attemptMsMax,
  ): Promise<Buffer> {
    if (this.#closed) return Promise.reject(etcdUnavailable('the client was closed'));
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.#pending.delete(fail);
        reject(error as Error);
      };
      this.#pending.add(fail);
      this.#attempts(writes, ask, attemptMs).then((answer) => {
        this.#pending.delete(fail);
        resolve(answer);
      }, fail);
    });
  }

  async #attempts(
    writes: boolean,
    ask: (deadlineMs: number, endpoint: GrpcEndpoint) => Promise<Buffer>,
    attemptMs: number,
  ): Promise<Buffer> {
    const { clock } = this.#options;
    const end = clock.monotonic() + this.#timeoutMs;
    let tokens = 0;
    for (let attempt = 1; ; attempt++) {
      const at = this.#current;
      const left = end - clock.monotonic();
      try {
        return await ask(clock.now() + Math.min(attemptMs, left), this.#endpoints[at]!);
      } catch (error) {
        if (error instanceof MillraceError) throw error;
        const failure = error as GrpcFailure;
        const verdict = judge(failure);
        if (verdict.type === 'final') throw verdict.error;
        if (verdict.type === 'token' && tokens++ < 2) {
          this.#token = null;
          continue;
        }
        this.#leave(at);
        if (verdict.type === 'unknown' && writes) throw etcdUnknown(failure.details);
        if (this.#closed || end - clock.monotonic() <= roundPauseMs) throw etcdUnavailable(failure.details);
        if (attempt % this.#endpoints.length === 0) await this.#pause(roundPauseMs);
      }
    }
  }

  #ask(path: string, request: Buffer, deadlineMs: number): Promise<Buffer> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      let timer: Timer | null = null;
      const stream = this.#stream(path, {
        message: (bytes) => {
          timer?.cancel();
          stream.cancel();
          resolve(bytes);
        },
        ended: (failure) => {
          timer?.cancel();
          reject(failure ?? { code: 14, details: 'the stream ended without an answer' });
        },
      });
      stream.write(request);
      timer = clock.after(deadlineMs - clock.now(), () => {
        stream.cancel();
        reject({ code: 4, details: 'no answer in time' });
      });
    });
  }

  /** A stream to the member of the moment; when it fails, the next one is for the next member. */
  #stream(
    path: string,
    on: { message(bytes: Buffer): void; ended(failure: GrpcFailure | null): void },
  ): GrpcStream {
    const at = this.#current;
    let stream: GrpcStream | null = null;
    let over = false;
    const queued: Buffer[] = [];
    const ended = (failure: GrpcFailure | null): void => {
      if (over) return;
      over = true;
      const verdict = failure === null ? null : judge(failure);
      if (verdict?.type === 'token') this.#token = null;
      else if (verdict !== null && verdict.type !== 'final') this.#leave(at);
      on.ended(failure);
    };
    this.#headers().then(
      (headers) => {
        if (over) return;
        stream = this.#endpoints[at]!.stream(path, headers, { message: (bytes) => on.message(bytes), ended });
        for (const message of queued) stream.write(message);
      },
      (error: unknown) =>
        ended(error instanceof MillraceError ? { code: 14, details: error.message } : (error as GrpcFailure)),
    );
    return {
      write: (message) => void (stream === null ? queued.push(message) : stream.write(message)),
      cancel: () => {
        over = true;
        stream?.cancel();
      },
    };
  }

  /** Goes on with the next member; watches at this one are opened anew there. */
  #leave(at: number): void {
    if (at !== this.#current || this.#closed || this.#endpoints.length === 1) return;
    this.#current = (at + 1) % this.#endpoints.length;
    this.#options.logger.info('etcd: going on with another member', {
      member: this.#options.endpoints[this.#current],
    });
    for (const watch of this.#watches) watch.restart();
  }

  async #headers(): Promise<Record<string, string>> {
    const token = await this.#tokenOf();
    return token === null ? { hasleader: 'true' } : { hasleader: 'true', token };
  }

  async #tokenOf(): Promise<string | null> {
    const { user, clock } = this.#options;
    if (user === null) return null;
    this.#token ??= this.#endpoints[this.#current]!.unary(
      paths.authenticate,
      encodeAuthenticate(user.name, user.password),
      clock.now() + attemptMsMax,
      {},
    ).then(decodeAuthenticate);
    const asked = this.#token;
    try {
      return await asked;
    } catch (error) {
      if (this.#token === asked) this.#token = null;
      throw error;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(ms, resolve));
  }
}
