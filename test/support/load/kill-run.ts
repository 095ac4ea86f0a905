/**
 * Kills a broker at seeded random moments while long-lived idempotent producers work, and compares the log with what
 * was acknowledged at the end. The moments: mostly anywhere within `windowMs` of being ready, sometimes right after the
 * process was started (while it recovers), sometimes the moment it says that it is ready.
 */
import { randomFillSync } from 'node:crypto';
import { eventually, RawConnection } from '../raw-client.ts';
import { SeededRandom } from '../seeded-random.ts';
import { BrokerChild, type BrokerChildOptions } from './broker-child.ts';
import { IdempotentProducer } from './idempotent-producer.ts';
import { type Comparison, compareWithLog, Ledger } from './ledger.ts';

export interface KillRunOptions {
  readonly broker: BrokerChildOptions;
  readonly kills: number;
  readonly seed: number;
  readonly producers: number;
  readonly partitions: number;
  readonly windowMs: number;
  /** Largest value of a record; sizes vary up to it. */
  readonly valueBytesMax: number;
  readonly recordsPerBatchMax: number;
  readonly pauseMs: number;
  /** Done while the broker is down after the n-th kill, such as taking a device away and bringing it back. */
  readonly whileDown?: (kill: number) => Promise<void>;
  readonly log?: (line: string) => void;
}

export interface KillRunResult {
  readonly kills: number;
  readonly seed: number;
  readonly moments: { readonly early: number; readonly atReady: number; readonly working: number };
  readonly acknowledgedBatches: number;
  readonly acknowledgedRecords: number;
  /** Connections made again after the first, over all producers. */
  readonly reconnections: number;
  /** Retriable errors the producers were answered, by name. */
  readonly errors: Readonly<Record<string, number>>;
  readonly slowestRestartMs: number;
  readonly readBack: Comparison;
  readonly ledger: Ledger;
  readonly seconds: number;
}

const topic = 'kills';

/** Rejects on a violation; else the caller judges `readBack.faults`. The broker is stopped by SIGTERM at the end. */
export async function killRun(options: KillRunOptions): Promise<KillRunResult> {
  const begun = performance.now();
  const random = new SeededRandom(options.seed);
  const broker = new BrokerChild(options.broker);
  const ledger = new Ledger();
  const producers: IdempotentProducer[] = [];
  const moments = { early: 0, atReady: 0, working: 0 };
  let slowestRestartMs = 0;
  const payload = randomFillSync(Buffer.alloc(options.valueBytesMax + 4096));
  const nextValues = () =>
    Array.from({ length: 1 + random.below(options.recordsPerBatchMax) }, () => {
      const at = random.below(4096);
      return payload.subarray(at, at + 1 + random.below(options.valueBytesMax));
    });
  try {
    await broker.start();
    const admin = await RawConnection.connect(broker.address);
    await admin.createTopic(topic, options.partitions);
    await admin.close();
    for (let i = 0; i < options.producers; i++) {
      const producer = new IdempotentProducer({
        address: () => broker.address,
        topic,
        partitions: Array.from({ length: options.partitions }, (_, p) => p),
        ledger,
        nextValues,
        pauseMs: options.pauseMs,
      });
      await producer.start();
      producers.push(producer);
    }
    for (let kill = 1; kill <= options.kills; kill++) {
      const dice = random.below(10);
      if (dice === 0 && kill > 1) {
        moments.atReady++;
      } else {
        const delay = random.below(options.windowMs);
        moments.working++;
        await sleep(delay);
      }
      const failed = producers.find((producer) => producer.violation !== null);
      if (failed !== undefined) throw await withComparison(failed.violation!, broker, ledger);
      if (!broker.running) throw new Error(`the broker ended by itself: ${broker.stderr.slice(-4000)}`);
      await broker.kill();
      await options.whileDown?.(kill);
      if (random.below(5) === 0) {
        // While it starts or recovers: not counted among the kills, on top of them.
        moments.early++;
        const { ready } = await broker.launch();
        await Promise.race([sleep(random.below(400)), ready]);
        await broker.kill();
      }
      await broker.start();
      slowestRestartMs = Math.max(slowestRestartMs, broker.readyMs);
      options.log?.(
        `kill ${kill}: ${ledger.batches} batches acknowledged, ready again in ${broker.readyMs.toFixed(0)} ms; errors ${JSON.stringify(sumErrors(producers))}`,
      );
    }
    // At least one acknowledgement per producer after the last kill.
    const before = producers.map((producer) => producer.acknowledged);
    await eventually(async () => {
      const idle = producers.find(
        (producer, i) => producer.violation === null && producer.acknowledged === before[i],
      );
      if (idle !== undefined)
        throw new Error(
          `producer ${idle.producerId} gets no acknowledgement after the last kill: ${broker.stderr.slice(-2000)}`,
        );
    });
    for (const producer of producers) {
      await producer.drain().catch(async (error: Error) => {
        throw await withComparison(error, broker, ledger);
      });
    }
    const readBack = await compareWithLog(broker.address, topic, ledger);
    return {
      kills: options.kills,
      seed: options.seed,
      moments,
      acknowledgedBatches: ledger.batches,
      acknowledgedRecords: ledger.records,
      reconnections: producers.reduce((sum, producer) => sum + producer.connections - 1, 0),
      errors: sumErrors(producers),
      slowestRestartMs,
      readBack,
      ledger,
      seconds: (performance.now() - begun) / 1000,
    };
  } finally {
    for (const producer of producers) await producer.stop();
    await broker.stop();
  }
}

function sumErrors(producers: readonly IdempotentProducer[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const producer of producers) {
    for (const [name, count] of producer.errors) sums[name] = (sums[name] ?? 0) + count;
  }
  return sums;
}

/** A violation with what the log holds at that moment, so that one failure tells as much as it can. */
async function withComparison(violation: Error, broker: BrokerChild, ledger: Ledger): Promise<Error> {
  if (!broker.running) await broker.start();
  const { faults } = await compareWithLog(broker.address, topic, ledger);
  const log = broker.stderr.slice(-4000);
  return new Error(
    `${violation.message}\nthe log against what was acknowledged:\n${faults.join('\n')}\n${log}`,
  );
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
