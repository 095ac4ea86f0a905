import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runSeries, type Series } from '../../../bench/all.ts';
import { Session } from '../../../bench/session.ts';

const names = ['a', 'b', 'c'];

/** Runs what is not done, with these failing for as many attempts. */
function series(session: Session | null, failing: Record<string, number>) {
  const ran: string[] = [];
  const said: string[] = [];
  let clock = 0;
  const given: Series = {
    names,
    session,
    async run(name) {
      ran.push(name);
      clock += 120;
      const left = failing[name] ?? 0;
      failing[name] = left - 1;
      return left <= 0;
    },
    expectedSeconds: () => 60,
    now: () => clock,
    say: (line) => said.push(line),
  };
  return { given, ran, said };
}

function within(use: (file: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-series-'));
    try {
      await use(join(directory, 'below', 'session.json'));
    } finally {
      rmSync(directory, { recursive: true });
    }
  };
}

test(
  'what failed is tried once more behind all others, and then nothing is remembered',
  within(async (file) => {
    const { given, ran } = series(Session.open({ commit: '1' }, file), { a: 1 });
    assert.deepEqual(await runSeries(given), []);
    assert.deepEqual(ran, ['a', 'b', 'c', 'a']);
    assert.equal(existsSync(file), false);
  }),
);

test(
  'what fails twice is all that the next run tries, and a run of another kind tries all',
  within(async (file) => {
    assert.deepEqual(await runSeries(series(Session.open({ commit: '1' }, file), { b: 2 }).given), ['b']);
    const other = Session.open({ commit: '2' }, file);
    assert.ok(names.every((name) => !other.isDone(name)));
    const again = series(Session.open({ commit: '1' }, file), {});
    assert.deepEqual(await runSeries(again.given), []);
    assert.deepEqual(again.ran, ['b']);
    const anew = series(Session.open({ commit: '1' }, file), {});
    await runSeries(anew.given);
    assert.deepEqual(anew.ran, names);
  }),
);

test(
  'a run that ended in the middle goes on behind what it had done, with what failed too',
  within(async (file) => {
    const first = series(Session.open({}, file), { a: 1 });
    const stopped = {
      ...first.given,
      run: async (name: string) => {
        if (name === 'c') throw new Error('ended');
        return first.given.run(name);
      },
    };
    await assert.rejects(runSeries(stopped), /ended/);
    const second = series(Session.open({}, file), {});
    await runSeries(second.given);
    assert.deepEqual(second.ran, ['a', 'c']);
  }),
);

test('without a session each runs once', async () => {
  const { given, ran, said } = series(null, { b: 5 });
  assert.deepEqual(await runSeries(given), ['b']);
  assert.deepEqual(ran, names);
  assert.deepEqual(said, []);
});

test(
  'what is left is told by how long things took so far',
  within(async (file) => {
    const { given, said } = series(Session.open({}, file), {});
    await runSeries(given);
    assert.deepEqual(said, [
      '3 scenarios left, about 3 minutes',
      '2 scenarios left, about 4 minutes',
      '1 scenarios left, about 2 minutes',
    ]);
  }),
);
