/** Bills against arithmetic by hand: each expected number has its working beside it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseCoefficients, requestsAt } from '../../../src/cost/coefficients.ts';
import { estimate, estimateDefaults } from '../../../src/cost/estimate.ts';
import { estimateText } from '../../../src/cost/estimate-text.ts';
import { copiesElsewhere, kafkaBill } from '../../../src/cost/kafka-bill.ts';
import { millraceBill } from '../../../src/cost/millrace-bill.ts';
import {
  autoMqBill,
  mskExpressBill,
  mskServerlessBill,
  mskStandardBill,
} from '../../../src/cost/service-bills.ts';
import { brokersFor } from '../../../src/cost/sizing.ts';
import { workloadProblem } from '../../../src/cost/workload.ts';
import { coefficients, dollars, gibPerSecond, near, nothingMeasured, shipped, workload } from './fixtures.ts';

const onDemand = { type: 'm6in.large', spot: false };
/** 100 MB/s for 730 h: 100e6 × 2,628,000 ÷ 2^30 GB. */
const monthGb = (100e6 * 2_628_000) / 2 ** 30;

describe('brokers', () => {
  const options = { least: 3, scaling: 'fixed', peakToAverage: 2 } as const;
  test('the scarcest demand decides, and nothing goes below the least', () => {
    assert.deepEqual(brokersFor([{ what: 'network', total: 1_000, each: 300 }], options), {
      count: 4,
      limitedBy: 'network',
    });
    assert.deepEqual(
      brokersFor(
        [
          { what: 'network', total: 1_000, each: 300 },
          { what: 'processor', total: 9, each: 1.2 },
        ],
        options,
      ),
      { count: 8, limitedBy: 'processor' },
    );
    assert.equal(brokersFor([{ what: 'network', total: 10, each: 300 }], options).limitedBy, 'at least 3');
    assert.equal(
      brokersFor([{ what: 'network', total: 1_200, each: 300 }], options).count,
      4,
      'exactly full is full',
    );
  });
  test('brokers that follow the load are those for the average and one more, never more than for the peak', () => {
    const follow = { ...options, scaling: 'follow' } as const;
    assert.equal(brokersFor([{ what: 'network', total: 6_000, each: 300 }], follow).count, 11);
    assert.equal(brokersFor([{ what: 'network', total: 1_200, each: 300 }], follow).count, 4);
  });
});

