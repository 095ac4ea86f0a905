/** What platform teams ask of a cluster, as scripts: what is done, what is measured, what it is to come to. */
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../test/support/raw-client.ts';
import { SeededRandom } from '../../test/support/seeded-random.ts';
import { type ClusterSystem, type NodeUnderTest, runningNodes } from './cluster-under-test.ts';
import type { MillraceClusterOptions } from './millrace-cluster.ts';
import { electPreferred, reassign } from './moves.ts';
import { type LoadShape, quantile, type Stage } from './stage.ts';
import { recordValue } from './writers.ts';

export interface EvaluationScenario {
  readonly name: string;
  readonly title: string;
  readonly what: string;
  readonly systems: readonly ClusterSystem[];
  readonly brokers: number;
  readonly wal: MillraceClusterOptions['wal'];
  readonly etcdMembers: number;
  /** Objects in an S3 server that can be troubled. */
  readonly s3?: boolean;
  readonly settings?: MillraceClusterOptions['settings'];
  readonly load: LoadShape;
  /** Instead of `load` where seconds are to do. */
  readonly quickLoad: LoadShape;
  run(stage: Stage): Promise<void>;
}

const both: readonly ClusterSystem[] = ['millrace', 'kafka'];
const many: LoadShape = { partitions: 1_000, intervalMs: 500, recordBytes: 200 };
const manyQuick: LoadShape = { partitions: 60, intervalMs: 100, recordBytes: 200 };
const few: LoadShape = { partitions: 24, intervalMs: 20, recordBytes: 200 };

/** Longer than a broker's session (3 s by default), so that it is taken for dead. */
const pastSessionMs = 5_000;
/** Exit code of a broker that found itself fenced. */
const fencedCode = 76;

const brokerLost: EvaluationScenario = {
  name: 'broker-lost',
  title: 'A broker disappears',
  what: 'kill -9 of the broker that leads most, under load. Its partitions are written again by others; later it comes back.',
  systems: both,
  brokers: 3,
  wal: 'shared',
  etcdMembers: 1,
  load: many,
  quickLoad: manyQuick,
  async run(stage) {
    await loseAndReturn(stage);
  },
};

const brokerLostObject: EvaluationScenario = {
  ...brokerLost,
  name: 'broker-lost-object',
  title: 'A broker disappears, its write-ahead log in the object store',
  systems: ['millrace'],
  wal: 'object',
};

async function loseAndReturn(stage: Stage): Promise<void> {
  const { writers, tail } = stage;
  const lost = stage.busiest();
  const owned = stage.ledBy(lost.id);
  stage.did(`kill -9 of broker ${lost.id}, which leads ${owned.length} partitions`);
  const begun = performance.now();
  await lost.kill();
  await writers.flows();
  await tail.caughtUp(stage.lagAllowed);
  const pauses = writers.pauses();
  stage.pauses('pause', 'pause of a partition', pauses, 5_000);
  stage.pauses(
    'pause-lost',
    'pause of a partition of the lost broker',
    owned.map((partition) => pauses[partition]!),
  );
  stage.figure('lag', 'readers at the end again, after the kill', 's', (performance.now() - begun) / 1_000);
  await stage.calm();
  stage.did(`broker ${lost.id} starts again`);
  await lost.start();
  await writers.flows();
  stage.pauses('pause-return', 'pause of a partition while it comes back', writers.pauses());
  await stage.calm();
}

const brokersAdded: EvaluationScenario = {
  name: 'brokers-added',
  title: 'Three brokers are added to one',
  what: 'Three brokers join a single one under load, at once. Measured is when each leads four fifths of its share.',
  systems: ['millrace'],
  brokers: 1,
  wal: 'shared',
  etcdMembers: 1,
  load: many,
  quickLoad: manyQuick,
  async run(stage) {
    const { writers, cluster } = stage;
    stage.did('three brokers are started');
    const added = await Promise.all([cluster.add(), cluster.add(), cluster.add()]);
    const readyAt = performance.now();
    stage.did('all are ready');
    const share = Math.floor((0.8 * stage.load.partitions) / 4);
    await stage.until('each carries its share', () =>
      added.every(({ id }) => stage.ledBy(id).length >= share),
    );
    stage.figure(
      'share',
      'each leads its share, after the last was ready',
      's',
      (performance.now() - readyAt) / 1_000,
      {
        atMost: 15,
      },
    );
    await writers.flows();
    stage.pauses('pause', 'pause of a partition', writers.pauses());
    await stage.calm();
  },
};

