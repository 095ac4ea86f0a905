/**
 * Logs of lost brokers that no other can read, while their streams wait: since when, what they may hold that is nowhere else, and which
 * of them are given up, by whom. Whoever leads next counts the time anew. As many entries as there are such logs.
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import type { PossibleLoss } from './audit.ts';
import type { ClusterLoad } from './cluster-load.ts';
import type { ClusterPolicy } from './policy.ts';
import { unreachableLogs } from './steps.ts';

export interface WaitingMoment {
  readonly image: ClusterImage;
  readonly load: ClusterLoad | null;
  /** Monotonic. */
  readonly nowMs: number;
}

export class WaitingLogs {
  readonly #sinceMs = new Map<string, number>();
  readonly #losses = new Map<string, PossibleLoss>();
  /** By an operator. */
  readonly #givenUp = new Set<string>();

  /** By log id, as last seen. */
  get losses(): ReadonlyMap<string, PossibleLoss> {
    return this.#losses;
  }

  /** @returns those that were not there before. */
  see({ image, load, nowMs }: WaitingMoment): PossibleLoss[] {
    const found: PossibleLoss[] = [];
    const losses = new Map(unreachableLogs(image).map((loss) => [loss.logId, loss]));
    for (const logId of [...this.#losses.keys()]) if (!losses.has(logId)) this.#forget(logId);
    for (const [logId, loss] of losses) {
      const known = this.#losses.get(logId);
      // Whoever has come to lead only now may not have read the reports yet.
      const bytesEstimate = known?.bytesEstimate ?? load?.logs.get(logId) ?? null;
      const told = { ...loss, bytesEstimate };
      this.#losses.set(logId, told);
      if (known !== undefined) continue;
      this.#sinceMs.set(logId, nowMs);
      found.push(told);
    }
    return found;
  }

  /** False: it does not wait. */
  giveUp(logId: string): boolean {
    if (!this.#losses.has(logId)) return false;
    this.#givenUp.add(logId);
    return true;
  }

  /** Those that are to be given up now, and who says so. */
  abandoned(
    { unreachableWals, unreachableWaitMs }: Pick<ClusterPolicy, 'unreachableWals' | 'unreachableWaitMs'>,
    nowMs: number,
  ): Map<string, 'operator' | 'policy'> {
    const abandoned = new Map<string, 'operator' | 'policy'>();
    for (const [logId, sinceMs] of this.#sinceMs) {
      if (this.#givenUp.has(logId)) abandoned.set(logId, 'operator');
      else if (unreachableWals === 'abandon' && nowMs - sinceMs >= unreachableWaitMs)
        abandoned.set(logId, 'policy');
    }
    return abandoned;
  }

  #forget(logId: string): void {
    this.#losses.delete(logId);
    this.#sinceMs.delete(logId);
    this.#givenUp.delete(logId);
  }
}
