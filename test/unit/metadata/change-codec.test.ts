import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeEntry, EntryEncoder, encodeEntry } from '../../../src/metadata/change-codec.ts';
import { decodeImage, encodeImage } from '../../../src/metadata/image-codec.ts';
import type { Commit, MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { everyChange, id, oid, topic, upload } from './fixtures.ts';

const by = (...changes: MetadataChange[]): Commit => ({ author: { node: 1, epoch: 4 }, changes });

const hasErrorCode = (code: string) => (error: unknown) =>
  error instanceof MillraceError && error.code === code;

describe('metadata change codec', () => {
  it('gives back every kind of change', () => {
    const commits = [
      { author: null, changes: everyChange },
      { author: { node: 0, epoch: 3 }, changes: [] },
      { author: { node: 7, epoch: 1 }, changes: [everyChange[0]!] },
    ];
    assert.deepEqual(decodeEntry(encodeEntry(commits)), commits);
  });

  it('has a place for every timestamp and offset that is an exact number', () => {
    const largest = Number.MAX_SAFE_INTEGER;
    for (const maxTimestamp of [-1, 0, 2 ** 52 - 1, 2 ** 52, 2 ** 52 + 1, largest - 1, largest]) {
      const range = { ...upload0, topicId: id(0), baseOffset: largest - 1, endOffset: largest, maxTimestamp };
      const commits = [{ author: null, changes: [topic(0, 1), upload(1, oid(1), range)] }];
      assert.deepEqual(decodeEntry(encodeEntry(commits)), commits, `${maxTimestamp}`);
    }
  });

  it('keeps these bytes', () => {
    const entry = encodeEntry([
      {
        author: { node: 2, epoch: 5 },
        changes: [topic(0, 3), upload(5, oid(0xabc), { ...upload0, topicId: id(0) })],
      },
    ]);
    assert.equal(
      entry.toString('hex'),
      '0701' + // version, one topic id
        '01000000000000000000000000000000' +
        '0305' + // node 2, epoch 5
        '02' + // two changes
        '01' +
        '07' +
        '746f7069632d30' +
        '00' +
        '03' +
        '00' +
        '00' +
        '0a' +
        '02' +
        '7731' +
        '05' +
        '80a001' +
        'effdb6f50d' +
        '80d095ffbc31' +
        '01' +
        '0000000000000abc' +
        '8020' +
        '01' +
        '00' +
        '02' +
        'ac02' +
        '64' +
        '13' +
        'd00f',
    );
  });

  it('takes at most 19 bytes per range of an upload over 5,000 streams', () => {
    const ranges = Array.from({ length: 5_000 }, (_, i) => ({
      topicId: id(i % 50),
      partition: i % 100,
      baseOffset: 3e9 + i,
      endOffset: 3e9 + i + 500,
      maxTimestamp: 1_700_000_000_000 - i * 10,
      bytes: 50_000 + i,
    }));
    const bytes = encodeEntry([by(upload(1, oid(1), ...ranges))]);
    assert.ok(bytes.length / 5_000 <= 19, `${bytes.length / 5_000} bytes per range`);
  });

  it('reads brokers as version 4 wrote them, with the address of one listener', () => {
    // no author, one change: type 14, node 3, epoch 9, 'h', port 9092, no rack
    const [commit] = decodeEntry(
      Buffer.from('0400' + '00' + '01' + '0e0309' + '0168' + '8447' + '00', 'hex'),
    );
    assert.deepEqual(commit!.changes, [
      {
        type: 'broker',
        node: 3,
        epoch: 9,
        endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 9092 }],
        rack: null,
      },
    ]);
  });

  it('reads id blocks as version 5 wrote them, without their first id', () => {
    // no author, one change: type 13, producers, next 1000
    const [commit] = decodeEntry(Buffer.from('0500' + '00' + '01' + '0d00' + 'e807', 'hex'));
    assert.deepEqual(commit!.changes, [{ type: 'idBlock', kind: 'producer', first: 0, next: 1_000 }]);
  });

  it('reads brokers of a snapshot of version 3 alike', () => {
    // revision 7, cluster 'c', no ids yet; one broker; nothing else
    const bytes = Buffer.from(`0300${'07'}0163000000${'01'}03090168844700${'00'.repeat(7)}`, 'hex');
    const { image } = decodeImage(bytes);
    assert.equal(image.revision, 7);
    assert.deepEqual(image.brokers.get(3), {
      epoch: 9,
      state: 'active',
      endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 9092 }],
      rack: null,
      idFloor: 0,
    });
  });

  it('reads a snapshot of version 5, which knew no restores, and keeps one that is told', () => {
    // revision 7, cluster 'c', its own journal, no ids, no broker, none retired, no controller; nothing else
    const bytes = Buffer.from(`0500${'07'}0163${'000000'}000000${'00'}00${'01'}${'00'.repeat(7)}`, 'hex');
    const builder = decodeImage(bytes);
    assert.deepEqual([builder.image.restored, builder.image.controller], [null, -1]);
    const mark = { cut: 7, revision: 90, timeMs: 5, incarnation: 'i', leaderEpoch: 70_000, keptFrom: 3 };
    builder.apply([{ type: 'restored', ...mark, brokerEpoch: 8, producerId: 9, objectId: 10 }]);
    const { image } = decodeImage(encodeImage(builder.image));
    assert.deepEqual(image.restored, mark);
    const { revision, retiredEpoch, nextProducerId, nextObjectId } = image;
    assert.deepEqual([revision, retiredEpoch, nextProducerId, nextObjectId], [90, 8, 9, 10]);
  });

  it('refuses another version with its number, and every truncation', () => {
    const bytes = encodeEntry([by(...everyChange)]);
    const newer = Buffer.from(bytes);
    newer[0] = 8;
    assert.throws(() => decodeEntry(newer), /version 8; this release reads versions 1 to 7/);
    for (let length = 1; length < bytes.length; length += 3) {
      let decoded: unknown = null;
      try {
        decoded = decodeEntry(bytes.subarray(0, length));
      } catch (error) {
        assert.ok(hasErrorCode('METADATA_CORRUPT')(error), String(error));
      }
      // Only a cut right behind the table reads as an entry: one without commits.
      if (decoded !== null) assert.deepEqual(decoded, []);
    }
  });

  it('answers damage with METADATA_CORRUPT or other values, never with anything else', () => {
    const random = seededRandom(11);
    const bytes = encodeEntry([by(...everyChange)]);
    for (let round = 0; round < 3_000; round++) {
      const damaged = Buffer.from(bytes);
      damaged[1 + random.below(bytes.length - 1)] = random.below(256);
      try {
        decodeEntry(damaged);
      } catch (error) {
        assert.ok(hasErrorCode('METADATA_CORRUPT')(error), String(error));
      }
    }
  });

  it('adds nothing of a commit that has no place in the format', () => {
    const encoder = new EntryEncoder();
    encoder.add(by(topic(1)));
    assert.throws(
      () => encoder.add(by(topic(2), { type: 'idBlock', kind: 'object', first: 0, next: -1 })),
      RangeError,
    );
    assert.throws(() => encoder.add(by({ type: 'topicDeleted', topicId: 'short' })), RangeError);
    assert.throws(() => encoder.add(by(upload(1, 'not hex'))), RangeError);
    encoder.add(by(topic(3)));
    assert.deepEqual(decodeEntry(encoder.finish()), [by(topic(1)), by(topic(3))]);
  });
});

const upload0 = {
  topicId: '',
  partition: 2,
  baseOffset: 300,
  endOffset: 400,
  maxTimestamp: 1_700_000_000_000 - 10,
  bytes: 2_000,
};
