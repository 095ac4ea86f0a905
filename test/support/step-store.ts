/**
 * A store whose puts wait for a test to decide what becomes of each: it lands and is answered, it lands and the answer
 * is lost, it never arrives, or it arrives later, when its sender has long heard that nobody answered.
 */
import type { PutOptions } from '../../src/store/object-store.ts';
import { unavailable } from '../../src/store/store-errors.ts';
import { PassingStore } from './fault-store.ts';

export const putFates = ['lands', 'answer lost', 'dropped', 'late'] as const;
export type PutFate = (typeof putFates)[number];

export interface WaitingPut {
  readonly key: string;
  decide(fate: PutFate): Promise<void>;
}

export class StepStore extends PassingStore {
  /** In the order in which they were sent. */
  readonly waiting: WaitingPut[] = [];
  holding = true;
  readonly #late: (() => Promise<void>)[] = [];

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    // What is sent is what lay there when it was sent, even if it arrives later.
    const sent = body.map((part) => Uint8Array.from(part));
    const run = (): Promise<void> => this.inner.put(key, sent, options);
    if (!this.holding) return run();
    return new Promise((resolve, reject) => {
      const put: WaitingPut = {
        key,
        decide: async (fate) => {
          this.waiting.splice(this.waiting.indexOf(put), 1);
          switch (fate) {
            case 'lands':
              return run().then(resolve, reject);
            case 'answer lost':
              await run().catch(() => undefined);
              break;
            case 'dropped':
              break;
            case 'late':
              this.#late.push(() => run().catch(() => undefined));
          }
          reject(unavailable(`put ${key}`, fate));
        },
      };
      this.waiting.push(put);
    });
  }

  /** Everything that was still on its way arrives. */
  async deliverLate(): Promise<void> {
    for (const deliver of this.#late.splice(0)) await deliver();
  }
}
