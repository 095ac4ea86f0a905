/**
 * Where a reader that names its rack is sent (KIP-392): to a broker of that rack, for what lies so far behind the end that objects
 * hold it (shard/object-replica.ts). So what is read again and again by many groups crosses no zone, and costs the owner neither
 * memory nor bandwidth; what is new comes from the owner.
 *
 *   reader, rack b ─► owner, rack a: far behind? ─► "broker of rack b" ─► reads there until objects end ─► owner
 *                                    │ near the end, no broker there, or back from there empty-handed
 *                                    └─► reads here
 *
 * One that comes back for the offset that it was sent away with has not found it there: the other broker has not heard of the
 * objects yet, or cannot read them. It is served here for `heldMs`. Bound: `remembered` readers; who is forgotten is sent again.
 */
import { committedEnd } from '../../metadata/committed-end.ts';
import type { PartitionImage } from '../../metadata/metadata-store.ts';
import type { Clock } from '../../ports/clock.ts';
import { streamKey } from '../../ports/stream-id.ts';
import type { ListenerView } from './cluster-view.ts';

/** Where a reader is, as it says: in this broker's rack, in another one, or it does not say. */
export type ReaderZone = 'own' | 'other' | 'unknown';

export function zoneOf(rack: string, view: () => ListenerView): ReaderZone {
  if (rack === '') return 'unknown';
  return view().own.rack === rack ? 'own' : 'other';
}

/** Less than this behind the objects' end is not worth two changes of the connection. */
const behindBytesMin = 4 * 1024 * 1024;
const heldMs = 30_000;
const remembered = 4_096;

interface Sent {
  readonly offset: number;
  /** Monotonic ms. */
  readonly at: number;
}

export class ReadReplicas {
  readonly #clock: Clock;
  /** By reader and stream, oldest first. */
  readonly #sent = new Map<string, Sent>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The broker that the reader is to ask for what follows `offset`; −1 = the one that is asked.
   * @param reader the client's connection.
   */
  preferred(
    view: ListenerView,
    rack: string,
    reader: number,
    partition: PartitionImage,
    offset: number,
  ): number {
    if (rack === '' || view.own.rack === rack || behindBytes(partition, offset) < behindBytesMin) return -1;
    const near = view.readerIn(rack, partition);
    if (near < 0) return -1;
    const key = `${reader} ${streamKey(partition.topicId, partition.partition)}`;
    const now = this.#clock.monotonic();
    const before = this.#sent.get(key);
    if (before?.offset === offset && now - before.at < heldMs) return -1;
    this.#sent.delete(key);
    this.#sent.set(key, { offset, at: now });
    if (this.#sent.size > remembered) this.#sent.delete(this.#sent.keys().next().value!);
    return near;
  }
}

/** Bytes that objects hold from the offset on, about; any number of them where a manifest does. */
function behindBytes(partition: PartitionImage, offset: number): number {
  if (offset < partition.startOffset || offset >= committedEnd(partition)) return 0;
  if (offset < (partition.manifest?.endOffset ?? 0)) return Number.POSITIVE_INFINITY;
  let bytes = 0;
  for (const { baseOffset, endOffset, bytes: size } of partition.objects) {
    if (endOffset <= offset) continue;
    bytes += size * ((endOffset - Math.max(baseOffset, offset)) / (endOffset - baseOffset));
  }
  return bytes;
}
