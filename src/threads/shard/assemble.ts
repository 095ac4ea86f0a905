/**
 * Joins a shard to its rings: completions of the WALs and messages of the other shards are the work of one waiter on
 * the shard's doorbell. Used by the shard thread, and by main where main is the only shard (portable path).
 */

import { socketDial } from '../../net/outgoing-socket.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import type { ControlPlane } from '../../requests/support/control-plane.ts';
import { composeShard } from '../../shard/compose-shard.ts';
import { LinkPeers } from '../../shard/peers/peers.ts';
import { ShardHost } from '../../shard/shard-host.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { ThreadNative } from '../adapters/thread-native.ts';
import { attachLink, LinkPump } from '../link.ts';
import type { SharedArena } from '../memory/arena.ts';
import { attachDoorbell } from '../memory/doorbell.ts';
import { Ring } from '../memory/ring.ts';
import { LoopWaiter, wakeSource } from '../memory/waiter.ts';
import { BatchWish } from '../wal/batch-wish.ts';
import { RingWal } from '../wal/ring-wal.ts';
import { WatchedEpoch } from '../wal/write-watch.ts';
import type { ShardHelpers, ShardWorkerData } from './contract.ts';
import { eventFdNative } from './event-fd.ts';
import { ShardWork } from './shard-work.ts';

export interface AssembleParts {
  readonly data: ShardWorkerData;
  readonly arena: SharedArena;
  readonly native: ThreadNative;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly store: ObjectStore;
  readonly control: ControlPlane;
  readonly helpers: ShardHelpers;
}

export function assembleShard(parts: AssembleParts): { host: ShardHost; waiter: LoopWaiter } {
  const { data, arena, native, clock } = parts;
  const wals = data.wals.map(
    ({ logId, lane, walBell, stats, watch, wish }, volume) =>
      new RingWal(
        volume,
        logId,
        new Ring(lane.appends),
        new Ring(lane.completions),
        attachDoorbell(walBell, native.native),
        stats,
        new WatchedEpoch(watch),
        new BatchWish(wish),
      ),
  );
  const pump = new LinkPump();
  const links = data.links.map((link) =>
    link === null ? null : attachLink(link.memory, link.side, native.native),
  );
  const peers = links.every((link) => link === null)
    ? null
    : new LinkPeers(data.seed.settings.index, links, pump, arena);
  const dial = socketDial(data.tls);
  const shard = composeShard(data.seed, {
    ...parts,
    alone: data.alone,
    session: data.session,
    wals,
    peers,
    dial,
  });
  const host = new ShardHost(
    shard,
    data.tls,
    data.tlsListeners,
    parts.logger,
    data.seed.nativeSockets ? native.native : null,
    data.addresses,
  );
  const work = new ShardWork(wals, pump, () => shard.flush());
  const turn = (): boolean => work.turn();
  const waiter = new LoopWaiter(
    wakeSource(data.bell, clock, eventFdNative(native.native)),
    { turn: () => host.turn(turn), pending: () => work.pending() },
    clock,
  );
  waiter.start();
  return { host, waiter };
}
