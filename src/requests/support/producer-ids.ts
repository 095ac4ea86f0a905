/**
 * Producer ids of one shard, for idempotent producers and transactional ids: they come in blocks from the control plane, the
 * next block is fetched before the last one is used up, and ids of a block that a restart cut short are never used. While no
 * id is there at most `waitingMax` requests wait. Shard thread.
 */
import type { Logger } from '../../ports/logger.ts';
import type { ControlPlane } from './control-plane.ts';

const blockSize = 1000;
/** The next block is on its way while this many ids are left. */
const prefetchBelow = 100;
const waitingMax = 10_000;

export interface ProducerIdsDeps {
  readonly control: Pick<ControlPlane, 'producerIds'>;
  readonly logger: Logger;
}

/** Ids of one shard. */
export class ProducerIds {
  readonly #deps: ProducerIdsDeps;
  #next = 0;
  #end = 0;
  /** The block behind the current one, when it came early. */
  #spare = -1;
  #fetching = false;
  #waiting: ((producerId: number) => void)[] = [];

  constructor(deps: ProducerIdsDeps) {
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
