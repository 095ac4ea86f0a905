/** Reports of load: what fits into them, when they are believed, and how they come to whoever leads. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoadExchange, reportIntervalMs } from '../../../src/cluster/load-exchange.ts';
import { type CountedStream, LoadMeter } from '../../../src/cluster/load-meter.ts';
import {
  boundedReport,
  decodeReport,
  encodeReport,
  type LoadReport,
  type NamedLoad,
  reportBytesMax,
} from '../../../src/cluster/load-report.ts';
import { freshMs, LoadReports } from '../../../src/cluster/load-reports.ts';
import { etcdUnavailable } from '../../../src/metadata/etcd/kv.ts';
import type { ReportBoard } from '../../../src/metadata/report-board.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { streamKey } from '../../../src/ports/stream-id.ts';
import type { VirtualClock } from '../../support/virtual-clock.ts';
import { id } from '../metadata/fixtures.ts';
import { ClusterWorld } from './cluster-world.ts';

const frame = { epoch: 1, sequence: 1, http: 'h:1', coresUsed: 0.5, cores: 2, logs: [] };

function named(partition: number, bytesIn: number, topic = 1): NamedLoad {
  return { topicId: id(topic), partition, bytesIn, bytesOut: 0, memoryBytes: 0, requests: 1 };
}

function report(change: Partial<LoadReport>, streams: readonly NamedLoad[] = []): Buffer {
  return encodeReport({ ...boundedReport(frame, streams), ...change });
}

/** Brokers 1 to 3 with a topic of six partitions, two each; nobody decides anything. */
function paper(): ClusterWorld {
  const world = new ClusterWorld();
  for (const node of [1, 2, 3]) {
    world.addBroker(node);
    void world.brokers.get(node)!.controller.stop();
  }
  world.addTopic(1, 6);
  return world;
}

describe('a report of load', () => {
  it('is the same after its bytes', () => {
    const logs = [{ logId: 'w', bytes: 7 }];
    const made = boundedReport({ ...frame, logs }, [named(0, 10), named(1, 20)]);
    assert.deepEqual(decodeReport(encodeReport(made)), made);
    assert.deepEqual(
      made.streams.map(({ partition }) => partition),
      [1, 0],
    );
  });

  it('has a bound in bytes, whatever is carried: what has no name in it is in its rest', () => {
    const streams = Array.from({ length: 5_000 }, (_, i) => ({
      ...named(i, 1e14 - i * 1e9, i),
      bytesOut: 123_456_789_012,
      memoryBytes: 123_456_789_012,
      requests: 99_999.99,
    }));
    const logs = Array.from({ length: 40 }, (_, i) => ({ logId: `log-${'x'.repeat(20)}-${i}`, bytes: 1e12 }));
    const made = boundedReport({ ...frame, http: 'h'.repeat(500), logs }, streams);
    const bytes = encodeReport(made);
    assert.ok(bytes.length <= reportBytesMax, String(bytes.length));
    const read = decodeReport(bytes)!;
    assert.ok(read.streams.length > 50, String(read.streams.length));
    assert.equal(read.streams.length + read.rest.streams, 5_000);
    assert.equal(read.streams[0]!.partition, 0);
    const total = read.streams.reduce((sum, { bytesIn }) => sum + bytesIn, read.rest.bytesIn);
    const whole = streams.reduce((sum, { bytesIn }) => sum + bytesIn, 0);
    // A number has a largest value in a report.
    assert.ok(total <= whole && read.rest.bytesIn > 0);
  });

  it('of another shape is none', () => {
    const whole = report({});
    for (const text of [
      '',
      '{',
      'null',
      '[]',
      '{"v":2}',
      `{"v":1}`,
      whole.toString().replace('"n":1', '"n":-1'),
    ])
      assert.equal(decodeReport(Buffer.from(text)), null, text);
    assert.equal(decodeReport(Buffer.alloc(reportBytesMax + 1, 0x20)), null);
  });
});

