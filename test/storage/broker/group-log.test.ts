/** The log of committed offsets stays short however much is committed, and a crash at any time finds the last offsets. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { eventually, type RawConnection } from '../../support/raw-client.ts';
import { commitOffset } from './kafka-calls.ts';

const topic = 'records';
const group = 'readers';
const partitions = 200;
const offsetsTopic = '__consumer_offsets';

describe('the log of committed offsets', () => {
  let bed: BrokerBed;
  afterEach(() => bed.dispose());

  const commitAll = async (connection: RawConnection, offset: number): Promise<void> => {
    const answer = await connection.request(OffsetCommitCodec, 7, {
      groupId: group,
      generationIdOrMemberEpoch: -1,
      topics: [
        {
          name: topic,
          partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({
            partitionIndex,
            committedOffset: offset,
            committedMetadata: '',
          })),
        },
      ],
    });
    const bad = answer.topics[0]!.partitions.find(({ errorCode }) => errorCode !== 0);
    assert.equal(bad, undefined);
  };
  /** Records that a load of all offsets partitions reads, and those ever written. */
  const lengths = async (connection: RawConnection): Promise<{ read: number; written: number }> => {
    const metadata = await connection.request(MetadataCodec, 9, { topics: [{ name: offsetsTopic }] });
    let read = 0;
    let written = 0;
    for (const { partitionIndex } of metadata.topics[0]!.partitions) {
      const end = await connection.listOffset(offsetsTopic, partitionIndex, -1);
      read += end - (await connection.listOffset(offsetsTopic, partitionIndex, -2));
      written += end;
    }
    return { read, written };
  };
  const offsets = async (connection: RawConnection): Promise<number[]> =>
    eventually(async () => {
      const answer = await connection.request(OffsetFetchCodec, 6, { groupId: group, topics: null });
      assert.equal(answer.errorCode, 0);
      return answer.topics[0]!.partitions.map(({ committedOffset }) => committedOffset);
    });

  test('after many commits, and after a crash in the middle of them', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, partitions);
    await commitOffset(connection, group, topic, 0);
    const rounds = 150;
    for (let round = 1; round <= rounds; round++) await commitAll(connection, round);
    await eventually(async () => {
      const { read, written } = await lengths(connection);
      assert.ok(written > rounds * partitions, `${written} records`);
      assert.ok(read <= 10_000 + partitions, `${read} of ${written} records are left to read`);
    });
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await offsets(connection), new Array<number>(partitions).fill(rounds));
    await commitAll(connection, rounds + 1);
    await bed.stop();
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await offsets(connection), new Array<number>(partitions).fill(rounds + 1));
  });
});