describe('Millrace', () => {
  test('100 MB/s in and out on block volumes', () => {
    const bill = millraceBill(workload(), 'block', onDemand, shipped, coefficients);
    // Network out 200 of 312.5 (3125 Mbit/s ÷ 8 × 0.8): 1. EBS 100 of 156.25: 1.
    // Processor: 0.1 × (2 + 1) + 100e6 ÷ 65,536 × 50 µs = 0.376 of 1.2 cores: 1. So one in each zone.
    assert.equal(bill.brokers, 3);
    assert.equal(bill.limitedBy, 'at least 3');
    assert.ok(near(dollars(bill, 'compute'), 3 * 730 * 0.13923));
    // 100e6 × 86,400 ÷ 2^30 = 8,046.6 GB, all in the first step.
    assert.ok(near(dollars(bill, 'storage'), ((100e6 * 86_400) / 2 ** 30) * 0.023));
    // 33 MB/s a broker: one volume of 4 GB each.
    assert.ok(near(dollars(bill, 'WAL volumes'), 3 * 4 * 0.08));
    // 33.3 partitions a broker lie between 1 and 100 by logarithm: share ln 33.3 ÷ ln 100 = 0.76144.
    const share = Math.log(100 / 3) / Math.log(100);
    const gb = (100e6 * 2_628_000) / 1e9;
    const puts = (10 + 10 * share) * gb;
    const gets = (2 + 2 * share) * gb;
    assert.ok(near(dollars(bill, 'requests'), puts * 5e-6 + gets * 4e-7));
    assert.equal(dollars(bill, 'cross-zone') + dollars(bill, 'connectivity'), 0);
    const total = bill.lines.reduce((sum, line) => sum + line.dollars, 0);
    assert.ok(near(bill.dollarsPerMonth!, total));
    assert.ok(near(bill.dollarsPerMb!, total / (100 * 2_628_000)));
    assert.ok(
      bill.lines.every(({ how, from }) => how !== '' && from.length > 0),
      'each line says from where',
    );
  });

  test('spot costs what the discount leaves', () => {
    const bill = millraceBill(workload(), 'block', { type: 'm6in.large', spot: true }, shipped, coefficients);
    assert.ok(near(dollars(bill, 'compute'), 3 * 730 * 0.13923 * 0.35));
  });

  test('next to no traffic pays for uploads by time', () => {
    const bill = millraceBill(
      workload({ ingestMbPerSecond: 0.001 }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    // 120 PUT an hour of each of 3 brokers; the GETs of 2.6 GB are a hundredth of a cent.
    assert.ok(near(dollars(bill, 'requests'), 120 * 730 * 3 * 5e-6, 1e-4));
  });

  test('a log in the store costs an object each 250 ms, and network for a second copy', () => {
    const bill = millraceBill(workload(), 's3', onDemand, shipped, coefficients);
    assert.equal(dollars(bill, 'WAL volumes'), 0);
    const requests = bill.lines.filter(({ item }) => item === 'requests');
    // 33.3 MB/s a broker are 7.9 objects of 4 MiB a second, more than the linger's 4.
    const perSecond = 100e6 / 3 / (4 * 1024 * 1024);
    assert.ok(near(requests[1]!.dollars, perSecond * 3 * 2_628_000 * 5e-6));
    const slow = millraceBill(workload({ ingestMbPerSecond: 3 }), 's3', onDemand, shipped, coefficients);
    const log = slow.lines.filter(({ item }) => item === 'requests')[1]!;
    assert.ok(near(log.dollars, 4 * 3 * 2_628_000 * 5e-6), '1 MB/s a broker: one object each 250 ms');
    // 10 times the traffic: out 1,000 to readers + 2,000 to the store, of 312.5 each: 10.
    const busy = millraceBill(workload({ ingestMbPerSecond: 1_000 }), 's3', onDemand, shipped, coefficients);
    assert.equal(busy.brokers, 10);
    const block = millraceBill(
      workload({ ingestMbPerSecond: 1_000 }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    assert.equal(block.brokers, 7, '2,000 out');
  });

  test('S3 Express bills each upload by its bytes too', () => {
    const bill = millraceBill(workload(), 's3express', onDemand, shipped, coefficients);
    const log = bill.lines.filter(({ item }) => item === 'requests')[1]!;
    const perSecond = 100e6 / 3 / (4 * 1024 * 1024);
    const puts = (perSecond * 3 * 2_628_000 * 0.00113) / 1_000;
    assert.ok(near(log.dollars, puts + monthGb * 0.0032));
  });

  test('storage goes by its steps', () => {
    // 100 MB/s for 7 days: 56,326 GB: 51,200 at 0.023, the rest at 0.022.
    const bill = millraceBill(workload({ retentionHours: 168 }), 'block', onDemand, shipped, coefficients);
    const gb = (100e6 * 168 * 3_600) / 2 ** 30;
    assert.ok(gb > 51_200);
    assert.ok(near(dollars(bill, 'storage'), 51_200 * 0.023 + (gb - 51_200) * 0.022));
    const much = millraceBill(
      workload({ ingestMbPerSecond: gibPerSecond, retentionHours: 168 }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    // 1 GiB/s for 604,800 s: 604,800 GB.
    assert.ok(near(dollars(much, 'storage'), 51_200 * 0.023 + 460_800 * 0.022 + (604_800 - 512_000) * 0.021));
  });

  test('clients in other zones pay on both sides, producers and readers', () => {
    const bill = millraceBill(
      workload({ connectivity: 'cross-zone', fanOut: 3 }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    assert.ok(near(dollars(bill, 'cross-zone'), monthGb * 4 * (2 / 3) * 0.02));
    const one = millraceBill(
      workload({ connectivity: 'cross-zone', zones: 1 }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    assert.equal(dollars(one, 'cross-zone'), 0);
  });

  test('a private link costs hours in each zone and its bytes, and what is not known of it is said', () => {
    const bill = millraceBill(
      workload({ connectivity: 'private-link' }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    assert.ok(near(dollars(bill, 'connectivity'), 3 * 730 * 0.01 + monthGb * 2 * 0.01));
    assert.ok(bill.unknown.some((what) => what.includes('load balancer')));
  });

  test('readers of old data cost GETs, and network in', () => {
    const cold = millraceBill(
      workload({ coldShare: 0.5, fanOut: 2 }),
      'block',
      onDemand,
      shipped,
      coefficients,
    );
    const warm = millraceBill(workload({ fanOut: 2 }), 'block', onDemand, shipped, coefficients);
    const gb = (100e6 * 2_628_000) / 1e9;
    assert.ok(near(dollars(cold, 'requests') - dollars(warm, 'requests'), gb * 240 * 4e-7));
  });

  test('what was not measured is said, and does not become a zero that nobody sees', () => {
    const bill = millraceBill(workload(), 'block', onDemand, shipped, nothingMeasured);
    for (const what of ['byte in', 'byte out', 'a request', 'sent to the store', 'requests to the store'])
      assert.ok(
        bill.unknown.some((line) => line.includes(what)),
        what,
      );
    const other = millraceBill(
      workload(),
      'block',
      { type: 'm8gn.large', spot: false },
      shipped,
      coefficients,
    );
    assert.ok(other.unknown.some((line) => line.includes('EBS bandwidth of m8gn.large')));
  });
});

describe('Apache Kafka', () => {
  test('copies cross zones as often as followers lie elsewhere', () => {
    assert.equal(copiesElsewhere(3), 2);
    assert.equal(copiesElsewhere(1), 0);
    // Leader and one follower in a zone, the other elsewhere: 1 crosses when one of the two leads, 2 when the third does.
    assert.ok(near(copiesElsewhere(2), (2 * 1 + 1 * 2) / 3));
  });

  test('1 GiB/s over three zones: the published cross-zone bill, of 730 hours for its 720', () => {
    const load = workload({
      ingestMbPerSecond: gibPerSecond,
      retentionHours: 72,
      connectivity: 'cross-zone',
    });
    const bill = kafkaBill(load, false, onDemand, shipped, coefficients);
    // Published: 138,240 for 30 days. Replication 2 × 2,628,000 GB, producers ⅔ of 2,628,000, at 0.02.
    assert.ok(near(dollars(bill, 'cross-zone'), (138_240 * 730) / 720));
  });

  test('three copies on volumes that are never full, with throughput above the free one', () => {
    const load = workload({ ingestMbPerSecond: 400 });
    const bill = kafkaBill(load, false, onDemand, shipped, coefficients);
    // Processor: 0.4 × (6 + 3) + 400e6 ÷ 65,536 × 80 µs + copies 0.8 × (6 × 0.5 + 3) = 8.888 of 1.2 cores: 8.
    // EBS: 1,200 of 156.25: 8. Network out: 400 + 800 of 312.5: 4.
    assert.equal(bill.brokers, 8);
    const gb = ((400e6 * 86_400) / 2 ** 30) * 3;
    // 1,200 MB/s over 8 brokers are 150 each: 25 above the free 125.
    assert.ok(near(dollars(bill, 'storage'), (gb / 0.7) * 0.08 + 8 * 25 * 0.04));
  });

  test('tiered: six hours on volumes, all of it once in S3', () => {
    const bill = kafkaBill(workload(), true, onDemand, shipped, coefficients);
    const local = ((100e6 * 6 * 3_600) / 2 ** 30) * 3;
    const kept = (100e6 * 86_400) / 2 ** 30;
    const more = Math.max(0, 300 / bill.brokers! - 125) * bill.brokers! * 0.04;
    assert.ok(near(dollars(bill, 'storage'), (local / 0.7) * 0.08 + more + kept * 0.023));
    assert.ok(near(dollars(bill, 'requests'), ((100e6 * 2_628_000) / 1e9) * 42 * 5e-6));
    assert.ok(bill.unknown.some((what) => what.includes('assumed, not measured')));
  });
});

describe('services', () => {
  test('MSK Standard by what a broker takes in', () => {
    const bill = mskStandardBill(workload(), shipped, coefficients);
    // 100 ÷ 5.2 = 19.2: 20, and 21 for three zones alike.
    assert.equal(bill.brokers, 21);
    assert.ok(near(dollars(bill, 'compute'), 21 * 730 * 0.204));
    assert.ok(near(dollars(bill, 'storage'), (((100e6 * 86_400) / 2 ** 30) * 3 * 0.1) / 0.7));
  });
  test('MSK Express bills what comes in, and storage once', () => {
    const bill = mskExpressBill(workload({ fanOut: 3 }), shipped, coefficients);
    // In 100 ÷ 15.6: 7; out 300 ÷ 31.2: 10; in threes: 12.
    assert.equal(bill.brokers, 12);
    assert.ok(near(dollars(bill, 'requests'), monthGb * 0.01));
    assert.ok(near(dollars(bill, 'storage'), ((100e6 * 86_400) / 2 ** 30) * 0.1));
  });
  test('MSK Serverless by cluster, partition and byte; refused beyond its quotas', () => {
    const bill = mskServerlessBill(workload(), shipped, coefficients);
    assert.ok(near(dollars(bill, 'compute'), 730 * (0.75 + 100 * 0.0015)));
    assert.ok(near(dollars(bill, 'requests'), monthGb * 0.15));
    const large = mskServerlessBill(workload({ ingestMbPerSecond: 300 }), shipped, coefficients);
    assert.equal(large.dollarsPerMonth, null);
    assert.match(large.unknown[0]!, /200 MB\/s in at most/);
  });
  test('AutoMQ as its vendor published it, in proportion', () => {
    const bill = autoMqBill(
      workload({ ingestMbPerSecond: gibPerSecond, retentionHours: 72 }),
      shipped,
      coefficients,
    );
    assert.ok(near(dollars(bill, 'compute'), 2_859));
    assert.ok(near(dollars(bill, 'requests'), 3_952));
    assert.ok(near(dollars(bill, 'storage'), 51_200 * 0.023 + 208_000 * 0.022));
    const half = autoMqBill(workload({ ingestMbPerSecond: gibPerSecond / 2 }), shipped, coefficients);
    assert.ok(near(dollars(half, 'compute'), 2_859 / 2));
  });
});

describe('an estimate', () => {
  test('has every system, the same workload for all, and the cheapest type for Kafka', () => {
    const { bills } = estimate(workload(), shipped, coefficients);
    const systems = new Set(bills.map(({ system }) => system));
    assert.equal(systems.size, 3 + 2 + 3 + 1);
    assert.equal(bills.length, 3 * 2 + 2 * 2 + 2 + 4);
    const best = bills.find(({ system }) => system === 'Apache Kafka, 3 copies on EBS')!;
    for (const type of ['m6in.large', 'm6in.xlarge', 'r6in.large']) {
      const other = kafkaBill(workload(), false, { type, spot: false }, shipped, coefficients);
      assert.ok(best.dollarsPerMonth! <= other.dollarsPerMonth!, type);
    }
    const chosen = estimate(workload(), shipped, coefficients, {
      ...estimateDefaults,
      kafkaInstance: 'r6in.large',
    });
    assert.ok(chosen.bills.some(({ instance }) => instance === 'r6in.large'));
  });
  test('is refused for what is no workload, and for types that the table does not know', () => {
    assert.throws(() => estimate(workload({ fanOut: -1 }), shipped, coefficients), { code: 'WORKLOAD' });
    assert.equal(workloadProblem(workload()), null);
    for (const wrong of [
      { zones: 0 },
      { zones: 2.5 },
      { peakToAverage: 0.5 },
      { coldShare: 2 },
      { requestBytes: 1 },
    ])
      assert.notEqual(workloadProblem(workload(wrong)), null, JSON.stringify(wrong));
    assert.throws(
      () => estimate(workload(), shipped, coefficients, { instances: ['x9.huge'], kafkaInstance: null }),
      { code: 'PRICE_TABLE' },
    );
  });
  test('in words: a table, what is not known, and with details the source of each number', () => {
    const result = estimate(workload(), shipped, coefficients);
    const text = estimateText(result, false);
    assert.match(text, /^A month of 100 MB\/s in/);
    assert.match(text, /Amazon MSK Serverless/);
    assert.match(text, /What is not known:\n {2}- /);
    const details = estimateText(result, true);
    assert.match(details, /millrace\.cpu\.in = 2 s\/GB \(2026-12-01-x: f\)/);
    assert.match(details, /s3\.put = 0\.005 \$\/1000 \(sourced: /);
    assert.ok(details.length > 2 * text.length);
  });
  test('requests between two counts of partitions lie between their numbers, beyond them at the nearest', () => {
    const known = coefficients.requests!.byPartitions;
    assert.ok(near(requestsAt(known, 10).putsPerGb, 15));
    assert.equal(requestsAt(known, 0.5).putsPerGb, 10);
    assert.equal(requestsAt(known, 1_000).putsPerGb, 20);
    assert.equal(requestsAt([], 5).putsPerGb, 0);
  });
  test('coefficients that are none are refused', () => {
    assert.throws(() => parseCoefficients('{'), { code: 'COEFFICIENTS' });
    assert.throws(() => parseCoefficients('{"values":{"millrace.cpu.in":{"value":-1}}}'), {
      code: 'COEFFICIENTS',
    });
    assert.throws(() => parseCoefficients('{}'), { code: 'COEFFICIENTS' });
  });
});
