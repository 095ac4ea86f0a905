/** Commands to a cluster that runs, with brokers of paper behind the addresses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterArguments, runCluster } from '../../../src/cli/cluster-command.ts';
import type { ProcessPort } from '../../../src/cli/process-port.ts';
import type { ClusterStatus, OperatorAnswer, WaitingLog } from '../../../src/ports/cluster-reports.ts';
import { MillraceError } from '../../../src/ports/errors.ts';

const waiting: WaitingLog = {
  logId: 'w7',
  location: '/data/wal',
  node: 7,
  lastUploadMs: Date.UTC(2026, 0, 2, 3, 4, 5),
  bytesEstimate: 123_456,
  streams: [{ topic: 'orders', partition: 3, from: 4_711 }],
};
const status: ClusterStatus = {
  clusterId: 'c',
  revision: 9,
  node: 2,
  leader: 1,
  brokers: [
    {
      node: 1,
      state: 'active',
      alive: true,
      leads: true,
      rack: 'a',
      partitions: 4,
      http: 'one:1',
      load: { bytesIn: 2_500_000, bytesOut: 10, cpu: 0.25 },
    },
    { node: 2, state: 'draining', alive: false, leads: false, rack: '', partitions: 1, http: '', load: null },
  ],
  partitions: { all: 5, open: 5, moving: 1 },
  waiting: [],
  size: null,
};

async function run(line: string, answers: Readonly<Record<string, OperatorAnswer>> = {}, address?: string) {
  const said = { out: '', err: '' };
  const asked: string[] = [];
  const host = {
    environment: address === undefined ? {} : { MILLRACE_HTTP_ADDRESS: address },
    out: (text: string) => {
      said.out += text;
    },
    err: (text: string) => {
      said.err += text;
    },
  } as unknown as ProcessPort;
  const code = await runCluster(host, clusterArguments(line.split(' '))!, async (at, method, path) => {
    const what = `${at} ${method} ${path}`;
    asked.push(what);
    const answer = answers[what];
    if (answer === undefined)
      throw new MillraceError('unavailable', 'BROKER_UNREACHABLE', `no broker answers at ${at}`);
    return answer;
  });
  return { code, asked, ...said };
}
const ok = (body: unknown): OperatorAnswer => ({ status: 200, body });
const home = '127.0.0.1:9080';

test('these are commands of a cluster, also behind what npm start puts in front', () => {
  assert.deepEqual(clusterArguments(['cluster', 'status']), ['cluster', 'status']);
  assert.deepEqual(clusterArguments(['start', '--profile', 'dev', 'drain', '3']), ['drain', '3']);
  for (const other of [[], ['start'], ['metadata', 'show'], ['start', 'cluster']])
    assert.equal(clusterArguments(other), null, other.join(' '));
});

test('status names each broker and what it carries, and ends with 1 where something waits or nobody leads', async () => {
  const well = await run('cluster status', { [`${home} GET /cluster`]: ok(status) });
  assert.equal(well.code, 0);
  assert.match(well.out, /1 \* +active +a +4 +2\.5 MB +10 B +25 % +one:1/);
  assert.match(well.out, /2 +draining, no sign of life +- +1 +- +- +- +-/);
  const json = await run('cluster status --json', { [`${home} GET /cluster`]: ok(status) });
  assert.deepEqual(JSON.parse(json.out), status);
  for (const change of [{ leader: -1 }, { waiting: [waiting] }]) {
    const answer = ok({ ...status, ...change });
    assert.equal((await run('cluster status', { 'h:1 GET /cluster': answer }, 'h:1')).code, 1);
  }
});

test('what only the leader can do is asked of it', async () => {
  const elsewhere = {
    status: 421,
    body: { code: 'NOT_CONTROLLER', message: 'broker 1 leads', leader: 1, http: 'one:1' },
  };
  const answers = {
    'x:1 POST /cluster/drain?node=3': elsewhere,
    'one:1 POST /cluster/drain?node=3': ok({ node: 3, state: 'draining', partitions: 12 }),
  };
  const { code, out, asked } = await run('drain 3 --http x:1', answers);
  assert.deepEqual([code, asked.length], [0, 2]);
  assert.match(out, /Broker 3 is draining: 12 partitions/);
  const blind = { ...elsewhere, body: { ...elsewhere.body, http: '' } };
  const lost = await run('drain 3 --http x:1', { 'x:1 POST /cluster/drain?node=3': blind });
  assert.equal(lost.code, 73);
  assert.match(lost.err, /Give its address with --http/);
});

test('a drain without a number is of the broker that is asked, and may be undone', async () => {
  const answers = {
    [`${home} GET /cluster`]: ok(status),
    [`${home} POST /cluster/drain?node=2`]: ok({ node: 2, state: 'draining', partitions: 1 }),
    [`${home} POST /cluster/undrain?node=2`]: ok({ node: 2, state: 'active', partitions: 0 }),
  };
  assert.match((await run('drain', answers)).out, /Broker 2 is draining/);
  assert.match((await run('drain 2 --undo', answers)).out, /Broker 2 takes partitions again/);
});

test('a log is given up only with --yes, after what may be lost was said in bytes and offsets', async () => {
  const look = { [`${home} GET /cluster/waiting`]: ok([waiting]) };
  const all = { ...look, [`${home} POST /cluster/abandon?log=w7`]: ok(waiting) };
  const listed = await run('abandon', all);
  assert.equal(listed.code, 0);
  const shown = await run('abandon w7', all);
  assert.equal(shown.code, 73);
  for (const { out } of [listed, shown]) {
    assert.match(out, /Log w7 of broker 7: \/data\/wal/);
    assert.match(out, /2026-01-02T03:04:05\.000Z/);
    assert.match(out, /123456 bytes/);
    assert.match(out, /orders-3 from offset 4711/);
  }
  assert.match(shown.err, /nothing was done/);
  assert.ok(!shown.asked.some((what) => what.includes('POST')));
  const given = await run('abandon w7 --yes', all);
  assert.deepEqual([given.code, given.asked.at(-1)], [0, `${home} POST /cluster/abandon?log=w7`]);
  assert.match(given.out, /is given up/);
  const unknown = await run('abandon w8 --yes', all);
  assert.equal(unknown.code, 73);
  assert.ok(!unknown.asked.some((what) => what.includes('POST')));
});

test('decisions are told a JSON object a line', async () => {
  const records = [{ sequence: 1 }, { sequence: 2, event: { type: 'leads' } }];
  const { code, out } = await run('cluster audit', {
    [`${home} GET /cluster/audit`]: ok({ recorded: 2, records }),
  });
  assert.equal(code, 0);
  assert.deepEqual(
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    records,
  );
});

test('a broker that is not there, or refuses, is told from a wrong command', async () => {
  assert.equal((await run('cluster plan')).code, 69);
  const refuses = {
    [`${home} POST /cluster/drain?node=3`]: { status: 409, body: { code: 'X', message: 'no other' } },
  };
  const { code, err } = await run('drain 3', refuses);
  assert.equal(code, 73);
  assert.match(err, /no other/);
  const old = await run('cluster moves', { [`${home} GET /cluster/moves`]: { status: 404, body: {} } });
  assert.match(old.err, /not one of a cluster/);
  for (const wrong of [
    'cluster',
    'cluster now',
    'drain x',
    'drain 1 2',
    'abandon --yes',
    'drain --yes',
    'abandon w --undo',
    'drain --what',
  ]) {
    const { code, asked, err } = await run(wrong);
    assert.deepEqual([code, asked], [64, []], wrong);
    assert.match(err, /millrace cluster --help/);
  }
  assert.match((await run('drain --help')).out, /Usage: millrace cluster status/);
});
