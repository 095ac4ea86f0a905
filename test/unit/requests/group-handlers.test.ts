/** Requests to groups of the newer kinds: what they are refused before a coordinator is asked, and how its answer is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { GroupServices } from '../../../src/coordinator/group/group-services.ts';
import { statusCodes } from '../../../src/coordinator/group/streams/configured-topology.ts';
import type {
  StreamsHeartbeatAnswer,
  StreamsHeartbeatQuery,
} from '../../../src/coordinator/group/streams/streams-group-api.ts';
import { DeleteShareGroupOffsetsCodec } from '../../../src/protocol/generated/delete-share-group-offsets.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type {
  StreamsGroupHeartbeatRequest,
  StreamsGroupHeartbeatResponseInput,
} from '../../../src/protocol/generated/streams-group-heartbeat.ts';
import { ZERO_UUID } from '../../../src/protocol/primitives.ts';
import { deleteShareGroupOffsetsHandler } from '../../../src/requests/delete-share-group-offsets.ts';
import {
  type StreamsGroupHeartbeatDeps,
  streamsGroupHeartbeatHandler,
} from '../../../src/requests/streams-group-heartbeat.ts';
import type { RequestContext } from '../../../src/requests/support/handler.ts';
import { call, context, topicId } from './admin-fixtures.ts';

const { NONE, UNKNOWN_TOPIC_OR_PARTITION, NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, INVALID_GROUP_ID } = ErrorCode;

describe('DeleteShareGroupOffsets', () => {
  function rig() {
    const on = {
      groups: 0 as number,
      other: false,
      error: NONE as number,
      errors: [NONE] as readonly number[],
      asked: [] as (readonly string[])[],
    };
    const admin = {
      deleteOffsets: (
        _groupId: string,
        ids: readonly string[],
        done: (error: number, errors: readonly number[]) => void,
      ) => {
        on.asked.push(ids);
        done(on.error, on.errors);
      },
    };
    const services = {
      topics: { idOf: (name: string) => (name === 'gone' ? null : topicId(name.length)) },
      coordinator: {
        shareGroups: () => (on.groups === 0 ? { admin } : on.groups),
        isOtherKind: () => on.other,
      },
    } as unknown as GroupServices;
    const ask = async (groupId: string, ...names: string[]) => {
      const answer = await call(deleteShareGroupOffsetsHandler(services), DeleteShareGroupOffsetsCodec, 0, {
        groupId,
        topics: names.map((topicName) => ({ topicName })),
      });
      const { errorCode, errorMessage, responses } = answer;
      return {
        whole: [errorCode, errorMessage],
        topics: responses.map(({ topicName, topicId: id, errorCode: code, errorMessage: text }) => [
          topicName,
          id,
          code,
          text,
        ]),
      };
    };
    return { on, ask };
  }

  it('tells of each topic in the order asked', async () => {
    const { on, ask } = rig();
    on.errors = [UNKNOWN_TOPIC_OR_PARTITION, NONE];
    const unknown = (name: string) => [
      name,
      ZERO_UUID,
      UNKNOWN_TOPIC_OR_PARTITION,
      'UNKNOWN_TOPIC_OR_PARTITION',
    ];
    assert.deepEqual(await ask('g', 'gone', 'a', 'bb'), {
      whole: [NONE, null],
      topics: [unknown('gone'), unknown('a'), ['bb', topicId(2), NONE, null]],
    });
    assert.deepEqual(on.asked, [[topicId(1), topicId(2)]]);
  });

  it('is refused as a whole where the group is', async () => {
    const { on, ask } = rig();
    assert.deepEqual(await ask('', 'a'), { whole: [INVALID_GROUP_ID, 'INVALID_GROUP_ID'], topics: [] });
    on.groups = ErrorCode.NOT_COORDINATOR;
    assert.deepEqual(await ask('g', 'a'), { whole: [ErrorCode.NOT_COORDINATOR, null], topics: [] });
    on.groups = 0;
    on.other = true;
    assert.deepEqual(await ask('g', 'a'), {
      whole: [GROUP_ID_NOT_FOUND, 'Group g is not a share group.'],
      topics: [],
    });
    assert.deepEqual(on.asked, []);
    on.other = false;
    on.error = NON_EMPTY_GROUP;
    assert.deepEqual(await ask('g', 'a'), { whole: [NON_EMPTY_GROUP, 'NON_EMPTY_GROUP'], topics: [] });
  });
});

describe('StreamsGroupHeartbeat', () => {
  const told: StreamsHeartbeatAnswer = {
    errorCode: NONE,
    errorMessage: null,
    memberId: 'm',
    memberEpoch: 4,
    heartbeatIntervalMs: 3_000,
    taskOffsetIntervalMs: 60_000,
    acceptableLag: 10_000,
    status: [],
    tasks: null,
    endpointEpoch: 2,
    endpoints: null,
    missing: [],
  } as unknown as StreamsHeartbeatAnswer;

  function rig(answer: Partial<StreamsHeartbeatAnswer> = {}) {
    const on = {
      isOn: true,
      failures: [] as [string, string][],
      forbidden: '',
      made: [] as [number, number][],
    };
    const queries: StreamsHeartbeatQuery[] = [];
    const deps = {
      isOn: () => on.isOn,
      internalTopics: {
        make: (missing: readonly unknown[], retryMs: number) => {
          on.made.push([missing.length, retryMs]);
          return new Map(on.failures);
        },
      },
      coordinator: {
        streamsHeartbeat: (query: StreamsHeartbeatQuery, done: (answer: StreamsHeartbeatAnswer) => void) => {
          queries.push(query);
          done({ ...told, ...answer });
        },
      },
    } as unknown as StreamsGroupHeartbeatDeps;
    const handler = streamsGroupHeartbeatHandler(deps);
    const beat = (
      request: Partial<StreamsGroupHeartbeatRequest> = {},
    ): StreamsGroupHeartbeatResponseInput => {
      const answers: (StreamsGroupHeartbeatResponseInput | null)[] = [];
      const caller: RequestContext = {
        ...context(1),
        may: (operation, { type, name }) =>
          on.forbidden !== `${operation} ${type} ${name}` &&
          !(on.forbidden.startsWith('5 topic') && type === 'cluster'),
      };
      handler.handle(
        caller,
        {
          groupId: 'g',
          memberId: 'm',
          memberEpoch: 0,
          topology: null,
          activeTasks: null,
          standbyTasks: null,
          warmupTasks: null,
          userEndpoint: null,
          endpointInformationEpoch: 9,
          shutdownApplication: true,
          ...request,
        } as unknown as StreamsGroupHeartbeatRequest,
        (response) => void answers.push(response),
      );
      assert.equal(answers.length, 1);
      return answers[0]!;
    };
    return { on, queries, beat };
  }

  const topology = (...sourceTopics: string[]) =>
    ({
      epoch: 0,
      subtopologies: [
        {
          subtopologyId: 's',
          sourceTopics,
          sourceTopicRegex: [],
          stateChangelogTopics: [],
          repartitionSinkTopics: [],
          repartitionSourceTopics: [],
          copartitionGroups: [],
        },
      ],
    }) as unknown as NonNullable<StreamsGroupHeartbeatRequest['topology']>;

  it('asks the coordinator for what the client says, and of whom', () => {
    const { queries, beat } = rig();
    const lists = [{ subtopologyId: 's', partitions: [1] }];
    beat({ activeTasks: lists, standbyTasks: [], warmupTasks: [], userEndpoint: { host: 'h', port: 1 } });
    const [{ active, standby, warmup, endpoint, endpointEpoch, shutdown, clientId, clientHost, version }] =
      queries as [StreamsHeartbeatQuery];
    assert.deepEqual(
      [active, standby, warmup, endpoint, endpointEpoch, shutdown, clientId, clientHost, version],
      [lists, [], [], { host: 'h', port: 1 }, 9, true, 'test', '/127.0.0.1', 1],
    );
  });

  it('is not there while its feature is off', () => {
    const { on, queries, beat } = rig();
    on.isOn = false;
    assert.deepEqual(beat(), { errorCode: ErrorCode.UNSUPPORTED_VERSION });
    assert.equal(queries.length, 0);
  });

  it('refuses topologies with topics that clients may not have', () => {
    const { on, queries, beat } = rig();
    assert.deepEqual(beat({ topology: topology('a', '__consumer_offsets', '__transaction_state') }), {
      errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY,
      errorMessage:
        'Use of Kafka internal topics __consumer_offsets,__transaction_state in a Kafka Streams topology is prohibited.',
    });
    assert.deepEqual(beat({ topology: topology('a', 'b/c', '') }), {
      errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY,
      errorMessage: 'Topic names b/c, are not valid topic names.',
    });
    on.forbidden = '8 topic b';
    assert.deepEqual(beat({ topology: topology('a', 'b') }), {
      errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    });
    assert.equal(queries.length, 0);
    assert.equal(beat({ topology: topology('a') }).errorCode, NONE);
  });

  it('tells all of an answer, or the error alone', () => {
    assert.deepEqual(rig({ errorCode: ErrorCode.UNKNOWN_MEMBER_ID, errorMessage: 'who?' }).beat(), {
      errorCode: ErrorCode.UNKNOWN_MEMBER_ID,
      errorMessage: 'who?',
    });
    const tasks = { active: [{ subtopologyId: 's', partitions: [0] }], standby: [], warmup: [] };
    const endpoint = { host: 'h', port: 1 };
    const endpoints = [{ endpoint, active: [{ topic: 't', partitions: [1] }], standby: [] }];
    assert.deepEqual(rig({ tasks, endpoints }).beat(), {
      errorCode: NONE,
      errorMessage: null,
      memberId: 'm',
      memberEpoch: 4,
      heartbeatIntervalMs: 3_000,
      taskOffsetIntervalMs: 60_000,
      acceptableRecoveryLag: 10_000,
      status: [],
      activeTasks: tasks.active,
      standbyTasks: [],
      warmupTasks: [],
      endpointInformationEpoch: 2,
      partitionsByUserEndpoint: [
        {
          userEndpoint: endpoint,
          activePartitions: [{ topic: 't', partitions: [1] }],
          standbyPartitions: [],
        },
      ],
    });
    const { activeTasks, standbyTasks, warmupTasks, partitionsByUserEndpoint } = rig().beat();
    assert.deepEqual(
      [activeTasks, standbyTasks, warmupTasks, partitionsByUserEndpoint],
      [null, null, null, null],
    );
  });

  it('makes internal topics that are missing, and says in the status what keeps it from that', () => {
    const missing = ['a', 'b', 'c', 'd'].map((name) => ({
      name,
      partitions: 1,
      replicationFactor: 0,
      configs: {},
    }));
    const status = [
      { statusCode: statusCodes.missingInternalTopics, statusDetail: 'missing' },
      { statusCode: statusCodes.missingInternalTopics + 50, statusDetail: 'else' },
    ];
    const { on, beat } = rig({ missing, status });
    const details = () => beat().status!.map(({ statusDetail }) => statusDetail);
    assert.deepEqual(details(), ['missing', 'else']);
    assert.deepEqual(on.made, [[4, 6_000]]);
    on.failures = [['a', 'no room']];
    assert.deepEqual(details(), ['missing; Creation failed: a (no room).', 'else']);
    on.failures = ['a', 'b', 'c'].map((name) => [name, 'x']);
    assert.equal(details()[0], 'missing; Creation failed: a (x), b (x), c (x).');
    on.failures = ['a', 'b', 'c', 'd'].map((name) => [name, 'x']);
    assert.equal(details()[0], 'missing; Creation failed: a (x), b (x), c (x) and 1 more.');
    const asked = on.made.length;
    on.forbidden = '5 topic b';
    assert.equal(details()[0], 'missing; Unauthorized to CREATE on topics b.');
    assert.equal(on.made.length, asked, 'nothing is made then');
    const none = rig({ status });
    assert.deepEqual(none.beat().status, status);
    assert.deepEqual(none.on.made, []);
  });
});