describe('rates', () => {
  const count = (partition: number, bytesIn: number): CountedStream => named(partition, bytesIn);

  it('are of the time between two looks, of all shards together, and follow a change within seconds', () => {
    const meter = new LoadMeter();
    assert.equal(meter.measure({ streams: [count(0, 1e9)], cpuMicros: 5e6 }, 1_000), null);
    const first = meter.measure({ streams: [count(0, 2_000), count(0, 1_000)], cpuMicros: 6.5e6 }, 4_000)!;
    assert.deepEqual(
      first.streams.map(({ bytesIn }) => bytesIn),
      [1_000],
    );
    assert.equal(first.coresUsed, 0.5);
    let seen = 0;
    for (let at = 7_000; at <= 19_000; at += 3_000)
      seen = meter.measure({ streams: [count(0, 30_000)], cpuMicros: 6.5e6 }, at)!.streams[0]!.bytesIn;
    assert.ok(seen > 8_900 && seen < 10_000, String(seen));
  });

  it('forget streams that nobody asks for any more', () => {
    const meter = new LoadMeter();
    meter.measure({ streams: [], cpuMicros: 0 }, 0);
    meter.measure({ streams: [count(0, 3_000_000)], cpuMicros: 0 }, 3_000);
    for (let at = 6_000; at < 120_000; at += 3_000) meter.measure({ streams: [], cpuMicros: 0 }, at);
    assert.deepEqual(meter.measure({ streams: [], cpuMicros: 0 }, 120_000)!.streams, []);
  });
});

describe('reports as they are read', () => {
  it('count from the second on, as long as newer ones come', () => {
    const { image } = paper();
    const reports = new LoadReports();
    reports.see(new Map([[1, report({ sequence: 5 })]]), 0);
    assert.equal(reports.load(image, 0).brokers.has(1), false, 'it may lie there for days');
    reports.see(new Map([[1, report({ sequence: 6 })]]), 3_000);
    assert.equal(reports.load(image, 3_000).brokers.get(1)!.cpu, 0.25);
    for (let at = 6_000; at <= 3_000 + freshMs; at += 1_000) {
      reports.see(new Map([[1, report({ sequence: 6 })]]), at);
      assert.equal(reports.load(image, at).brokers.has(1), true);
    }
    assert.equal(reports.load(image, 3_001 + freshMs).brokers.has(1), false, 'it was not replaced');
  });

  it('count under the registration in force only', () => {
    const { image } = paper();
    const reports = new LoadReports();
    for (const sequence of [1, 2]) reports.see(new Map([[2, report({ epoch: 7, sequence })]]), sequence);
    assert.equal(reports.load(image, 2).brokers.size, 0);
    assert.equal(reports.reportOf(image, 2), null);
  });

  it('count for nothing after a time in which nobody read them', () => {
    const { image } = paper();
    const reports = new LoadReports();
    for (const sequence of [1, 2]) reports.see(new Map([[1, report({ sequence })]]), sequence);
    assert.equal(reports.load(image, 2).brokers.size, 1);
    // It no longer led, and does again: that report may be as old as its leave.
    reports.see(new Map([[1, report({ sequence: 3 })]]), 60_000);
    assert.equal(reports.load(image, 60_000).brokers.size, 0);
  });

  it('divide their rest among the streams that they do not name', () => {
    const { image } = paper();
    const reports = new LoadReports();
    const rest = { streams: 1, bytesIn: 500, bytesOut: 0, memoryBytes: 0, requests: 0 };
    for (const sequence of [1, 2])
      reports.see(new Map([[1, report({ sequence, rest }, [named(0, 1_000)])]]), sequence);
    const load = reports.load(image, 2);
    assert.equal(load.streams.get(streamKey(id(1), 0))!.bytesIn, 1_000);
    assert.equal(load.streams.get(streamKey(id(1), 3))!.bytesIn, 500);
    assert.equal(load.streams.size, 2);
    assert.equal(load.brokers.get(1)!.bytesIn, 1_500);
  });

  it('of a stream on the move count as the larger one', () => {
    const { image } = paper();
    const reports = new LoadReports();
    for (const sequence of [1, 2])
      reports.see(
        new Map([
          [1, report({ sequence }, [named(0, 1_000)])],
          [2, report({ sequence }, [named(0, 300)])],
        ]),
        sequence,
      );
    assert.equal(reports.load(image, 2).streams.get(streamKey(id(1), 0))!.bytesIn, 1_000);
  });

  it('say what logs held last, also when their broker is gone', () => {
    const { image } = paper();
    const reports = new LoadReports();
    reports.see(new Map([[3, report({ logs: [{ logId: 'w3', bytes: 99 }] })]]), 0);
    assert.equal(reports.load(image, 1e6).logs.get('w3'), 99);
  });
});

