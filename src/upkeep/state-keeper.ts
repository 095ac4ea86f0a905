/**
 * Stores what streams' producers have done, so that objects need not be kept for it. Main thread; one pass at a time.
 *
 *   log start passes ranges ─► leftovers: objects stay for the producers in them ─► states of those streams, all in one
 *   object, named by one commit ─► leftovers released ─► objects without anything else are swept
 *
 * A pass costs one put and one commit however many streams and DeleteRecords there were, and nothing when there are no
 * leftovers; an idle stream is treated like a busy one, as its state comes from the memory of its shard. Objects of states
 * are few: beyond `stateObjectsMax` a pass stores the states of all streams that name one anew.
 * Bounds: `stateBytesMax` an object, `streamsPerCall` streams a call. A crash before the commit leaves an object that nothing
 * names, for the sweep of orphans.
 */
import type { StreamName } from '../log/delta-collection.ts';
import type { MetadataChange, MetadataStore } from '../metadata/metadata-store.ts';
import type { ObjectIds } from '../ownership/object-ids.ts';
import type { Clock } from '../ports/clock.ts';
import { errorFromWire } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';

import { hasCode } from '../store/store-errors.ts';
import { stateBytes } from '../stream/objects/object-sections.ts';
import type { StreamState, UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import type { BackgroundService } from './background-service.ts';
import { Passes } from './passes.ts';
import type { Scope } from './scope.ts';

export interface StateKeeperDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  readonly ids: Pick<ObjectIds, 'take'>;
  /** Each answers for the streams that it owns. */
  readonly shards: readonly {
    states(streams: readonly StreamName[]): Promise<StreamState[]>;
  }[];
  readonly upload: (plan: UploadPlan) => Promise<UploadResult>;
  /** Removes objects that nothing will ever name; may fail. */
  readonly discard: (objectIds: readonly string[]) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly identity: { readonly clusterId: string; readonly node: number; readonly brokerEpoch: number };
  readonly intervalMs: number;
}

/** Objects that streams name for their states before all states are stored anew, in one. */
const stateObjectsMax = 32;
const stateBytesMax = 16 << 20;
/** A stream has 10,000 producers at most, and a few in general. */
const streamsPerCall = 100;

type Named = Extract<MetadataChange, { type: 'states' }>['streams'][number];

export class StateKeeper implements BackgroundService {
  private readonly deps: StateKeeperDeps;
  private readonly passes: Passes;
  private current: Promise<void> | null = null;
  /** States stored since the start. */
  stored = 0;

  constructor(deps: StateKeeperDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, () => this.pass().then(() => deps.intervalMs));
  }

  start(): void {
    this.passes.start(this.deps.intervalMs);
  }

  /** Joins the pass under way, if any. Never rejects. */
  pass(): Promise<void> {
    this.current ??= this.look().finally(() => {
      this.current = null;
    });
    return this.current;
  }

  private async look(): Promise<void> {
    const due = this.due();
    let states: StreamState[] = [];
    let bytes = 0;
    try {
      for (let at = 0; at < due.length && !this.passes.stopped; at += streamsPerCall) {
        const some = due.slice(at, at + streamsPerCall);
        for (const shard of this.deps.shards) {
          for (const state of await shard.states(some)) {
            states.push(state);
            bytes += stateBytes(state);
          }
        }
        if (bytes < stateBytesMax) continue;
        await this.store(states);
        states = [];
        bytes = 0;
      }
      if (states.length > 0 && !this.passes.stopped) await this.store(states);
    } catch (error) {
      this.deps.logger.warn('states of producers could not be stored; the next pass tries again', {
        streams: due.length,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }

  /** Streams with leftovers; with too many objects of states, all streams that name one. */
  private due(): StreamName[] {
    const { scope } = this.deps;
    const { image } = this.deps.metadata;
    const due: StreamName[] = [];
    const renew = image.stateObjects.size > stateObjectsMax;
    if (image.leftoverObjects.size === 0 && !renew) return due;
    for (const topic of image.topicsById.values()) {
      for (const { topicId, partition, state, leftovers, stateObject } of topic.partitions) {
        if (!scope.mine(topicId, partition)) continue;
        if (state === 'open' && (leftovers.length > 0 || (renew && stateObject !== '')))
          due.push({ topicId, partition });
      }
    }
    return due;
  }

  /** One object and one commit. Streams without producers name none. */
  private async store(states: readonly StreamState[]): Promise<void> {
    const { metadata, ids, upload, identity } = this.deps;
    const known = states.filter(({ producers }) => producers.length > 0);
    let object = { objectId: '', size: 0 };
    if (known.length > 0) {
      const [objectId] = await ids.take(1);
      const result = await upload({
        ...identity,
        objectId: objectId!,
        sequence: 0,
        streams: [],
        states: known,
      });
      if (result.error !== undefined) {
        this.discard(objectId!);
        throw errorFromWire(result.error);
      }
      object = { objectId: result.objectId, size: result.size };
    }
    const streams: Named[] = states.map(({ topicId, partition, endOffset, producers }) => ({
      topicId,
      partition,
      offset: endOffset,
      stateObject: producers.length > 0 ? object.objectId : '',
    }));
    try {
      await metadata.commit([{ type: 'states', objects: known.length > 0 ? [object] : [], streams }]);
    } catch (error) {
      // Any other failure leaves the commit's fate open.
      if (known.length > 0 && hasCode(error, 'METADATA_CONDITION')) this.discard(object.objectId);
      throw error;
    }
    this.stored += states.length;
  }

  private discard(objectId: string): void {
    this.deps.discard([objectId]).catch(() => {
      // Then the sweep of orphans finds it.
    });
  }

  async stop(): Promise<void> {
    await this.passes.stop();
    await this.current;
  }
}
