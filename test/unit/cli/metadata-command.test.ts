import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCommandLine } from '../../../src/cli/arguments.ts';
import type { OpenMetadata } from '../../../src/cli/metadata-command.ts';
import type { ProcessPort } from '../../../src/cli/process-port.ts';
import { runCommandLine } from '../../../src/cli/run.ts';
import type {
  MetadataRequest,
  MetadataStatus,
  MigrateReport,
  RestoreReport,
} from '../../../src/embedded/metadata-tools.ts';
import { MillraceError } from '../../../src/ports/errors.ts';

const etcd = 'etcd://127.0.0.1:2379/m';
const log = {
  logId: 'w1',
  kind: 'object',
  location: 'store:',
  node: 1,
  streams: 1,
  lastUploadMs: 0,
} as const;
const restored: RestoreReport = {
  outcome: 'restored',
  clusterId: 'cluster',
  to: etcd,
  cut: { revision: 41, timeMs: 1_700_000_000_000 },
  above: { revision: 1_041, leaderEpoch: 70_000, brokerEpoch: 9, producerId: 8, objectId: 7 },
  brokers: [{ node: 1, epoch: 3 }],
  logs: [log],
  streams: [{ topic: 'orders', partition: 2, log: 'w1', committedEnd: 55 }],
  behind: { objects: { count: 2, bytes: 99, named: ['a', 'b'] }, logs: ['w9'] },
};
const moved: MigrateReport = {
  outcome: 'moved',
  clusterId: 'cluster',
  from: 'the store',
  to: etcd,
  revision: 5,
  logs: [log],
};
const status = (standing: MetadataStatus['standing']): MetadataStatus => ({
  standing,
  store: {
    clusterId: 'cluster',
    authority: { kind: 'etcd', incarnation: 'i', location: etcd },
    revision: 12,
    entries: 4,
    restored: null,
    brokers: [{ node: 1, epoch: 3, state: 'draining' }],
    logs: [log],
  },
  etcd: {
    location: etcd,
    record: { state: 'active', incarnation: 'i', clusterId: 'cluster', to: '' },
    revision: 14,
    journal: 12,
    members: [1, 2],
  },
});

async function run(line: string, given: { standing?: MetadataStatus['standing']; error?: Error } = {}) {
  const said = { code: 0, out: '', err: '', to: '', request: null as MetadataRequest | null };
  const host = {
    args: line.split(' '),
    environment: {},
    directory: '/srv',
    machine: () => ({ memoryBytes: 8 * 2 ** 30, cores: 4 }),
    now: () => 0,
    out: (text: string) => {
      said.out += text;
    },
    err: (text: string) => {
      said.err += text;
    },
  } as unknown as ProcessPort;
  const open: OpenMetadata = async (request) => {
    said.request = request;
    const answer = async <T>(report: T): Promise<T> => {
      if (given.error !== undefined) throw given.error;
      return report;
    };
    return {
      show: () => answer(status(given.standing ?? 'etcd')),
      restore: () => answer(restored),
      migrate: (to) => {
        said.to = to;
        return answer(moved);
      },
    };
  };
  const none = (): never => assert.fail('something else was loaded');
  said.code = await runCommandLine(host, none, none, open, async () => assert.fail('a broker was asked'));
  return said;
}

describe('commands over metadata', () => {
  it('take their options as settings', async () => {
    const { request, code, to } = await run(
      `metadata migrate --store s3://b/p --metadata ${etcd} --to embedded --dry-run --set etcd.user=u`,
    );
    assert.equal(code, 0);
    assert.equal(to, 'embedded');
    const { settings, dryRun, takeOver } = request!;
    assert.deepEqual(
      [settings['store.url'], settings['metadata.url'], settings['etcd.user'], dryRun, takeOver],
      ['s3://b/p', etcd, 'u', true, false],
    );
    assert.equal((await run(`restore --metadata ${etcd} --take-over`)).request!.takeOver, true);
    assert.equal((await run(`start metadata show`)).code, 0);
  });

  it('are refused with words that nothing can be made of', () => {
    for (const [line, expected] of [
      ['metadata', /metadata show, or metadata migrate/],
      ['metadata shw', /unknown command metadata shw, perhaps show is meant/],
      ['metadata migrate', /needs --to/],
      ['metadata show --to embedded', /--to is not for show/],
      ['metadata show --dry-run', /--dry-run is not for show/],
      ['restore --to embedded', /--to is for metadata/],
      ['restore it', /nothing can be made of "it" after restore/],
      ['start --dry-run', /--dry-run is for restore and metadata/],
      ['inspect --metadata x', /--metadata is for start and restore and metadata/],
    ] as const)
      assert.throws(() => parseCommandLine(line.split(' ')), expected, line);
  });

  it('say what was cut, what goes on from where, and what must not be lost', async () => {
    const { out } = await run(`restore --metadata ${etcd}`);
    for (const expected of [
      /ends at revision 41, stored 2023-11-14T22:13:20.000Z/,
      /leader epochs 70000/,
      /orders-2: objects up to offset 55, the rest in w1/,
      /w1 of broker 1: object, store:, 1 partitions open/,
      /not older than its end: 2, 99 bytes/,
      /nothing was acknowledged: w9/,
    ])
      assert.match(out, expected);
    assert.deepEqual(JSON.parse((await run(`restore --metadata ${etcd} --json`)).out), restored);
  });

  it('show how store and etcd stand, with 1 where no broker could start', async () => {
    const { out, code } = await run('metadata show');
    assert.equal(code, 0);
    for (const expected of [
      /up to revision 12, 4 entries/,
      /up to revision 14; .* up to 12/,
      /alive: 1, 2/,
      /draining/,
    ])
      assert.match(out, expected);
    for (const standing of ['lost', 'elsewhere', 'unfinished', 'unseen'] as const)
      assert.equal((await run('metadata show', { standing })).code, 1, standing);
    for (const standing of ['none', 'store'] as const)
      assert.equal((await run('metadata show', { standing })).code, 0, standing);
  });

  it('end with the exit code of what kept them', async () => {
    for (const [code, kind, expected] of [
      ['BROKERS_ALIVE', 'invalid', 73],
      ['METADATA_PRESENT', 'invalid', 73],
      ['METADATA_ELSEWHERE', 'invalid', 77],
      ['METADATA_MOVED_AWAY', 'fenced', 77],
      ['ETCD_UNAVAILABLE', 'unavailable', 69],
      ['SETTING', 'invalid', 64],
    ] as const) {
      const error = new MillraceError(kind, code, 'said');
      const { code: exit, err, out } = await run(`metadata migrate --to ${etcd}`, { error });
      assert.deepEqual([exit, err, out], [expected, 'millrace: said\n', ''], code);
    }
  });
});
