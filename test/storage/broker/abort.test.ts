/** A broker that is ended at once, in a process that goes on: nothing of it works on, and nothing of it talks. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { embeddedSettings, startBroker } from '../../../src/embedded/index.ts';
import type { Logger } from '../../../src/ports/logger.ts';
import { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer } from './kafka-calls.ts';

/** Many rounds of the upload loop, which looks five times a second. */
const quietMs = 1_000;

for (const threads of ['0', '1']) {
  test(`with ${threads} threads`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-abort-'));
    const said: string[] = [];
    const say = (message: string): void => void said.push(message);
    const logger: Logger = { debug: say, info: say, warn: say, error: say };
    try {
      const settings = embeddedSettings({
        threads,
        'data.dir': directory,
        'store.url': pathToFileURL(join(directory, 'store')).href,
        'wal.url': pathToFileURL(join(directory, 'wal')).href,
      });
      const broker = await startBroker({ settings, logger });
      const [host, port] = broker.addresses.plain!.split(':');
      const connection = await RawConnection.connect({ host: host!, port: Number(port) });
      await connection.createTopic('records', 1);
      await (await CountingProducer.create(connection, 'records')).produce(connection, 3);
      await broker.abort();
      await connection.closed;
      const before = said.length;
      await delay(quietMs);
      assert.deepEqual(said.slice(before), []);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}