const brokersRemoved: EvaluationScenario = {
  name: 'brokers-removed',
  title: 'Two of four brokers are removed',
  what: 'SIGTERM to two of four brokers at once under load: they give what they have to the others, upload, and end.',
  systems: ['millrace'],
  brokers: 4,
  wal: 'shared',
  etcdMembers: 1,
  load: many,
  quickLoad: manyQuick,
  async run(stage) {
    const { writers } = stage;
    const leaving = stage.cluster.nodes.slice(-2);
    const led = leaving.flatMap(({ id }) => stage.ledBy(id));
    stage.did(
      `SIGTERM to brokers ${leaving.map(({ id }) => id).join(' and ')}, which lead ${led.length} partitions`,
    );
    const seconds = await Promise.all(leaving.map((node) => secondsToStop(node)));
    stage.figure('drained', 'the slower one has ended', 's', Math.max(...seconds), { atMost: 10 });
    await writers.flows();
    stage.pauses('pause', 'pause of a partition', writers.pauses());
    await stage.calm();
  },
};

async function secondsToStop(node: NodeUnderTest): Promise<number> {
  const begun = performance.now();
  const code = await node.stop();
  if (code !== 0) throw new Error(`broker ${node.id} ended with ${code}: ${node.said()}`);
  return (performance.now() - begun) / 1_000;
}

const partitionMoved: EvaluationScenario = {
  name: 'partition-moved',
  title: 'A partition moves',
  what: 'One partition after the other is given to another broker under load. Kafka, where each broker has a copy, changes the leader only.',
  systems: both,
  brokers: 3,
  wal: 'shared',
  etcdMembers: 1,
  load: few,
  quickLoad: few,
  async run(stage) {
    const random = new SeededRandom(stage.seed);
    const pauses: number[] = [];
    const moves = stage.count ?? (stage.quick ? 10 : 100);
    for (let move = 0; move < moves; move++) {
      pauses.push(await pauseOfMove(stage, random, 60_000));
      await sleep(50);
    }
    stage.did(`${moves} moves`);
    const least = stage.load.intervalMs;
    stage.figure('pause-p50', 'pause of the partition, median', 'ms', quantile(pauses, 0.5), { atMost: 80 });
    stage.figure('pause-p99', 'pause of the partition, p99', 'ms', quantile(pauses, 0.99), { atMost: 150 });
    stage.figure('pause-max', 'pause of the partition, longest', 'ms', Math.max(...pauses));
    stage.figure('interval', 'pause of a partition that nothing happens to, at least', 'ms', least);
  },
};

/** Gives a partition to another broker; how long it took no record, ms. */
async function pauseOfMove(stage: Stage, random: SeededRandom, timeoutMs: number): Promise<number> {
  const { writers, cluster } = stage;
  const partition = random.below(stage.load.partitions);
  const from = writers.leaders()[partition]!;
  const to = random.pick(runningNodes(cluster).filter(({ id }) => id !== from)).id;
  stage.mark();
  await stage.ask((connection) => moveLeader(stage, connection, partition, to));
  await stage.until(`partition ${partition} is led by ${to}`, () => writers.leaders()[partition] === to);
  await writers.flows(timeoutMs, [partition]);
  return writers.pauses()[partition]!;
}

async function moveLeader(
  stage: Stage,
  connection: Parameters<typeof reassign>[0],
  partition: number,
  to: number,
): Promise<void> {
  const { cluster, topic } = stage;
  if (cluster.replicas === 1) {
    await reassign(connection, topic, [{ partition, replicas: [to] }]);
    return;
  }
  const others = cluster.nodes.map(({ id }) => id).filter((id) => id !== to);
  await reassign(connection, topic, [
    { partition, replicas: [to, ...others.slice(0, cluster.replicas - 1)] },
  ]);
  await electPreferred(connection, topic, [partition]);
}

const rollingRestart: EvaluationScenario = {
  name: 'rolling-restart',
  title: 'Every broker is restarted, one after the other',
  what: 'SIGTERM and a start of each broker in turn, under load.',
  systems: both,
  brokers: 3,
  wal: 'shared',
  etcdMembers: 1,
  load: many,
  quickLoad: manyQuick,
  async run(stage) {
    const stops: number[] = [];
    for (const node of [...stage.cluster.nodes]) {
      stage.did(`broker ${node.id} is stopped`);
      const begun = performance.now();
      await node.stop();
      stops.push((performance.now() - begun) / 1_000);
      await stage.writers.flows();
      await node.start();
      stage.did(`broker ${node.id} is back`);
      await stage.writers.flows();
      await sleep(stage.quick ? 1_000 : 5_000);
    }
    stage.figure('stop', 'from SIGTERM to its end, the slowest', 's', Math.max(...stops));
    stage.pauses('pause', 'pause of a partition', stage.writers.pauses());
  },
};

