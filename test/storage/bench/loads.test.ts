/**
 * The loads of the bench against a broker in this process: what they say they had acknowledged is in the log, open loops keep
 * their rate, and readers that compare find a changed batch. Native and portable ones alike.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { shapeOf, writePool } from '../../../bench/clients/batch-pool.ts';
import { acknowledgedBatches, formatLedger, readLedger } from '../../../bench/clients/ledger.ts';
import { type LoadKind, startLoad } from '../../../bench/clients/load-process.ts';
import { nativeProgram } from '../../../bench/clients/native-program.ts';
import type { ConsumePlan, ProducePlan, ReadState, SendResult } from '../../../bench/clients/plan.ts';
import { addressOf } from '../../../bench/systems/millrace.ts';
import { type Broker, startBroker } from '../../../src/embedded/index.ts';
import { patienceMs } from '../../support/patience.ts';
import { type Address, RawConnection } from '../../support/raw-client.ts';

let broker: Broker;
let address: Address;
let directory: string;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-loads-'));
  broker = await startBroker();
  address = addressOf(broker.addresses.plain!);
});
after(async () => {
  await broker.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the load does not come to its end')), patienceMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

async function send(plan: ProducePlan, kind: LoadKind): Promise<SendResult> {
  const load = startLoad(plan, kind);
  try {
    await inTime(Promise.race([load.ready, load.failed]));
    load.go();
    return (await inTime(Promise.race([load.result, load.failed]))) as SendResult;
  } finally {
    await load.stop();
  }
}

async function read(plan: ConsumePlan, kind: LoadKind): Promise<ReadState> {
  const load = startLoad(plan, kind);
  try {
    await inTime(Promise.race([load.ready, load.failed]));
    load.go();
    return (await inTime(Promise.race([load.result, load.failed]))) as ReadState;
  } finally {
    await load.stop();
  }
}

const partitions = 3;

for (const kind of ['native', 'portable'] as const) {
  const program = nativeProgram('load');
  const skip = kind === 'native' && 'missing' in program ? program.missing : false;
  describe(`the ${kind} load`, { skip }, () => {
    const topic = `loads-${kind}`;
    const shape = shapeOf(2_000, 4);
    let ledger: string;
    let sent: SendResult;

    const producing = (more: Partial<ProducePlan> = {}): ProducePlan => ({
      kind: 'produce',
      address,
      ca: null,
      connections: 5,
      depth: 3,
      topic,
      partitions,
      requestsPerSecond: 200,
      leadSeconds: 0.2,
      seconds: 0.5,
      bytesMax: 0,
      pool: join(directory, kind),
      recordsPerBatch: shape.recordsPerBatch,
      ledger,
      ...more,
    });
    const reading = (more: Partial<ConsumePlan> = {}): ConsumePlan => ({
      kind: 'consume',
      address,
      ca: null,
      connections: 1,
      topic,
      partitions,
      split: false,
      maxWaitMs: 100,
      minBytes: 1,
      fetchBytes: 1 << 20,
      partitionBytes: 1 << 16,
      recordsPerBatch: shape.recordsPerBatch,
      ledger,
      lastBatches: 0,
      verify: true,
      endToEnd: true,
      ...more,
    });

    before(async () => {
      ledger = join(directory, `${topic}.ledger`);
      writePool(join(directory, kind), shape, 15);
      const admin = await RawConnection.connect(address);
      await admin.createTopic(topic, partitions);
      await admin.close();
      sent = await send(producing(), kind);
    });

    test('an open loop sends what is due in its window, no more and no less', () => {
      const due = sent.latency.reduce((sum, [, count]) => sum + count, 0);
      assert.ok(Math.abs(due - 100) <= 1, `${due} requests were due in half a second at 200/s`);
      assert.ok(Math.abs(sent.allRequests + sent.unsent - 140) <= 1, `${sent.allRequests} with the lead`);
      assert.equal(sent.unanswered, 0);
      assert.ok(sent.requests <= sent.allRequests && sent.bytes > 0);
    });

    test('what it had acknowledged is in its ledger and in the log, byte for byte', async () => {
      assert.equal(acknowledgedBatches(readLedger(ledger)), sent.allRequests);
      const state = await read(reading(), kind);
      assert.equal(state.checked, sent.allRequests);
      assert.equal(state.bytes, sent.allBytes);
      assert.equal(state.unacknowledged, 0);
      assert.equal(
        state.endToEnd.reduce((sum, [, count]) => sum + count, 0),
        sent.allRequests,
      );
      assert.equal(state.finishedSeconds.length, 1);
    });

    test('readers that share the partitions read each once; others read all of them', async () => {
      const shared = await read(reading({ connections: 2, split: true, verify: false }), kind);
      assert.equal(shared.bytes, sent.allBytes);
      const each = await read(reading({ connections: 2, verify: false }), kind);
      assert.equal(each.bytes, 2 * sent.allBytes);
    });

    test('a reader of the last batches begins there', async () => {
      const state = await read(reading({ lastBatches: 2 }), kind);
      assert.equal(state.checked, 2 * partitions);
    });

    test('a batch that is not the acknowledged one is found', async () => {
      const { crcs } = readLedger(ledger);
      const changed = crcs.map((each) => Uint32Array.from(each));
      changed[1]![3] = changed[1]![3]! ^ 1;
      const wrong = join(directory, `${topic}.wrong`);
      writeFileSync(wrong, formatLedger(changed));
      await assert.rejects(read(reading({ ledger: wrong }), kind), /is not the one that was acknowledged/);
    });

    test('a closed loop ends with its bound of bytes, and goes on in its ledger', async () => {
      const known = acknowledgedBatches(readLedger(ledger));
      const bytesMax = 300_000;
      const more = await send(
        producing({ requestsPerSecond: 0, leadSeconds: 0, seconds: 60, bytesMax }),
        kind,
      );
      assert.ok(more.bytes >= bytesMax, `${more.bytes}`);
      assert.ok(more.seconds < 60);
      assert.equal(acknowledgedBatches(readLedger(ledger)), known + more.allRequests);
      const state = await read(reading(), kind);
      assert.equal(state.checked, known + more.allRequests);
    });

    test('its window can be ended before its time', async () => {
      const load = startLoad(producing({ leadSeconds: 0, seconds: 600 }), kind);
      try {
        await inTime(Promise.race([load.ready, load.failed]));
        load.go();
        await inTime(load.begun);
        load.finish();
        const ended = (await inTime(Promise.race([load.result, load.failed]))) as SendResult;
        assert.ok(ended.seconds < 600);
      } finally {
        await load.stop();
      }
    });

    test('what the broker refuses for good ends it with the reason', async () => {
      const small = `${topic}-small`;
      const admin = await RawConnection.connect(address);
      await admin.createTopic(small, partitions, { 'max.message.bytes': '100' });
      await admin.close();
      await assert.rejects(
        send(producing({ topic: small, ledger: null }), kind),
        /answered (with error 10|MESSAGE_TOO_LARGE)/,
      );
    });
  });
}
