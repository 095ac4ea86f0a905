/** Kafka's Verifiable producer and consumer, which count what was acknowledged and what was read. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { createTopics } from './topics.ts';

let broker: BrokerProcess;

before(async () => {
  broker = await BrokerProcess.start();
});
after(() => broker?.dispose());

test('the Verifiable consumer reads all that the Verifiable producer had acknowledged', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  await createTopics(broker.bootstrap, ['verified']);
  const { acked, consumed, said } = await programs.verifiable(broker.bootstrap, 'verified', 5_000);
  assert.deepEqual({ acked, consumed }, { acked: 5_000, consumed: 5_000 }, said);
});
