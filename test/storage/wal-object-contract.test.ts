/** The WAL contract over objects: in memory, in files, and on a real S3 server where one can be had. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FileStore } from '../../src/store/file-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { startS3 } from '../support/s3-server.ts';
import { HandClock, seededRandom } from '../support/store-fixtures.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import { walContract } from './wal-contract.ts';
import { crc32c } from './wal-fixtures.ts';
import { objectKind } from './wal-object-kind.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-object-wal-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** Virtual time in small steps; real I/O gets its turns between them, and a rest where it is slow. */
function patient(restMs: number): (clock: VirtualClock, condition: () => boolean) => Promise<void> {
  return async (clock, condition) => {
    for (let turns = 0; !condition(); turns++) {
      assert(turns < 300_000, 'the condition never holds');
      await clock.advanceAsync(0.05);
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  };
}

const memory = new MemoryStore(new HandClock());
walContract(objectKind('object, memory store', () => Promise.resolve(memory), patient(0)));

const files = await FileStore.open(directory, { clock: new HandClock(), random: seededRandom(3) });
walContract(objectKind('object, file store', () => Promise.resolve(files), patient(0)));

const server = await startS3();
if (typeof server === 'string') {
  test('object, s3', { skip: server }, () => {});
} else {
  after(() => server.stop());
  await server.createBucket('wal');
  const s3 = await openStore(
    `s3://wal/some/cluster?endpoint=${server.endpoint}&region=us-east-1&pathStyle=true`,
    {
      clock: new HandClock(),
      random: seededRandom(4),
      crc32c,
      s3: { credentials: server.credentials },
    },
  );
  after(() => s3.close());
  walContract(objectKind('object, s3', () => Promise.resolve(s3), patient(1)));
}