const zombies: EvaluationScenario = {
  name: 'zombies',
  title: 'Brokers that wake behind their session',
  what: 'SIGSTOP of a broker beyond its session, then SIGCONT, at random moments under load: it must find itself fenced, and whatever anybody acknowledged is in the log once.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'shared',
  etcdMembers: 1,
  load: few,
  quickLoad: few,
  async run(stage) {
    const random = new SeededRandom(stage.seed);
    const stops = stage.count ?? (stage.quick ? 2 : 20);
    let fenced = 0;
    for (let stop = 0; stop < stops; stop++) {
      const node = random.pick(runningNodes(stage.cluster));
      await sleep(random.below(500));
      const before = stage.writers.acknowledged;
      node.pause();
      await sleep(pastSessionMs + random.below(500));
      node.resume();
      const code = await node.ended();
      if (code !== fencedCode)
        throw new Error(`broker ${node.id} woke and ended with ${code}: ${node.said()}`);
      fenced++;
      await stage.writers.flows();
      stage.did(
        `broker ${node.id} slept, ${stage.writers.acknowledged - before} records were acknowledged meanwhile`,
      );
      await node.start();
      await stage.writers.flows();
    }
    stage.figure('fenced', 'sleepers that found themselves fenced', '', fenced, { atLeast: stops });
    stage.pauses('pause', 'pause of a partition', stage.writers.pauses());
  },
};

const authorityLost: EvaluationScenario = {
  name: 'etcd-lost',
  title: 'etcd loses a member, then its quorum',
  what: 'One of three members of etcd is killed and comes back; then two, for a minute. Brokers go on with what they own.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'shared',
  etcdMembers: 3,
  load: few,
  quickLoad: few,
  async run(stage) {
    const { writers } = stage;
    const authority = stage.cluster.authority!;
    stage.did('one member is killed');
    await authority.kill(0);
    await sleep(stage.quick ? 3_000 : 10_000);
    await writers.flows();
    stage.pauses('pause-member', 'pause of a partition, one member away', writers.pauses(), 1_000);
    await authority.restart(0);
    await stage.calm();
    const awayMs = stage.quick ? 8_000 : 60_000;
    stage.did(`two members are killed for ${awayMs / 1_000} s`);
    await Promise.all([authority.kill(1), authority.kill(2)]);
    await sleep(awayMs);
    const running = runningNodes(stage.cluster).length;
    stage.pauses('pause-quorum', 'pause of a partition, the quorum away', writers.pauses(), 1_000);
    stage.figure('running', 'brokers that go on', '', running, { atLeast: stage.cluster.nodes.length });
    stage.did('the members are started again');
    await Promise.all([authority.restart(1), authority.restart(2)]);
    const begun = performance.now();
    let attempt = 0;
    // A name of its own each time: one that timed out may have been made all the same.
    await eventually(() => stage.ask((connection) => connection.createTopic(`made-${++attempt}`, 1)));
    stage.figure(
      'metadata',
      'topics can be made again, after the members',
      's',
      (performance.now() - begun) / 1_000,
    );
    await stage.calm();
  },
};

const authorityRestored: EvaluationScenario = {
  name: 'etcd-restored',
  title: 'etcd loses everything',
  what: 'All members of etcd are killed and their data deleted. Brokers go on with what they own, are killed, and come back after `millrace restore` has made the metadata anew from the object store.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'shared',
  etcdMembers: 3,
  load: few,
  quickLoad: few,
  async run(stage) {
    const { writers, cluster } = stage;
    const authority = cluster.authority!;
    const members = Array.from({ length: authority.members }, (_, member) => member);
    const awayMs = stage.quick ? 3_000 : 20_000;
    stage.did(`all members are killed, their data deleted, for ${awayMs / 1_000} s`);
    await Promise.all(members.map((member) => authority.kill(member)));
    for (const member of members) authority.forget(member);
    await sleep(awayMs);
    stage.pauses('pause-gone', 'pause of a partition, no etcd', writers.pauses(), 1_000);
    stage.did('kill -9 of all brokers; empty members are started');
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    const begun = performance.now();
    await Promise.all(members.map((member) => authority.restart(member)));
    stage.did(await authority.restore());
    stage.figure('restore', 'etcd started and restored', 's', (performance.now() - begun) / 1_000);
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await writers.flows();
    stage.figure('back', 'all partitions take records again', 's', (performance.now() - begun) / 1_000);
    await stage.calm();
  },
};

