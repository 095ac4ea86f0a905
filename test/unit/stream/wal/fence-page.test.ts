/** The fence page: what it says, that no other bytes say it, and what an owner makes of what it finds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import {
  decodeFence,
  encodeFence,
  FenceCheck,
  fencePosition,
  readFence,
  writeFence,
} from '../../../../src/stream/wal/fence-page.ts';
import { pageBytes } from '../../../../src/stream/wal/wal-limits.ts';
import { MemoryWalDevice } from '../../../support/memory-wal-device.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

const { crc32c } = portableCrc32c();
const fence = {
  logId: 'AAECAwQFBgcICQoLDA0ODw',
  clusterId: 'Dw4NDAsKCQgHBgUEAwIBAA',
  epoch: 2 ** 40 + 3,
  writer: 'node 7 on host',
};
const page = (of: Partial<typeof fence> = {}, seed = 1): Buffer =>
  encodeFence({ ...fence, ...of }, new SeededRandom(seed), crc32c);

test('a page says what was written, and no changed byte goes unseen', () => {
  assert.deepEqual(decodeFence(page(), crc32c), fence);
  const bytes = page();
  for (let at = 0; at < pageBytes; at++) {
    bytes[at]! ^= 1;
    assert.equal(decodeFence(bytes, crc32c), null, `byte ${at}`);
    bytes[at]! ^= 1;
  }
  assert.deepEqual(decodeFence(bytes, crc32c), fence);
  assert.equal(decodeFence(Buffer.alloc(pageBytes), crc32c), null);
});

test('the name of the writer has a bound, and two pages that say the same are not the same', () => {
  const long = 'w'.repeat(300);
  assert.equal(decodeFence(page({ writer: long }), crc32c)!.writer, long.slice(0, 200));
  assert.equal(decodeFence(page({ writer: '' }), crc32c)!.writer, '');
  assert.notDeepEqual(page({}, 1), page({}, 2));
});

test('a page is read from its place on the volume, whole or not at all', async () => {
  const device = new MemoryWalDevice();
  const empty = new MemoryWalDevice({ image: Buffer.alloc(fencePosition) });
  assert.equal(await readFence(empty, crc32c), null, 'a volume that ends before');
  await writeFence(device, page());
  assert.equal(device.size(), fencePosition + pageBytes);
  assert.deepEqual(device.image.subarray(fencePosition), page());
  assert.deepEqual(await readFence(device, crc32c), fence);
  const short = new MemoryWalDevice({ image: device.image.subarray(0, device.size() - 1) });
  assert.equal(await readFence(short, crc32c), null);
  await assert.rejects(writeFence(new MemoryWalDevice({ limitBytes: fencePosition }), page()), /no space/);
});

test('an owner looks past every cache, or into the page cache where no other machine writes', () => {
  const look = () => {};
  const device = (more: object) => Object.assign(new MemoryWalDevice(), more);
  const of = (cached: boolean, more: object) => FenceCheck.of(page(), cached, device(more), crc32c) !== null;
  assert.equal(FenceCheck.of(undefined, false, device({}), crc32c), null);
  assert.equal(of(true, {}), false);
  assert.equal(of(true, { peek: look }), true);
  assert.equal(of(false, { reread: look }), true);
  for (const more of [{}, { peek: look }, { reread: look, direct: false }])
    assert.throws(() => of(false, more), { code: 'WAL_NOT_DIRECT' });
});

test('what an owner finds is its own page, byte for byte, or the log is fenced and it says by whom', () => {
  let found: { readonly error?: Error; readonly bytes: Buffer };
  let position = -1;
  const look = (into: Buffer, at: number, done: (error: Error | null, bytes: number) => void): void => {
    position = at;
    found.bytes.copy(into);
    done(found.error ?? null, found.bytes.length);
  };
  for (const cached of [true, false]) {
    const device = Object.assign(new MemoryWalDevice(), {
      peek: cached ? look : () => assert.fail(),
      reread: cached ? () => assert.fail() : look,
    });
    const own = page();
    const check = FenceCheck.of(own, cached, device, crc32c)!;
    own.fill(0);
    const said = (what: typeof found): string | null => {
      found = what;
      let answer: string | null | undefined;
      check.read((error) => {
        if (error !== null) assert.equal((error as { code?: string }).code, 'WAL_FENCED');
        answer = error?.message.replace(/^the write-ahead log is fenced: /, '') ?? null;
      });
      assert.notEqual(answer, undefined);
      return answer!;
    };
    assert.equal(said({ bytes: page() }), null);
    assert.equal(position, fencePosition);
    assert.equal(said({ bytes: page({ epoch: 9, writer: 'node 8' }) }), 'node 8 took over with epoch 9');
    assert.equal(said({ bytes: page({}, 2) }), `${fence.writer} took over with epoch ${fence.epoch}`);
    assert.equal(said({ bytes: Buffer.alloc(pageBytes) }), 'its fence page is damaged');
    assert.equal(
      said({ bytes: page().subarray(0, pageBytes - 1) }),
      `${fence.writer} took over with epoch ${fence.epoch}`,
    );
    assert.equal(
      said({ bytes: Buffer.alloc(0) }),
      'its fence page is damaged',
      'nothing of an earlier look is left',
    );
    assert.equal(said({ bytes: page(), error: new Error('EIO') }), 'its fence page cannot be read');
    const newer = page();
    newer.writeUInt32LE(99, 12);
    newer.writeUInt32LE(crc32c(newer, 12, pageBytes - 12) >>> 0, 8);
    assert.match(said({ bytes: newer })!, /version 99/);
    assert.equal(said({ bytes: page() }), null);
  }
});
