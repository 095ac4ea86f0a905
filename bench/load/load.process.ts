/** A load process: takes its plan as its only argument and talks over the fork's channel (messages.ts). */
import { FetchLoop } from '../../test/support/load/fetch-loop.ts';
import type { ConsumerPlan, FromLoad, ProducerPlan, ToLoad } from './messages.ts';
import { ProduceLoad } from './produce-load.ts';

const plan = JSON.parse(process.argv[2]!) as ProducerPlan | ConsumerPlan;
const tell = (message: FromLoad) => process.send!(message);
const fail = (error: unknown) =>
  tell({ type: 'failed', error: error instanceof Error ? error.message : String(error) });
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
process.on('disconnect', () => process.exit(0));
process.on('uncaughtException', (error) => {
  fail(error);
  process.exit(1);
});

async function produce(what: ProducerPlan): Promise<void> {
  let cpuBegin = 0;
  const load: ProduceLoad = new ProduceLoad(what, {
    begin: () => {
      cpuBegin = cpuSeconds();
      tell({ type: 'begin' });
    },
    end: () => {
      const { bytes, requests, refused, seconds, totalBytes } = load;
      tell({
        type: 'end',
        bytes,
        requests,
        refused,
        seconds,
        totalBytes,
        latency: load.latency.summary(),
        cpuSeconds: cpuSeconds() - cpuBegin,
      });
    },
    failed: fail,
  });
  await load.connect();
  process.on('message', (message: ToLoad) => {
    if (message.type === 'go') load.go();
    else load.close();
    if (message.type === 'stop') process.disconnect();
  });
  tell({ type: 'ready' });
}

async function consume(what: ConsumerPlan): Promise<void> {
  const partitions = new Map(Array.from({ length: what.partitions }, (_, partition) => [partition, 0]));
  const loop = await FetchLoop.start({ address: what.address, topic: what.topic, partitions });
  loop.done.catch(fail);
  let told = -1;
  const timer = setInterval(() => {
    if (loop.bytes === told) return;
    told = loop.bytes;
    tell({ type: 'consumed', bytes: told });
  }, 5);
  process.on('message', (message: ToLoad) => {
    if (message.type !== 'stop') return;
    clearInterval(timer);
    loop.stop().then(() => process.disconnect());
  });
  tell({ type: 'ready' });
}

(plan.kind === 'produce' ? produce(plan) : consume(plan)).catch(fail);
