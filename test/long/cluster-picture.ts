/**
 * What clients can see of a cluster apart from its records: topics with ids and settings of their own, log starts and
 * ends, groups with committed offsets. Equal as text before and after a move, and equal by hash. Leader epochs are not in
 * it: they rise with every start. Neither are the ends of internal topics, which groups write to by themselves.
 */
import { createHash } from 'node:crypto';
import { DescribeConfigsCodec } from '../../src/protocol/generated/describe-configs.ts';
import { ListGroupsCodec } from '../../src/protocol/generated/list-groups.ts';
import { ListOffsetsCodec } from '../../src/protocol/generated/list-offsets.ts';
import { MetadataCodec } from '../../src/protocol/generated/metadata.ts';
import { OffsetFetchCodec } from '../../src/protocol/generated/offset-fetch.ts';
import { errorName } from '../support/load/error-name.ts';
import { type Address, eventually, RawConnection, rawVersions } from '../support/raw-client.ts';

interface TopicPicture {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  /** Settings of the topic itself, `name=value`. */
  readonly settings: readonly string[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

interface GroupPicture {
  readonly id: string;
  readonly protocolType: string;
  /** `topic-partition=offset metadata`. */
  readonly offsets: readonly string[];
}

export interface ClusterPicture {
  readonly clusterId: string;
  readonly topics: readonly TopicPicture[];
  readonly groups: readonly GroupPicture[];
}

const topicResource = 2;
const setOnTopic = 1;
const withIds = 12;
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export async function clusterPicture(address: Address): Promise<ClusterPicture> {
  const connection = await RawConnection.connect(address, 'picture');
  try {
    const metadata = await connection.request(MetadataCodec, withIds, { topics: null });
    const topics: TopicPicture[] = [];
    for (const topic of metadata.topics) {
      const name = topic.name!;
      const partitions = topic.partitions.length;
      topics.push({
        name,
        id: topic.topicId,
        partitions,
        settings: await settingsOf(connection, name),
        starts: topic.isInternal ? [] : await offsetsOf(connection, name, partitions, -2),
        ends: topic.isInternal ? [] : await offsetsOf(connection, name, partitions, -1),
      });
    }
    // Groups are there once their coordinators have read them.
    const groups = await eventually(() => groupsOf(connection));
    return {
      clusterId: metadata.clusterId ?? '',
      topics: topics.sort((a, b) => byText(a.name, b.name)),
      groups: groups.sort((a, b) => byText(a.id, b.id)),
    };
  } finally {
    await connection.close();
  }
}

export function pictureHash(picture: ClusterPicture): string {
  return createHash('sha256').update(JSON.stringify(picture)).digest('hex').slice(0, 16);
}

/** Each part that differs, in words. */
export function pictureDifferences(before: ClusterPicture, after: ClusterPicture): string[] {
  const differences: string[] = [];
  if (before.clusterId !== after.clusterId)
    differences.push(`cluster id ${after.clusterId}, it was ${before.clusterId}`);
  const compare = <T>(kind: string, was: readonly T[], is: readonly T[], nameOf: (each: T) => string) => {
    const texts = new Map(is.map((each) => [nameOf(each), JSON.stringify(each)]));
    for (const each of was) {
      const name = nameOf(each);
      const text = JSON.stringify(each);
      const now = texts.get(name);
      texts.delete(name);
      if (now !== text)
        differences.push(`${kind} ${name}: ${String(now).slice(0, 400)}, it was ${text.slice(0, 400)}`);
    }
    for (const name of texts.keys()) differences.push(`${kind} ${name} was not there before`);
  };
  compare('topic', before.topics, after.topics, ({ name }) => name);
  compare('group', before.groups, after.groups, ({ id }) => id);
  return differences;
}

async function settingsOf(connection: RawConnection, topic: string): Promise<string[]> {
  const answer = await connection.request(DescribeConfigsCodec, 4, {
    resources: [{ resourceType: topicResource, resourceName: topic, configurationKeys: null }],
  });
  const [result] = answer.results;
  if (result === undefined || result.errorCode !== 0)
    throw new Error(`settings of ${topic}: ${errorName(result?.errorCode ?? -1)}`);
  return result.configs
    .filter(({ configSource }) => configSource === setOnTopic)
    .map(({ name, value }) => `${name}=${value}`)
    .sort();
}

async function offsetsOf(
  connection: RawConnection,
  topic: string,
  partitions: number,
  timestamp: number,
): Promise<number[]> {
  const answer = await connection.request(ListOffsetsCodec, rawVersions.listOffsets, {
    replicaId: -1,
    topics: [
      {
        name: topic,
        partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({
          partitionIndex,
          timestamp,
        })),
      },
    ],
  });
  const offsets: number[] = [];
  for (const { partitionIndex, errorCode, offset } of answer.topics[0]!.partitions) {
    if (errorCode !== 0) throw new Error(`offset of ${topic}-${partitionIndex}: ${errorName(errorCode)}`);
    offsets[partitionIndex] = offset;
  }
  return offsets;
}

async function groupsOf(connection: RawConnection): Promise<GroupPicture[]> {
  const listed = await connection.request(ListGroupsCodec, 4, {});
  if (listed.errorCode !== 0) throw new Error(`groups: ${errorName(listed.errorCode)}`);
  const groups: GroupPicture[] = [];
  for (const { groupId, protocolType } of listed.groups) {
    const answer = await connection.request(OffsetFetchCodec, 8, { groups: [{ groupId, topics: null }] });
    const [group] = answer.groups;
    if (group === undefined || group.errorCode !== 0)
      throw new Error(`offsets of ${groupId}: ${errorName(group?.errorCode ?? -1)}`);
    const offsets = group.topics.flatMap((topic) =>
      topic.partitions.map(
        ({ partitionIndex, committedOffset, metadata }) =>
          `${topic.name}-${partitionIndex}=${committedOffset} ${metadata}`,
      ),
    );
    groups.push({ id: groupId, protocolType, offsets: offsets.sort() });
  }
  return groups;
}
