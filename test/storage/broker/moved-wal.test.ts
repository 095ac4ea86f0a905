/** Write-ahead logs that lie elsewhere than the metadata say: found by their log id, unless they may be copies. */
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import type { BrokerConfig } from '../../../src/broker/broker-config.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';

describe('logs that were moved or copied', () => {
  let bed: BrokerBed;
  let producer: CountingProducer;
  afterEach(() => bed.dispose());

  const begin = async (): Promise<void> => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
  };
  /** The same broker with its data, and its log, below another directory. */
  const at = (name: string): Partial<BrokerConfig> => {
    const dataDir = join(bed.dir, name);
    const [wal] = bed.config().wals;
    return { dataDir, wals: [{ ...wal!, location: join(dataDir, 'wal') }] };
  };
  const produceMore = async (): Promise<void> => producer.produce(await bed.connect(), 2);
  const readBack = async (): Promise<void> =>
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
  const logFile = (name: string): string => {
    const wals = join(bed.dir, name, 'wal');
    return join(wals, readdirSync(wals).find((file) => file.endsWith('.wal'))!);
  };
  const recorded = (): string => {
    const [volume] = bed.broker['volumes'];
    return bed.broker['metadata'].image.wals.get(volume!.logId)!.location;
  };

  test('a crashed broker whose directory was moved goes on with its log, again and again', async () => {
    await begin();
    const { logId } = bed.broker['volumes'][0]!;
    for (const [from, to] of [
      ['data', 'elsewhere'],
      ['elsewhere', 'third'],
    ] as const) {
      await bed.crash();
      renameSync(join(bed.dir, from), join(bed.dir, to));
      bed.lines.length = 0;
      await bed.start(at(to));
      assert.equal(bed.broker['volumes'][0]!.logId, logId);
      const said = bed.lines.find(({ message }) => message.includes('was moved'));
      assert.deepEqual(said?.fields, { log: logId, recorded: logFileOf(from, logId), found: logFile(to) });
      assert.equal(recorded(), logFile(to));
      await readBack();
      await produceMore();
      await readBack();
    }
    await bed.crash();
    await bed.start(at('third'));
    await readBack();
  });

  const logFileOf = (name: string, logId: string): string => join(bed.dir, name, 'wal', `${logId}.wal`);

  test('only the file was moved: its owner left no lock beside it, so its records go into objects', async () => {
    await begin();
    const { logId } = bed.broker['volumes'][0]!;
    await bed.crash();
    mkdirSync(join(bed.dir, 'new', 'wal'), { recursive: true });
    renameSync(logFile('data'), join(bed.dir, 'new', 'wal', 'any-name.wal'));
    await bed.start(at('new'));
    assert.notEqual(bed.broker['volumes'][0]!.logId, logId);
    assert.equal(logFile('new'), recorded());
    await readBack();
    await produceMore();
    await bed.crash();
    await bed.start(at('new'));
    await readBack();
  });

  test('after a stop the empty log is used again where it is found', async () => {
    await begin();
    const { logId } = bed.broker['volumes'][0]!;
    await bed.stop();
    renameSync(join(bed.dir, 'data'), join(bed.dir, 'elsewhere'));
    await bed.start(at('elsewhere'));
    assert.equal(bed.broker['volumes'][0]!.logId, logId);
    await produceMore();
    await readBack();
  });

  test('a copy beside the original is refused, and taken once the original is away', async () => {
    await begin();
    await bed.crash();
    cpSync(join(bed.dir, 'data'), join(bed.dir, 'copy'), { recursive: true });
    await assert.rejects(bed.start(at('copy')), {
      code: 'WAL_COPIED',
      message: /is there twice.*Move away the copy; point --wal at/,
    });
    rmSync(join(bed.dir, 'data'), { recursive: true });
    copyFileSync(logFile('copy'), join(bed.dir, 'copy', 'wal', 'b.wal'));
    await assert.rejects(bed.start(at('copy')), { code: 'WAL_COPIED' });
    rmSync(join(bed.dir, 'copy', 'wal', 'b.wal'));
    await bed.start(at('copy'));
    await readBack();
  });

  for (const place of ['data', 'elsewhere']) {
    test(`a copy from before the last start is refused ${place === 'data' ? 'at its own place, too' : 'elsewhere'}`, async () => {
      await begin();
      await bed.crash();
      copyFileSync(logFile('data'), join(bed.dir, 'older'));
      await bed.start();
      await produceMore();
      await bed.crash();
      const name = logFile('data');
      rmSync(name);
      mkdirSync(join(bed.dir, place, 'wal'), { recursive: true });
      copyFileSync(join(bed.dir, 'older'), name.replace('/data/', `/${place}/`));
      await assert.rejects(bed.start(at(place)), {
        code: 'WAL_OLD_COPY',
        message: /is an older copy .* last opened under epoch 1, and the metadata record 2.*--abandon-wal/,
      });
    });
  }

  test('a copy of a running broker is refused once that has uploaded more', async () => {
    await begin();
    copyFileSync(logFile('data'), join(bed.dir, 'older'));
    await produceMore();
    await bed.upload();
    await bed.crash();
    const name = logFile('data').replace('/data/', '/elsewhere/');
    rmSync(join(bed.dir, 'data'), { recursive: true });
    mkdirSync(join(bed.dir, 'elsewhere', 'wal'), { recursive: true });
    copyFileSync(join(bed.dir, 'older'), name);
    await assert.rejects(bed.start(at('elsewhere')), {
      code: 'WAL_OLD_COPY',
      message: /it ends at commit \d+, and \d+ is in objects; the last upload was at/,
    });
  });

  test('a log that is nowhere is missing, wherever one looks', async () => {
    await begin();
    await bed.crash();
    renameSync(join(bed.dir, 'data'), join(bed.dir, 'lost'));
    await assert.rejects(bed.start(at('new')), { code: 'WAL_MISSING' });
  });
});
