import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { silentLogger } from '../../src/ports/logger.ts';
import { ObjectSequencedLog } from '../../src/store/object-sequenced-log.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { s3ServerNames } from '../support/s3-programs.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';
import { crc32cForTests, HandClock, seededRandom } from '../support/store-fixtures.ts';
import { code, storeContract } from './store-contract.ts';

const clock = new HandClock();

for (const name of s3ServerNames) {
  const server = await startS3({ name });
  if (typeof server === 'string') it(`object store contract: s3 of ${name}`, { skip: server }, () => {});
  else {
    after(() => server.stop());
    await server.createBucket('millrace');
    s3Tests(server);
  }
}

function s3Tests(server: S3Server): void {
  const open = (prefix: string, accessKeyId = 'test', endpoint = server.endpoint): Promise<ObjectStore> =>
    openStore(`s3://millrace/${prefix}?endpoint=${endpoint}&region=us-east-1&pathStyle=true`, {
      clock,
      random: seededRandom(1),
      crc32c: crc32cForTests,
      s3: { credentials: { ...server.credentials, accessKeyId } },
    });

  storeContract(
    `s3 of ${server.name}`,
    async () => ({ store: await open('some/cluster'), stop: async () => {} }),
    5 * 1024 * 1024,
  );

  describe(`s3 store on ${server.name}`, () => {
    it('keeps clusters of one bucket apart', async () => {
      const [a, b] = [await open('a'), await open('b')];
      await a.put('meta/log/0', [Buffer.from('a')], { ifAbsent: true });
      await b.put('meta/log/0', [Buffer.from('b')], { ifAbsent: true });
      assert.deepEqual(
        (await a.list('')).map((info) => info.key),
        ['meta/log/0'],
      );
      assert.equal((await b.get('meta/log/0')).toString(), 'b');
      await Promise.all([a.close(), b.close()]);
    });

    it('carries the sequenced log', async () => {
      const store = await open('log');
      const log = (writer: string) =>
        new ObjectSequencedLog({
          store,
          entryPrefix: 'meta/log/',
          snapshotPrefix: 'meta/snap/',
          writer,
          clock,
          random: seededRandom(writer.charCodeAt(0)),
          logger: silentLogger,
          crc32c: crc32cForTests,
        });
      const first = log('a');
      assert.equal(await first.initialise(Buffer.from('birth')), true);
      await first.seal();
      assert.equal(await first.append(Buffer.from('x')), 2);
      const second = log('b');
      assert.equal(await second.seal(), 2);
      assert.equal(await code(first.append(Buffer.from('y'))), 'fenced METADATA_FENCED');
      await store.close();
    });

    it('says that a server is not there', async () => {
      const store = await open('gone', 'test', 'http://127.0.0.1:9');
      assert.equal(await code(store.get('x')), 'unavailable STORE_UNAVAILABLE');
      assert.equal(await code(store.put('x', [])), 'unavailable STORE_UNAVAILABLE');
      await store.close();
    });
  });
}
