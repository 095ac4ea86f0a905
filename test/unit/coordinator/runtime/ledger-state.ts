/**
 * A coordinator small enough to be obvious: numbers by name, set or deleted by records. It runs ahead of the log, or holds
 * durable records only, as the test wants.
 */
import type {
  CoordinatorRecord,
  EndMarker,
  TransactionalProducer,
} from '../../../../src/coordinator/runtime/coordinator-log.ts';
import { CoordinatorRuntime } from '../../../../src/coordinator/runtime/coordinator-runtime.ts';
import {
  type CoordinatorState,
  type PartitionContext,
  type Replayed,
  replayed,
} from '../../../../src/coordinator/runtime/coordinator-state.ts';
import { type Logger, silentLogger } from '../../../../src/ports/logger.ts';
import { ProtocolDecodeError } from '../../../../src/protocol/codec-errors.ts';
import { MemoryCoordinatorLog } from '../../../support/coordinator-log.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

/** "?" is of an unknown kind, "/" belongs to another partition, an empty key is malformed, and so is an empty value. */
export function record(name: string, value: number | null): CoordinatorRecord {
  return { key: Buffer.from(name), value: value === null ? null : Buffer.from(String(value)) };
}

export class LedgerState implements CoordinatorState {
  readonly context: PartitionContext;
  readonly values = new Map<string, number>();
  readonly open = new Map<number, Map<string, number | null>>();
  readonly calls: string[] = [];

  constructor(context: PartitionContext) {
    this.context = context;
  }

  replay(
    key: Buffer,
    value: Buffer | null,
    _offset: number,
    producer: TransactionalProducer | null,
  ): Replayed {
    const name = key.toString();
    if (name.startsWith('?')) return replayed.foreign;
    if (name.startsWith('/')) return replayed.misplaced;
    if (name === '' || value?.length === 0) throw new ProtocolDecodeError('nothing there');
    const number = value === null ? null : Number(value.toString());
    if (producer === null) this.set(name, number);
    else {
      const open = this.open.get(producer.producerId) ?? new Map<string, number | null>();
      this.open.set(producer.producerId, open.set(name, number));
    }
    return replayed.applied;
  }

  set(name: string, value: number | null): void {
    if (value === null) this.values.delete(name);
    else this.values.set(name, value);
  }

  endTransaction({ producerId, committed }: EndMarker): void {
    const open = this.open.get(producerId);
    this.open.delete(producerId);
    if (committed) for (const [name, value] of open ?? []) this.set(name, value);
  }

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    for (const [name, value] of this.values) yield record(name, value);
  }

  started(): void {
    this.calls.push('started');
  }

  expire(): void {
    this.calls.push('expire');
  }

  topicDeleted(_topicId: string, name: string): void {
    this.calls.push(`deleted ${name}`);
  }

  close(): void {
    this.calls.push('close');
  }
}

export interface LedgerRig {
  readonly clock: VirtualClock;
  readonly log: MemoryCoordinatorLog;
  readonly runtime: CoordinatorRuntime<LedgerState>;
  /** Every life there was, oldest first. */
  readonly lives: LedgerState[];
  readonly warnings: string[];
  /** The state, which must be loaded. */
  state(partition?: number): LedgerState;
}

export function ledger(
  settings: { snapshotRecordsMin?: number; pendingBytesMax?: number } = {},
  log?: (clock: VirtualClock) => MemoryCoordinatorLog,
): LedgerRig {
  const clock = new VirtualClock();
  const memory = log?.(clock) ?? new MemoryCoordinatorLog(clock);
  const lives: LedgerState[] = [];
  const warnings: string[] = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (message, fields) => warnings.push(`${message} ${JSON.stringify(fields)}`),
  };
  const runtime = new CoordinatorRuntime(
    {
      topic: '__ledger',
      clock,
      random: new SeededRandom(1),
      logger,
      log: memory,
      settings: {
        pendingBytesMax: 1_000_000,
        snapshotRecordsMin: 10_000,
        reloadDelayMs: 100,
        expireIntervalMs: 60_000,
        ...settings,
      },
    },
    (context) => {
      const state = new LedgerState(context);
      lives.push(state);
      return state;
    },
  );
  return {
    clock,
    log: memory,
    runtime,
    lives,
    warnings,
    state(partition = 0) {
      const state = runtime.at(partition);
      if (typeof state === 'number') throw new Error(`partition ${partition} is not loaded: ${state}`);
      return state;
    },
  };
}