describe('exchange of reports', () => {
  function exchange(world: ClusterWorld, nodeId: number, leads: () => boolean, board: ReportBoard) {
    const clock = world.clock as VirtualClock;
    const made = new LoadExchange({
      board,
      image: () => world.image,
      leads,
      clock,
      logger: silentLogger,
      nodeId,
      brokerEpoch: 1,
      cores: 2,
      sample: async () => ({
        streams: [named(nodeId - 1, 3_000)],
        cpuMicros: clock.monotonic() * 1_000,
        logs: [],
      }),
      http: () => '',
    });
    made.start();
    return made;
  }

  function board() {
    const values = new Map<number, Uint8Array>();
    const calls = { posts: 0, reads: 0, away: false };
    const made: ReportBoard = {
      post: async (node, value) => {
        if (calls.away) throw etcdUnavailable('test');
        calls.posts++;
        values.set(node, value);
      },
      read: async () => {
        calls.reads++;
        return new Map(values);
      },
      remove: async (node) => void values.delete(node),
    };
    return { values, calls, made };
  }

  it('brings what all brokers carry to the one that leads, which alone reads', async () => {
    const world = paper();
    const { made, calls, values } = board();
    values.set(9, report({}));
    const brokers = [1, 2, 3].map((node) => exchange(world, node, () => node === 2, made));
    await world.run(4 * reportIntervalMs + 100);
    const load = brokers[1]!.load();
    assert.deepEqual([...load.brokers.keys()].sort(), [1, 2, 3]);
    assert.equal(load.streams.get(streamKey(id(1), 2))!.bytesIn, 1_000);
    assert.equal(load.brokers.get(3)!.cpu, 0.5);
    assert.equal(brokers[0]!.load().brokers.size, 0);
    assert.equal(values.has(9), false, 'of a broker that nobody knows');
    // The first look has nothing to compare with.
    assert.deepEqual([calls.posts, calls.reads], [9, 4]);
    assert.deepEqual([...(await brokers[0]!.newest()).keys()].sort(), [1, 2, 3]);
    for (const each of brokers) await each.stop();
    await world.run(60_000);
    assert.deepEqual([calls.posts, calls.reads], [9, 5]);
  });

  it('makes a broker unknown whose reports do not come through, and known when they do again', async () => {
    const world = paper();
    const { made, calls } = board();
    const leader = exchange(world, 1, () => true, made);
    const other = exchange(world, 2, () => false, {
      ...made,
      post: async (node, value) => {
        if (calls.away) throw etcdUnavailable('test');
        await made.post(node, value);
      },
    });
    const known = (): number[] => [...leader.load().brokers.keys()].sort();
    await world.run(4 * reportIntervalMs + 100);
    assert.deepEqual(known(), [1, 2]);
    await other.stop();
    await world.run(freshMs + reportIntervalMs);
    assert.deepEqual(known(), [1]);
    calls.away = true;
    await world.run(freshMs + reportIntervalMs);
    assert.deepEqual(known(), []);
    calls.away = false;
    await world.run(4 * reportIntervalMs);
    assert.deepEqual(known(), [1]);
    await leader.stop();
  });
});
