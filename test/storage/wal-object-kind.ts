/** The object WAL as a kind of the WAL contract, over any store; the freed cuts stand in for the metadata. */
import assert from 'node:assert/strict';
import { silentLogger } from '../../src/ports/logger.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { SequencedEntries } from '../../src/store/sequenced-entries.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import {
  createObjectWal,
  type ObjectWalIdentity,
  ObjectWalRecovery,
  type RecoveredObjectWal,
} from '../../src/stream/wal/object-wal-recovery.ts';
import type { ObjectWalSettings } from '../../src/stream/wal/object-wal-writer.ts';
import { PayloadReader } from '../../src/stream/wal/payload-reader.ts';
import type { WalCut } from '../../src/stream/wal/wal.ts';
import { WalWindow } from '../../src/stream/wal/wal-window.ts';
import { FaultDisk } from '../support/fault-disk.ts';
import { seededRandom } from '../support/store-fixtures.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import type { Kind } from './wal-contract.ts';
import { clusterId, crc32c, logId } from './wal-fixtures.ts';

const window = new WalWindow(new FaultDisk());
let writers = 0;

export const noCut: WalCut = { sequence: 0, position: 0, chainCrc: 0 };

export function identityOn(
  store: ObjectStore,
  name: string,
  writer = `writer ${++writers}`,
): ObjectWalIdentity {
  const entries = new SequencedEntries({
    store,
    entryPrefix: `wal/${name}/`,
    writer,
    random: seededRandom(1_000 + ++writers),
    crc32c,
  });
  return { entries, crc32c, logId, clusterId };
}

/** Every batch's bytes, each checked. */
export async function batchesOf(found: RecoveredObjectWal): Promise<Buffer[]> {
  window.reset(found.bytes as FaultDisk);
  const reader = new PayloadReader(found.bytes, crc32c, window);
  const all: Buffer[] = [];
  for (let i = 0; i < found.batches.count; i++) {
    const into = Buffer.alloc(found.batches.lengths[i]!);
    assert.equal(await reader.read(found.batches, i, into, 0), into.length);
    all.push(into);
  }
  return all;
}

export function objectKind(
  name: string,
  store: () => Promise<ObjectStore>,
  until: Kind['until'],
  settings: ObjectWalSettings = { lingerMs: 0 },
): Kind {
  const freed = new Map<string, WalCut>();
  const epochs = new Map<string, number>();
  return {
    name,
    async open(wal, clock, { capacityBytes, queueEntries, arena }) {
      const identity = identityOn(await store(), wal);
      if (!freed.has(wal)) {
        await createObjectWal(identity, 0, capacityBytes);
        freed.set(wal, noCut);
      }
      const recovery = await ObjectWalRecovery.open(identity, freed.get(wal)!, capacityBytes);
      const recovered = await recovery.claim(clock, epochs.get(wal) ?? 0);
      epochs.set(wal, recovered.superblock.epoch);
      assert.notEqual(recovered.state, 'damaged', recovered.reasons.join());
      const inline = InlineWal.overObjects(
        {
          entries: identity.entries,
          clock,
          logger: silentLogger,
          arena,
          crc32c,
          settings,
          ...(queueEntries === undefined ? {} : { queueEntries }),
        },
        recovered,
      );
      const trim = inline.trim.bind(inline);
      inline.trim = async (cut) => {
        // As the metadata does: committed before the log hears of it.
        const { cut: durable } = await inline.status();
        if (cut.sequence <= durable.sequence && cut.sequence > freed.get(wal)!.sequence) {
          freed.set(wal, { ...cut });
        }
        return trim(cut);
      };
      return inline;
    },
    async recovered(wal) {
      const identity = identityOn(await store(), wal);
      const recovery = await ObjectWalRecovery.open(identity, freed.get(wal)!, 1 << 30);
      await recovery.read();
      await recovery.lookBehind();
      const found = await recovery.result();
      return { found, batches: await batchesOf(found) };
    },
    newClock: () => new VirtualClock(),
    until,
  };
}
