/**
 * Transactions of one partition that the coordinator is being asked about (KIP-890): between the question and the append a
 * marker may end the transaction, and a late yes must not begin it anew. So each question has a guard of its own, and the guard
 * is gone with the producer's next transactional append or marker. Shard of the partition.
 *
 *   verify ─► guard n ─► coordinator says yes ─► append with n ─► appended, guard gone
 *                 └─► marker ─► guard gone ─► append with n: INVALID_TXN_STATE
 *
 * Guards are never used twice. Bound: `verificationsMax` producers; the oldest question gives way, its append is refused, and
 * the client asks again.
 */
export const verificationsMax = 10_000;

interface Verification {
  readonly guard: number;
  epoch: number;
  /** Lowest sequence seen since the question: a batch behind it must not be appended before it. */
  lowestSequence: number;
  readonly bumps: boolean;
}

export class Verifications {
  readonly #byProducer = new Map<number, Verification>();
  #next = 1;

  get size(): number {
    return this.#byProducer.size;
  }

  /** The guard of the producer's question; questions under way share it. */
  begin(producerId: number, epoch: number, sequence: number, bumps: boolean): number {
    const known = this.#byProducer.get(producerId);
    if (known !== undefined) {
      if (epoch > known.epoch) {
        known.epoch = epoch;
        known.lowestSequence = sequence;
      } else if (epoch === known.epoch && sequence < known.lowestSequence) known.lowestSequence = sequence;
      return known.guard;
    }
    if (this.#byProducer.size >= verificationsMax) {
      const [oldest] = this.#byProducer.keys();
      this.#byProducer.delete(oldest!);
    }
    const guard = this.#next++;
    this.#byProducer.set(producerId, { guard, epoch, lowestSequence: sequence, bumps });
    return guard;
  }

  verifies(producerId: number, guard: number): boolean {
    return guard > 0 && this.#byProducer.get(producerId)?.guard === guard;
  }

  get(producerId: number): Verification | undefined {
    return this.#byProducer.get(producerId);
  }

  end(producerId: number): void {
    this.#byProducer.delete(producerId);
  }
}
