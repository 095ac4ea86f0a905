/** Produces with kafkajs as its documentation does, many sends under way; prints one ProgramResult as JSON. */
import { randomFillSync } from 'node:crypto';
import kafkajs from 'kafkajs';
import { summarize } from '../harness/latency-summary.ts';
import { Latencies, nowNanos } from './portable/latencies.ts';
import type { ProgramJob, ProgramResult } from './programs.ts';

const job = JSON.parse(process.argv[2]!) as ProgramJob & { bootstrap: string };
const lanes = 16;
const recordsPerSend = 50;

const kafka = new kafkajs.Kafka({ brokers: [job.bootstrap], logLevel: kafkajs.logLevel.ERROR });
const producer = kafka.producer();
await producer.connect();
const value = randomFillSync(Buffer.alloc(job.recordBytes));
const latencies = new Latencies();
const begun = nowNanos();
let taken = 0;
await Promise.all(
  Array.from({ length: lanes }, async () => {
    while (taken < job.records) {
      const count = Math.min(recordsPerSend, job.records - taken);
      taken += count;
      if (job.recordsPerSecond > 0) {
        const aheadMs = (taken / job.recordsPerSecond) * 1000 - (nowNanos() - begun) / 1e6;
        if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs));
      }
      const since = nowNanos();
      await producer.send({
        topic: job.topic,
        acks: -1,
        messages: Array.from({ length: count }, () => ({ value })),
      });
      latencies.record(nowNanos() - since);
    }
  }),
);
const seconds = (nowNanos() - begun) / 1e9;
await producer.disconnect();
const summary = summarize(latencies.pairs());
const result: ProgramResult = {
  records: job.records,
  recordsPerSecond: job.records / seconds,
  p50Ms: summary?.p50Ms ?? null,
  p99Ms: summary?.p99Ms ?? null,
};
process.stdout.write(JSON.stringify(result));
