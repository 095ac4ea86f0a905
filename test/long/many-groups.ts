/**
 * 2,000 groups that commit once a second, with 1 and with 3 shards: how many commits that is, how long they take and what
 * they cost; then as many as go through. Requests over many groups are answered alike by every number of shards, before and
 * after kill -9. Time is reported, not judged.
 */

import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DeleteGroupsCodec } from '../../src/protocol/generated/delete-groups.ts';
import { DescribeGroupsCodec } from '../../src/protocol/generated/describe-groups.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { ListGroupsCodec } from '../../src/protocol/generated/list-groups.ts';
import { OffsetCommitCodec } from '../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../src/protocol/generated/offset-fetch.ts';
import { BrokerChild } from '../support/load/broker-child.ts';
import { errorName } from '../support/load/error-name.ts';
import { eventually, RawConnection } from '../support/raw-client.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const groupCount = 2_000;
const connectionCount = 20;
const pacedRounds = 20;
const freeRounds = 10;
/** Groups of one request that names many. */
const perRequest = 250;
const topic = 'records';
const groups = Array.from({ length: groupCount }, (_, i) => `group ${(i * 7919) % 100_003} of many`);

interface Load {
  readonly commits: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Milliseconds from the sending of a commit, ascending. */
  readonly latencies: readonly number[];
}

async function commit(connection: RawConnection, group: string, offset: number): Promise<void> {
  const answer = await connection.request(OffsetCommitCodec, 7, {
    groupId: group,
    generationIdOrMemberEpoch: -1,
    topics: [
      { name: topic, partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: 'm' }] },
    ],
  });
  const { errorCode } = answer.topics[0]!.partitions[0]!;
  if (errorCode !== 0) throw new Error(`commit of ${group}: ${errorName(errorCode)}`);
}

/** Rounds in which every group commits; a round begins a second after the one before, or at once. */
async function load(
  broker: BrokerChild,
  connections: readonly RawConnection[],
  firstOffset: number,
  rounds: number,
  pauseMs: number,
): Promise<Load> {
  const latencies: number[] = [];
  const cpuBefore = broker.cpuSeconds();
  const begun = performance.now();
  for (let round = 0; round < rounds; round++) {
    const roundBegun = performance.now();
    await Promise.all(
      groups.map(async (group, i) => {
        const connection = connections[i % connections.length]!;
        // Over the second, as groups that know nothing of each other would.
        if (pauseMs > 0) await sleep((i / groupCount) * pauseMs);
        const sent = performance.now();
        await commit(connection, group, firstOffset + round);
        latencies.push(performance.now() - sent);
      }),
    );
    await sleep(pauseMs - (performance.now() - roundBegun));
  }
  return {
    commits: rounds * groupCount,
    seconds: (performance.now() - begun) / 1000,
    cpuSeconds: broker.cpuSeconds() - cpuBefore,
    latencies: latencies.sort((a, b) => a - b),
  };
}

function sleep(ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}

/** What the requests over many groups answer, in one order. */
async function answers(connection: RawConnection): Promise<Record<string, unknown>> {
  const described: unknown[] = [];
  const fetched: unknown[] = [];
  for (let i = 0; i < groupCount; i += perRequest) {
    const some = [...groups.slice(i, i + perRequest), `nobody ${i}`];
    described.push(...(await connection.request(DescribeGroupsCodec, 5, { groups: some })).groups);
    const offsets = await connection.request(OffsetFetchCodec, 8, {
      groups: some.map((groupId) => ({ groupId, topics: null })),
    });
    fetched.push(...offsets.groups);
  }
  const listed = await connection.request(ListGroupsCodec, 4, { statesFilter: [] });
  if (listed.errorCode !== 0) throw new Error(`list: ${errorName(listed.errorCode)}`);
  const names = listed.groups.map(({ groupId, groupState }) => `${groupId} ${groupState}`).sort();
  return { described, fetched, listed: names };
}

