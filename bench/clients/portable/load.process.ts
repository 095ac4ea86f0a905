/** A load in TypeScript: takes its plan as a file and speaks the lines of native/load/load.h. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { LoadPlan } from '../plan.ts';
import { Reader } from './reader.ts';
import { Sender } from './sender.ts';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
const fail = (error: unknown): void => {
  process.stdout.write(`failed ${error instanceof Error ? error.message : String(error)}\n`, () =>
    process.exit(1),
  );
};
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

const parsed = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as LoadPlan;
const plan =
  parsed.kind === 'request' ? { ...parsed, frame: Buffer.from(String(parsed.frame), 'base64') } : parsed;
const finish = (result: unknown): void => {
  process.stdout.write(`result ${JSON.stringify(result)}\n`, () => process.exit(0));
};

let go = (): void => {};
let mark = (): void => {};
let end = (): void => {};
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (line === 'go') go();
  if (line === 'mark') mark();
  if (line === 'end') end();
  if (line === 'stop') process.exit(0);
});
// Nobody is there any more: there is nothing to measure for.
lines.on('close', () => process.exit(0));

if (plan.kind === 'consume') {
  const reader = new Reader(plan);
  go = () => void reader.run().then(() => finish(reader.state()), fail);
  mark = () => say(`snapshot ${JSON.stringify(reader.state())}`);
} else {
  const sender = new Sender(plan, {
    begin: () => say('begin'),
    end: () => say('end'),
    result: finish,
    failed: fail,
  });
  await sender.connect();
  go = () => sender.go();
  end = () => sender.finish();
}
say('ready');