const storeTroubled: EvaluationScenario = {
  name: 'store-trouble',
  title: 'The object store answers late, or not',
  what: 'Every request to the store waits, and half of them are refused with 503, while partitions move and a broker disappears. What is open is written as before; moves and fail-over, which need the store, take longer.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'shared',
  etcdMembers: 1,
  s3: true,
  // Small uploads, so that many requests meet the trouble.
  settings: { 'upload.age.ms': 2_000 },
  load: few,
  quickLoad: few,
  async run(stage) {
    const { writers, cluster } = stage;
    const store = cluster.store!;
    await sleep(stage.quick ? 3_000 : 10_000);
    stage.pauses('pause-before', 'pause of a partition before', writers.pauses());
    store.trouble(300, 0.5);
    store.requests();
    stage.did('each request waits 300 ms, half are refused');
    stage.mark();
    await sleep(stage.quick ? 4_000 : 15_000);
    stage.pauses('pause-trouble', 'pause of a partition, store in trouble', writers.pauses(), 1_000);
    const random = new SeededRandom(stage.seed);
    const moves: number[] = [];
    for (let move = 0; move < (stage.quick ? 3 : 10); move++) {
      moves.push(await pauseOfMove(stage, random, 120_000));
    }
    stage.figure(
      'pause-move',
      'pause of a partition that moves meanwhile, longest',
      'ms',
      Math.max(...moves),
    );
    const lost = stage.busiest();
    stage.mark();
    stage.did(`kill -9 of broker ${lost.id}`);
    await lost.kill();
    await writers.flows();
    stage.pauses('pause-lost', 'pause of a partition while a broker is lost meanwhile', writers.pauses());
    stage.figure('requests', 'requests to the store while it was in trouble', '', store.requests());
    store.trouble(0, 0);
    stage.did('the store is well again');
    await lost.start();
    await stage.calm();
  },
};

const hotPartition: EvaluationScenario = {
  name: 'hot-partition',
  title: 'A partition becomes hot',
  what: 'Of six partitions with the same load one gets six times as much. The controller gives what else its broker carries to the others.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'shared',
  etcdMembers: 1,
  load: { ...few, intervalMs: 100 },
  quickLoad: { ...few, intervalMs: 100 },
  async run(stage) {
    const bytes = 50_000;
    const hot = 0;
    let factor = 1;
    const writers = await stage.more(
      'warm',
      { partitions: 6, intervalMs: 100, recordBytes: bytes },
      (partition, sequence, size) =>
        recordValue(partition, sequence, partition === hot ? factor * size : size),
    );
    const weights = (): number[] => writers.leaders().map((_, i) => (i === hot ? factor : 1));
    /** The most loaded broker's part of the load, of which the hot partition alone is the least there can be. */
    const most = (): number => {
      const byNode = new Map<number, number>();
      for (const [i, leader] of writers.leaders().entries())
        byNode.set(leader, (byNode.get(leader) ?? 0) + weights()[i]!);
      return Math.max(...byNode.values());
    };
    await stage.until('the load is spread', () => most() <= 2, 120_000);
    await sleep(stage.quick ? 5_000 : 20_000);
    factor = 6;
    stage.mark();
    stage.did(`partition ${hot} gets ${factor} times as much`);
    const begun = performance.now();
    await stage.until('nothing else is where the hot partition is', () => most() <= factor, 120_000);
    stage.figure('balanced', 'its broker carries nothing else', 's', (performance.now() - begun) / 1_000, {
      atMost: 30,
    });
    const spoken = runningNodes(stage.cluster).flatMap((node) => decisionsIn(node.said()));
    stage.figure('explained', 'decisions that the controller explained', '', spoken.length, { atLeast: 1 });
    for (const line of spoken.slice(-3)) stage.did(line);
    await stage.calm();
  },
};

/** What a controller said about moves without need. */
function decisionsIn(said: string): string[] {
  return said.split('\n').filter((line) => /balanc/i.test(line) && !line.includes('does not move'));
}