interface Shape {
  readonly paced: Load;
  readonly free: Load;
  readonly before: Record<string, unknown>;
  readonly after: Record<string, unknown>;
  readonly deleted: readonly number[];
}

async function shape(context: LongContext, threads: number): Promise<Shape> {
  const broker = new BrokerChild({ dataDir: join(context.directory, `shards-${threads}`), threads });
  let connections: RawConnection[] = [];
  const connect = async (): Promise<RawConnection[]> =>
    Promise.all(Array.from({ length: connectionCount }, () => RawConnection.connect(broker.address, 'many')));
  try {
    await broker.start();
    connections = await connect();
    const first = connections[0]!;
    await first.createTopic(topic, 1);
    await eventually(async () => {
      const found = await first.request(FindCoordinatorCodec, 3, { key: groups[0]!, keyType: 0 });
      if (found.errorCode !== 0) throw new Error(errorName(found.errorCode));
      await commit(first, groups[0]!, 0);
    });
    await Promise.all(
      groups.map((group, i) => eventually(() => commit(connections[i % connectionCount]!, group, 0))),
    );
    const paced = await load(broker, connections, 1, pacedRounds, 1_000);
    context.say(`${threads} shard(s), once a second: ${text(paced)}`);
    const free = await load(broker, connections, 1 + pacedRounds, freeRounds, 0);
    context.say(`${threads} shard(s), one after the other: ${text(free)}`);
    const before = await answers(first);
    await broker.kill();
    for (const connection of connections) await connection.close();
    await broker.start();
    connections = await connect();
    const after = await eventually(() => answers(connections[connectionCount - 1]!));
    const deletion = await connections[1]!.request(DeleteGroupsCodec, 2, {
      groupsNames: groups.slice(0, 500),
    });
    return { paced, free, before, after, deleted: deletion.results.map(({ errorCode }) => errorCode) };
  } finally {
    for (const connection of connections) await connection.close();
    await broker.stop();
  }
}

function text({ commits, seconds, cpuSeconds, latencies }: Load): string {
  const at = (share: number): string => latencies[Math.floor(share * (latencies.length - 1))]!.toFixed(1);
  const rate = Math.round(commits / seconds);
  const micros = Math.round((cpuSeconds / commits) * 1e6);
  return `${rate} commits/s, ${micros} µs CPU each, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}

async function run(context: LongContext): Promise<LongOutcome> {
  const shards = [1, 3];
  const shapes: Shape[] = [];
  for (const threads of shards) shapes.push(await shape(context, threads));
  const faults: string[] = [];
  const expected = shapes[0]!.before;
  for (const [i, { before, after, deleted }] of shapes.entries()) {
    for (const what of Object.keys(expected)) {
      if (!isDeepStrictEqual(before[what], expected[what]))
        faults.push(`${shards[i]} shard(s): ${what} is not what 1 shard answers`);
      if (!isDeepStrictEqual(after[what], before[what]))
        faults.push(`${shards[i]} shard(s): ${what} differs after kill -9`);
    }
    const refused = deleted.filter((code) => code !== 0).length;
    if (refused > 0 || deleted.length !== 500)
      faults.push(`${shards[i]} shard(s): ${refused} groups not deleted`);
  }
  if ((expected['listed'] as unknown[]).length !== groupCount) faults.push('not every group is listed');
  const summary = shapes.flatMap(({ paced, free }, i) => [
    `${shards[i]} shard(s), once a second: ${text(paced)}`,
    `${shards[i]} shard(s), all groups at once, ${freeRounds} times: ${text(free)}`,
  ]);
  const numbers = (one: Load) => ({ ...one, latencies: undefined });
  const data = Object.fromEntries(
    shapes.map(({ paced, free }, i) => [
      `shards ${shards[i]}`,
      { paced: numbers(paced), free: numbers(free) },
    ]),
  );
  return outcome(faults, summary, data);
}

export const manyGroups: LongScript = {
  name: 'many-groups',
  what: '2,000 groups committing each second with 1 and 3 shards; requests over many groups are answered alike',
  run,
};
