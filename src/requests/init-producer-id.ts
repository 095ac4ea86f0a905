/**
 * InitProducerId (key 22), versions 0–5; v6 (two-phase commit) is unstable in Kafka and not advertised.
 *
 * Without a transactional id: a fresh producer id with epoch 0, also when the client sends its old id and epoch. Ids come
 * in blocks from the control plane, the next block is fetched before the last one is used up, and ids of a block that a
 * restart cut short are never used. While no id is there at most `waitingMax` requests wait; more, and those whose block
 * cannot be had, are answered COORDINATOR_LOAD_IN_PROGRESS, which clients retry.
 * An empty transactional id, or an id without epoch, is INVALID_REQUEST. Omitted: transactions, so a transactional id
 * is INVALID_REQUEST too, with a line in the log.
 */
import type { Logger } from '../ports/logger.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  InitProducerIdCodec,
  type InitProducerIdRequest,
  type InitProducerIdResponseInput,
} from '../protocol/generated/init-producer-id.ts';
import type { ControlPlane } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';

const blockSize = 1000;
/** The next block is on its way while this many ids are left. */
const prefetchBelow = 100;
const waitingMax = 10_000;

export interface InitProducerIdDeps {
  readonly control: Pick<ControlPlane, 'producerIds'>;
  readonly logger: Logger;
}

/** Ids of one shard. */
export class ProducerIds {
  readonly #deps: InitProducerIdDeps;
  #next = 0;
  #end = 0;
  /** The block behind the current one, when it came early. */
  #spare = -1;
  #fetching = false;
  #waiting: ((producerId: number) => void)[] = [];

  constructor(deps: InitProducerIdDeps) {
    this.#deps = deps;
  }

  /** Calls back with an id that nobody had before, or with −1 when there is none to be had now. */
  take(done: (producerId: number) => void): void {
    if (this.#next === this.#end) this.#useSpare();
    if (this.#next < this.#end) {
      const producerId = this.#next++;
      if (this.#end - this.#next < prefetchBelow) this.#fetch();
      done(producerId);
      return;
    }
    if (this.#waiting.length >= waitingMax) {
      done(-1);
      return;
    }
    this.#waiting.push(done);
    this.#fetch();
  }

  #useSpare(): void {
    if (this.#spare < 0) return;
    this.#next = this.#spare;
    this.#end = this.#spare + blockSize;
    this.#spare = -1;
  }

  #fetch(): void {
    if (this.#fetching || this.#spare >= 0) return;
    this.#fetching = true;
    this.#deps.control.producerIds(blockSize).then(
      (first) => {
        this.#fetching = false;
        this.#spare = first;
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const done of waiting) this.take(done);
      },
      (reason: unknown) => {
        this.#fetching = false;
        this.#deps.logger.warn('no new producer ids could be reserved', { reason: String(reason) });
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const done of waiting) done(-1);
      },
    );
  }
}

const none = { producerId: -1, producerEpoch: -1 } as const;

export function initProducerIdHandler(
  deps: InitProducerIdDeps,
): RequestHandler<InitProducerIdRequest, InitProducerIdResponseInput> {
  const ids = new ProducerIds(deps);
  return {
    codec: InitProducerIdCodec,
    maxVersion: 5,
    handle(context, request, respond) {
      const { transactionalId, producerId, producerEpoch } = request;
      if (transactionalId !== null && transactionalId !== '') {
        deps.logger.warn('transactions are not served by this version', {
          transactionalId,
          clientId: context.clientId,
        });
      }
      if (transactionalId !== null || (producerId === -1) !== (producerEpoch === -1)) {
        respond({ errorCode: ErrorCode.INVALID_REQUEST, ...none });
        return;
      }
      ids.take((fresh) => {
        if (fresh >= 0) respond({ producerId: fresh, producerEpoch: 0 });
        else respond({ errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ...none });
      });
    },
  };
}
