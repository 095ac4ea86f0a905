/** Word that the machine is to be taken away, on a virtual clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NoticeWatch } from '../../../src/cli/notice-watch.ts';
import { parseNotice } from '../../../src/config/notice-settings.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { NoticeSource } from '../../../src/ports/notice-source.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

test('places of notices are told apart, and what is none', () => {
  assert.deepEqual(parseNotice('aws'), { kind: 'aws', origin: 'http://169.254.169.254' });
  assert.deepEqual(parseNotice('aws:http://[::1]:99/'), { kind: 'aws', origin: 'http://[::1]:99' });
  assert.deepEqual(parseNotice('https://host/path?x'), { kind: 'http', url: 'https://host/path?x' });
  for (const file of ['file:/run/leave', 'file:///run/leave'])
    assert.deepEqual(parseNotice(file), { kind: 'file', path: '/run/leave' });
  assert.deepEqual(parseNotice('signal:SIGPWR'), { kind: 'signal', signal: 'SIGPWR' });
  for (const wrong of ['', 'gcp', 'aws:ftp://x', 'http://', 'file:leave', 'signal:SIGKILL', 'signal:SIGTERM'])
    assert.equal(parseNotice(wrong), null, wrong);
});

test('is looked for at intervals, told once, and trouble is said once', async () => {
  const clock = new VirtualClock();
  const state = { looks: 0, answer: async (): Promise<string | null> => null };
  const source: NoticeSource = {
    name: 'place',
    look: () => {
      state.looks++;
      return state.answer();
    },
  };
  const never: NoticeSource = { name: 'other', look: async () => null };
  const found: string[] = [];
  const said: string[] = [];
  const say = (message: string): void => void said.push(message);
  new NoticeWatch({
    sources: [never, source],
    intervalMs: 1_000,
    clock,
    logger: { ...silentLogger, info: say, warn: say },
    found: (name, notice) => void found.push(`${name}: ${notice}`),
  });
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 500) {
      clock.advance(500);
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    }
  };
  await pass(5_000);
  assert.ok(state.looks >= 5 && state.looks <= 6, String(state.looks));
  state.answer = () => Promise.reject(new Error('away'));
  await pass(5_000);
  assert.deepEqual(said, ['notices of interruption cannot be read; it is tried again']);
  state.answer = async () => 'terminate';
  await pass(2_000);
  const { looks } = state;
  await pass(10_000);
  assert.deepEqual(found, ['place: terminate']);
  assert.equal(state.looks, looks, 'nothing is looked for any more');
  assert.equal(said.at(-1), 'notices of interruption can be read again');
});
