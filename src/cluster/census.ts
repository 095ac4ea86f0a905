/**
 * Who is there and who has what, counted in one pass over the image: standing of brokers, homes of streams, use of logs. Pure;
 * O(partitions). A census is of one moment: whoever plans several steps counts on in it (spread.ts).
 *
 * - A stream's *home* is the broker that is to own it: its target, or where it is open or was last.
 * - A broker is *gone* when it is fenced or was never registered, *up* when its lease is in force under its registration.
 * - A log that a broker *has claimed* from a lost one holds streams that were opened by another; nothing new is opened there.
 */
import type { BrokerState, ClusterImage, WalRecord } from '../metadata/metadata-store.ts';
import { homeOf } from '../metadata/owners.ts';

/** A broker in force. */
export interface Standing {
  readonly node: number;
  readonly state: Exclude<BrokerState, 'fenced'>;
  /** What fails together: its rack, or the broker itself where it names none. */
  readonly domain: string;
  /** Its lease is in force under this registration. */
  readonly up: boolean;
  /** Up, active, and has a log of its own to write to: may be given streams. */
  readonly takes: boolean;
  /** Logs that it writes, by log id. */
  readonly logs: readonly WalRecord[];
  /** Claimed logs that it has not emptied yet. */
  readonly claimed: number;
  /** Streams whose home it is. */
  readonly streams: number;
}

/** Streams that are open in a log: of the broker whose it is, and of others. */
export interface LogUse {
  readonly own: number;
  readonly foreign: number;
}

export interface Census {
  /** Brokers in force, by node id ascending. */
  readonly brokers: ReadonlyMap<number, Standing>;
  readonly logs: ReadonlyMap<string, LogUse>;
}

const unused: LogUse = { own: 0, foreign: 0 };

/** @param alive node → epoch of those whose lease is in force; null = whoever is registered is taken for alive. */
export function censusOf(image: ClusterImage, alive: ReadonlyMap<number, number> | null): Census {
  const logs = new Map<string, { own: number; foreign: number }>();
  const streams = new Map<number, number>();
  for (const { partitions } of image.topicsById.values()) {
    for (const partition of partitions) {
      const home = homeOf(partition);
      streams.set(home, (streams.get(home) ?? 0) + 1);
      if (partition.state !== 'open') continue;
      const use = logs.get(partition.wal) ?? { own: 0, foreign: 0 };
      logs.set(partition.wal, use);
      if (image.wals.get(partition.wal)?.node === partition.node) use.own++;
      else use.foreign++;
    }
  }
  const written = new Map<number, WalRecord[]>();
  const claimed = new Map<number, number>();
  for (const wal of image.wals.values()) {
    const { foreign } = logs.get(wal.logId) ?? unused;
    if (foreign > 0) claimed.set(wal.node, (claimed.get(wal.node) ?? 0) + 1);
    if (wal.state !== 'open' || foreign > 0) continue;
    const own = written.get(wal.node);
    if (own === undefined) written.set(wal.node, [wal]);
    else own.push(wal);
  }
  const brokers = new Map<number, Standing>();
  for (const node of [...image.brokers.keys()].sort((a, b) => a - b)) {
    const { epoch, state, rack } = image.brokers.get(node)!;
    if (state === 'fenced') continue;
    const up = alive === null || alive.get(node) === epoch;
    const own = written.get(node) ?? [];
    brokers.set(node, {
      node,
      state,
      domain: rack === null ? `broker ${node}` : `rack ${rack}`,
      up,
      takes: up && state === 'active' && own.length > 0,
      logs: own,
      claimed: claimed.get(node) ?? 0,
      streams: streams.get(node) ?? 0,
    });
  }
  return { brokers, logs };
}
