/**
 * One broker's part in a cluster, as a reconciler: it makes true what the metadata say that it is to own. Nobody sends it orders;
 * who decides (the controller, an operator's tool) writes them into the metadata, and each step can be repeated. Main thread.
 *
 *   closed, assigned to this broker     ─► opened here
 *   open here, assigned to another      ─► tail uploaded, closed; the other one opens it
 *   a log that was another's is its own ─► drained: its streams end closed, for whoever is to own them
 *
 * All logs that are claimed by then are drained together; opens and closes go on meanwhile, in batches, one of
 * each kind under way. What fails is tried again after a pause that grows to `retryMsMax`; an open that is refused by a condition of the
 * metadata (somebody was first) is only looked at again. Bounds: the work is read from the image, and nothing is queued.
 */
import type {
  ClusterImage,
  MetadataChange,
  MetadataStore,
  PartitionImage,
  WalRecord,
} from '../metadata/metadata-store.ts';
import { homeOf, isInForce } from '../metadata/owners.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';

export interface Stream {
  readonly topicId: string;
  readonly partition: number;
}

export interface AssignmentsDeps {
  readonly metadata: Pick<MetadataStore, 'image' | 'watch'>;
  readonly nodeId: number;
  /** Logs that this broker writes itself. */
  readonly ownLogs: readonly string[];
  readonly ownership: {
    open(streams: readonly Stream[]): Promise<void>;
    close(streams: readonly Stream[]): Promise<void>;
  };
  /** Drains logs that this broker has claimed. */
  readonly recover: (
    logs: readonly WalRecord[],
  ) => Promise<{ readonly streams: number; readonly batches: number }>;
  /** False while this broker may have been taken for dead: what it opened then would be taken from it at once. */
  readonly mayOpen: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Streams opened or closed in one commit: a close waits for the uploads of all of them. */
const batch = 256;
const retryMsMin = 100;
const retryMsMax = 5_000;
/** The image is looked through again even if nothing of it seemed to change. */
const lookMs = 5_000;

type Kind = 'open' | 'close' | 'recover';

interface Lane {
  running: Promise<void> | null;
  /** Pause before the next try, and when it ends. */
  pauseMs: number;
  notBefore: number;
}

const turning: ReadonlySet<MetadataChange['type']> = new Set([
  'topic',
  'partitions',
  'open',
  'close',
  'wal',
  'assign',
  'brokerState',
]);

export class Assignments {
  readonly #deps: AssignmentsDeps;
  readonly #lanes: Record<Kind, Lane>;
  #unwatch: (() => void) | null = null;
  #timer: Timer | null = null;
  #due = false;
  #stopped = false;
  /** No stream is opened any more: this broker leaves. */
  #leaving = false;

  constructor(deps: AssignmentsDeps) {
    this.#deps = deps;
    const lane = (): Lane => ({ running: null, pauseMs: retryMsMin, notBefore: Number.NEGATIVE_INFINITY });
    this.#lanes = { open: lane(), close: lane(), recover: lane() };
  }

  start(): void {
    this.#unwatch = this.#deps.metadata.watch((_revision, changes) => {
      if (changes.some(({ type }) => turning.has(type))) this.#soon();
    });
    this.#soon();
  }

  /** Streams are only closed from now on. */
  leave(): void {
    this.#leaving = true;
  }

  /** Nothing is begun any more; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unwatch?.();
    this.#timer?.cancel();
    await Promise.all(Object.values(this.#lanes).map(({ running }) => running));
  }

  /** Streams that are open on this broker. */
  owned(): number {
    const { metadata, nodeId } = this.#deps;
    let owned = 0;
    for (const { state, node } of partitionsOf(metadata.image))
      if (state === 'open' && node === nodeId) owned++;
    return owned;
  }

  /** In a later turn, so that a burst of changes is looked at once. */
  #soon(): void {
    if (this.#due || this.#stopped) return;
    this.#due = true;
    this.#deps.clock.soon(() => {
      this.#due = false;
      this.#look();
    });
  }

  #look(): void {
    if (this.#stopped) return;
    const { metadata, nodeId, mayOpen, ownership } = this.#deps;
    const { image } = metadata;
    const open: Stream[] = [];
    const close: Stream[] = [];
    const used = new Set<string>();
    for (const partition of partitionsOf(image)) {
      const mine = homeOf(partition) === nodeId;
      if (partition.state === 'open') {
        used.add(partition.wal);
        if (!mine && partition.node === nodeId && close.length < batch && isInForce(image, partition.target))
          close.push(nameOf(partition));
      } else if (mine && open.length < batch) open.push(nameOf(partition));
    }
    if (close.length > 0) this.#run('close', `${close.length} streams`, () => ownership.close(close));
    if (open.length > 0 && !this.#leaving && mayOpen())
      this.#run('open', `${open.length} streams`, () => ownership.open(open));
    const logs = this.#claimed(image, used);
    if (logs.length > 0)
      this.#run('recover', logs.map(({ logId }) => logId).join(', '), () => this.#recover(logs));
    this.#timer?.cancel();
    this.#timer = this.#deps.clock.after(this.#waitMs(), () => this.#look());
  }

  #waitMs(): number {
    const now = this.#deps.clock.monotonic();
    let wait = lookMs;
    for (const { running, notBefore } of Object.values(this.#lanes))
      if (running === null && notBefore > now) wait = Math.min(wait, notBefore - now);
    return Math.max(1, wait);
  }

  /**
   * Logs on record as this broker's that it does not write: open ones, and those that were given up while streams are open in
   * them.
   */
  #claimed(image: ClusterImage, used: ReadonlySet<string>): WalRecord[] {
    const { nodeId, ownLogs } = this.#deps;
    return [...image.wals.values()].filter(
      ({ logId, node, state, kind }) =>
        node === nodeId &&
        !ownLogs.includes(logId) &&
        (state === 'open' ? kind !== 'memory' : state === 'abandoned' && used.has(logId)),
    );
  }

  async #recover(logs: readonly WalRecord[]): Promise<void> {
    const { recover, logger, clock } = this.#deps;
    const began = clock.monotonic();
    const ids = logs.map(({ logId }) => logId).join(', ');
    logger.warn('recovering the write-ahead logs of a broker that is gone', { logs: ids });
    const { streams, batches } = await recover(logs);
    const ms = Math.round(clock.monotonic() - began);
    logger.warn('recovered the write-ahead logs of a broker that is gone', {
      logs: ids,
      streams,
      batches,
      ms,
    });
  }

  #run(kind: Kind, what: string, act: () => Promise<void>): void {
    const { clock, logger } = this.#deps;
    const lane = this.#lanes[kind];
    if (lane.running !== null || clock.monotonic() < lane.notBefore) return;
    lane.running = act()
      .then(
        () => {
          lane.pauseMs = retryMsMin;
          lane.notBefore = Number.NEGATIVE_INFINITY;
        },
        (error: unknown) => {
          lane.notBefore = clock.monotonic() + lane.pauseMs;
          lane.pauseMs = Math.min(retryMsMax, lane.pauseMs * 2);
          const reason = error instanceof Error ? error.message : String(error);
          if (!this.#stopped) logger.warn(`could not ${kind} ${what} yet`, { reason });
        },
      )
      .finally(() => {
        lane.running = null;
        this.#soon();
      });
  }
}

function* partitionsOf(image: ClusterImage): Iterable<PartitionImage> {
  for (const { partitions } of image.topicsById.values()) yield* partitions;
}

function nameOf({ topicId, partition }: PartitionImage): Stream {
  return { topicId, partition };
}
