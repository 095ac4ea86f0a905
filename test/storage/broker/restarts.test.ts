/** A process that starts and stops brokers again and again has no more descriptors and no more memory than before. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { embeddedSettings, startBroker } from '../../../src/embedded/index.ts';

const arenaBytes = 32 * 1024 * 1024;
/** WebAssembly reserves this much, and a guard, for any shared memory. */
const arenaAddressBytes = 8 * 2 ** 30;
const arenasMax = 4;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Holdings {
  readonly descriptors: number;
  /** Address space: every arena reserves gigabytes of it until it is collected. */
  readonly addressBytes: number;
  readonly residentBytes: number;
}

/** What this process holds once nothing more is given back. */
async function holdings(): Promise<Holdings> {
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const status = readFileSync('/proc/self/status', 'latin1');
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1]) * 1024;
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    addressBytes: bytes('VmSize'),
    residentBytes: bytes('VmRSS'),
  };
}

for (const { threads, starts } of [
  { threads: 0, starts: 50 },
  { threads: 2, starts: 12 },
]) {
  test(`${starts} starts and stops with ${threads} shard threads`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-restarts-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const once = async (): Promise<void> => {
      const broker = await startBroker({
        settings: embeddedSettings({
          threads,
          'arena.bytes': arenaBytes,
          ...(threads === 0
            ? {}
            : {
                'data.dir': directory,
                'store.url': `file://${join(directory, 'store')}`,
                'wal.url': `file://${join(directory, 'wal')}`,
                'wal.capacity': '64MiB',
              }),
        }),
      });
      assert.equal(await broker.stop(), 'clean');
    };
    // The first ones load code and warm pools up.
    for (let i = 0; i < 3; i++) await once();
    const before = await holdings();
    for (let i = 0; i < starts; i++) await once();
    const after = await holdings();
    t.diagnostic(`${JSON.stringify(before)} → ${JSON.stringify(after)}`);
    assert.ok(
      after.descriptors <= before.descriptors + 2,
      `${after.descriptors} descriptors, ${before.descriptors} before`,
    );
    // One or two may not be collected yet.
    assert.ok(
      after.addressBytes - before.addressBytes < arenasMax * arenaAddressBytes,
      `${after.addressBytes - before.addressBytes} bytes of address space more`,
    );
    assert.ok(
      after.residentBytes - before.residentBytes < arenasMax * arenaBytes,
      `${after.residentBytes - before.residentBytes} resident bytes more`,
    );
  });
}
