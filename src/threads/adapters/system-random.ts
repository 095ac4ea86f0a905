/** Randomness of the operating system. */
import { randomFillSync, randomInt } from 'node:crypto';
import type { Random } from '../../ports/random.ts';

export class SystemRandom implements Random {
  bytes(out: Uint8Array): Uint8Array {
    return randomFillSync(out);
  }

  below(bound: number): number {
    return randomInt(bound);
  }
}