const zoneLost: EvaluationScenario = {
  name: 'zone-lost',
  title: 'A zone disappears',
  what: 'One of three brokers with the disk that its write-ahead log is on, and one of three members of etcd. The others go on; what the lost zone had waits for it, and is all there when it returns.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'local',
  etcdMembers: 3,
  load: few,
  quickLoad: few,
  async run(stage) {
    const { writers, cluster } = stage;
    const lost = stage.busiest();
    const owned = new Set(stage.ledBy(lost.id));
    stage.did(`kill -9 of broker ${lost.id}, which leads ${owned.size} partitions, and of a member of etcd`);
    await Promise.all([lost.kill(), cluster.authority!.kill(0)]);
    const rest = writers.leaders().flatMap((_, partition) => (owned.has(partition) ? [] : [partition]));
    await sleep(stage.quick ? 6_000 : 20_000);
    await writers.flows(60_000, rest);
    const pauses = writers.pauses();
    stage.pauses(
      'pause-rest',
      'pause of a partition of the other zones',
      rest.map((partition) => pauses[partition]!),
      5_000,
    );
    const waiting = [...owned].filter((partition) => pauses[partition]! > pastSessionMs).length;
    stage.figure('waiting', 'partitions of the lost zone that wait for its log', '', waiting, {
      atLeast: owned.size,
    });
    stage.did('the zone returns');
    const begun = performance.now();
    await Promise.all([lost.start(), cluster.authority!.restart(0)]);
    await writers.flows();
    stage.figure('return', 'all partitions take records again', 's', (performance.now() - begun) / 1_000);
    await stage.calm();
  },
};

type Fault = (stage: Stage, random: SeededRandom) => Promise<string>;

const faults: readonly Fault[] = [
  async (stage, random) => {
    const node = random.pick(runningNodes(stage.cluster));
    await node.kill();
    await sleep(random.below(6_000));
    await node.start();
    return `kill -9 and start of broker ${node.id}`;
  },
  async (stage, random) => {
    const node = random.pick(runningNodes(stage.cluster));
    await node.stop();
    await sleep(random.below(2_000));
    await node.start();
    return `stop and start of broker ${node.id}`;
  },
  async (stage, random) => {
    const node = random.pick(runningNodes(stage.cluster));
    node.pause();
    await sleep(random.below(2 * pastSessionMs));
    node.resume();
    // One that slept too long ends by itself, a while after it woke.
    const ended = await Promise.race([node.ended(), sleep(3_000, null)]);
    if (!node.running) await node.start();
    return `broker ${node.id} slept${ended === null ? '' : `, and ended with ${ended}`}`;
  },
  async (stage, random) => {
    const { writers, cluster } = stage;
    const partitions = Array.from({ length: 1 + random.below(8) }, () => random.below(stage.load.partitions));
    const to = random.pick(runningNodes(cluster)).id;
    await stage.ask((connection) =>
      reassign(
        connection,
        stage.topic,
        [...new Set(partitions)].map((partition) => ({ partition, replicas: [to] })),
      ),
    );
    await writers.flows(120_000, partitions);
    return `partitions ${[...new Set(partitions)].join(', ')} to broker ${to}`;
  },
  async (stage, random) => {
    const authority = stage.cluster.authority!;
    const member = random.below(authority.members);
    await authority.kill(member);
    await sleep(random.below(4_000));
    await authority.restart(member);
    return `etcd without member ${member}`;
  },
];

const combinations: EvaluationScenario = {
  name: 'combinations',
  title: 'Random faults, two at a time',
  what: 'Kills, stops, sleeps, moves and losses of etcd members at random moments, two at a time, again and again; in the end everything acknowledged is in the logs once, in order.',
  systems: ['millrace'],
  brokers: 3,
  wal: 'shared',
  etcdMembers: 3,
  load: few,
  quickLoad: few,
  async run(stage) {
    const random = new SeededRandom(stage.seed);
    const rounds = stage.count ?? (stage.quick ? 2 : 20);
    for (let round = 0; round < rounds; round++) {
      const done = await Promise.allSettled([
        random.pick(faults)(stage, random),
        sleep(random.below(1_500)).then(() => random.pick(faults)(stage, random)),
      ]);
      stage.did(
        done
          .map((each) => (each.status === 'fulfilled' ? each.value : `refused: ${each.reason.message}`))
          .join('; '),
      );
      for (const node of stage.cluster.nodes) if (!node.running) await node.start();
      await stage.writers.flows();
    }
    stage.figure('rounds', 'combinations that were survived', '', rounds, { atLeast: rounds });
    stage.pauses('pause', 'pause of a partition', stage.writers.pauses());
    await stage.calm();
  },
};

export const evaluationScenarios: readonly EvaluationScenario[] = [
  brokerLost,
  brokerLostObject,
  partitionMoved,
  rollingRestart,
  brokersAdded,
  brokersRemoved,
  zoneLost,
  authorityLost,
  authorityRestored,
  hotPartition,
  storeTroubled,
  zombies,
  combinations,
];
