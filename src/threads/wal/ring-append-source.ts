/** The WAL thread's end of one shard's rings: implements AppendSource over them. */
import type { AppendEntry, AppendSource } from '../../stream/wal/wal.ts';
import type { Doorbell } from '../memory/doorbell.ts';
import type { RingConsumer, RingProducer } from '../memory/ring.ts';

/** More than any ring has slots. */
const wantedMax = 2 ** 30;

export class RingAppendSource implements AppendSource {
  private readonly appends: RingConsumer;
  private readonly completions: RingProducer;
  private readonly bell: Doorbell;
  private through = 0;
  /** What look() found, less what was consumed since. */
  #known = 0;
  /** Appends that must be there to end the next sleep; 0 = one more than is known. */
  #wanted = 0;
  /** Commits not yet told because the shard's ring was full: (through, sequence) pairs, sequence 0 = failed. */
  private readonly untold: number[] = [];

  constructor(appends: RingConsumer, completions: RingProducer, bell: Doorbell) {
    this.appends = appends;
    this.completions = completions;
    this.bell = bell;
  }

  /**
   * Reads the ring anew and notes what is there: once a turn, before the writer looks, so that what comes later is fresh.
   * A writer that takes more while commits are under way finds new appends behind those only through this.
   */
  look(): void {
    this.#known = this.appends.availableNow();
  }

  waiting(): number {
    return this.appends.available();
  }

  /** What look() found and no commit has taken. */
  get known(): number {
    return Math.max(0, this.#known);
  }

  /**
   * Before a sleep: how many more than those known end it; 0 = any. Until then the shard does not ring, and they are not fresh.
   */
  await(more: number): void {
    this.#wanted = more === 0 ? 0 : Math.min(this.known + more, wantedMax);
    this.appends.wantFrom(this.#wanted);
  }

  /** True when appends have come since look(), as many as are awaited. */
  get fresh(): boolean {
    const there = this.appends.availableNow();
    return this.#wanted === 0 ? there > this.#known : there >= this.#wanted;
  }

  read(i: number, into: AppendEntry): void {
    const at = this.appends.at(i);
    const { words } = this.appends;
    into.topic0 = words[at]!;
    into.topic1 = words[at + 1]!;
    into.topic2 = words[at + 2]!;
    into.topic3 = words[at + 3]!;
    into.partition = words[at + 4]!;
    into.position = words[at + 5]! >>> 0;
    into.length = words[at + 6]! >>> 0;
  }

  durable(n: number, sequence: number): void {
    this.through += n;
    this.untold.push(this.through, sequence);
    this.appends.consume(n);
    this.#known -= n;
    this.tell();
  }

  failed(): void {
    this.untold.push(this.through, 0);
    this.tell();
  }

  /**
   * A thread is in its write until that returns: none is ever outstanding when it tells of the end. Where main has ended
   * the epoch meanwhile, what `failed` tells says that the write has returned.
   */
  returned(): void {}

  /**
   * Tells what is untold, one slot a commit: uploads cut the delta by commit sequence, so commits are never merged.
   * Bounded because a shard that does not read its completions cannot append more than the append ring holds.
   */
  tell(): void {
    const { untold, completions } = this;
    let told = 0;
    for (; told < untold.length; told += 2) {
      const at = completions.reserve();
      if (at < 0) break;
      const through = untold[told]!;
      const sequence = untold[told + 1]!;
      const { words } = completions;
      words[at] = through | 0;
      words[at + 1] = Math.floor(through / 2 ** 32);
      words[at + 2] = sequence | 0;
      words[at + 3] = Math.floor(sequence / 2 ** 32);
    }
    if (told === 0) return;
    untold.splice(0, told);
    completions.publish();
    this.bell.ring();
  }

  /** True while the shard does not know of every durable commit: such a cut must not be given to an upload. */
  get behind(): boolean {
    return this.untold.length > 0;
  }
}
