/** A real etcd keeps the contract of the key space; over TLS with client certificates and with users too. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { GrpcEndpoint } from '../../../src/metadata/etcd/grpc-endpoint.ts';
import { ProtoWriter } from '../../../src/metadata/etcd/protobuf.ts';
import { Authority } from '../../support/certificates.ts';
import { etcdKvOn } from '../../support/etcd-clients.ts';
import { etcdKvContract } from '../../support/etcd-kv-contract.ts';
import { type EtcdServer, type EtcdServerOptions, startEtcd } from '../../support/etcd-server.ts';

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

etcdKvContract('etcd', async () => {
  const etcd = await startEtcd();
  if (typeof etcd === 'string') return etcd;
  return { client: () => etcdKvOn(etcd.endpoints), pass, close: () => etcd.stop() };
});

/** Null where this machine has none: the test is skipped then. */
async function started(test: TestContext, options?: EtcdServerOptions): Promise<EtcdServer | null> {
  const etcd = await startEtcd(options);
  if (typeof etcd === 'string') {
    test.skip(etcd);
    return null;
  }
  test.after(() => etcd.stop());
  return etcd;
}

const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: { code: string }) => error.code,
  );

const put = (key: string) => ({ success: [{ type: 'put', key, value: Buffer.from('1') }] }) as const;

describe('etcd behind TLS, and with users', () => {
  it('is reached with a certificate of its authority, and by nobody else', async (test) => {
    const [authority, stranger] = [new Authority('etcd'), new Authority('stranger')];
    test.after(() => {
      for (const each of [authority, stranger]) each.dispose();
    });
    const server = authority.issue('127.0.0.1', { server: true });
    const tls = {
      cert: authority.file('server.pem', server.cert),
      key: authority.file('server.key', server.key),
      clientCa: authority.file('clients.pem', authority.ca.cert),
    };
    const etcd = await started(test, { tls });
    if (etcd === null) return;
    const endpoints = etcd.endpoints.map((each) => each.replace('127.0.0.1', 'localhost'));
    const ca = Buffer.from(authority.ca.cert);
    const identity = (by: Authority) => {
      const { cert, key } = by.issue('broker');
      return { certificate: Buffer.from(cert), key: Buffer.from(key) };
    };
    const tries = [
      { tls: { ca, ...identity(authority) }, expected: 'done' },
      { tls: { ca, ...identity(stranger) }, expected: 'ETCD_UNAVAILABLE' },
      { tls: { ca, certificate: null, key: null }, expected: 'ETCD_UNAVAILABLE' },
      {
        tls: { ca: Buffer.from(stranger.ca.cert), ...identity(authority) },
        expected: 'ETCD_UNAVAILABLE',
      },
      { tls: null, expected: 'ETCD_UNAVAILABLE' },
    ];
    for (const { tls, expected } of tries) {
      const kv = etcdKvOn(endpoints, { tls, timeoutMs: expected === 'done' ? 30_000 : 1_500 });
      assert.equal(await outcome(kv.range({ key: 'a' })), expected);
      if (expected === 'done') {
        assert.equal((await kv.txn(put('a'))).succeeded, true);
        const seen = new Promise((resolve) =>
          kv.watch({ key: 'a', fromRevision: 1 }, { events: resolve, ended: resolve }),
        );
        assert.ok(Array.isArray(await seen));
      }
      await kv.close();
    }
  });

  it('is asked with a token that is taken anew when it ran out', async (test) => {
    const etcd = await started(test, { args: ['--auth-token-ttl', '1'] });
    if (etcd === null) return;
    await enableUsers(etcd.endpoints[0]!);
    const nobody = etcdKvOn(etcd.endpoints, { timeoutMs: 3_000 });
    assert.equal(await outcome(nobody.range({ key: 'a' })), 'ETCD_AUTH');
    const wrong = etcdKvOn(etcd.endpoints, { user: { name: 'root', password: 'guess' }, timeoutMs: 3_000 });
    assert.equal(await outcome(wrong.range({ key: 'a' })), 'ETCD_AUTH');
    const kv = etcdKvOn(etcd.endpoints, { user: { name: 'root', password: 'secret' } });
    assert.equal(await outcome(kv.txn(put('a'))), 'done');
    const { id, ttlSeconds } = await kv.grant(60);
    for (let i = 0; i < 3; i++) {
      await pass(2_500);
      assert.equal(await outcome(kv.txn(put('a'))), 'done');
      assert.equal(await kv.keepAlive(id), ttlSeconds);
    }
    const seen = new Promise((resolve) =>
      kv.watch({ key: 'a', fromRevision: 1 }, { events: resolve, ended: resolve }),
    );
    assert.ok(Array.isArray(await seen));
    for (const each of [nobody, wrong, kv]) await each.close();
  });
});

/** One user who may do everything. */
async function enableUsers(address: string): Promise<void> {
  const endpoint = new GrpcEndpoint(address, null);
  const call = (name: string, request: ProtoWriter) =>
    endpoint.unary(`/etcdserverpb.Auth/${name}`, request.finish(), Date.now() + 10_000, {});
  await call('RoleAdd', new ProtoWriter().string(1, 'root'));
  await call('UserAdd', new ProtoWriter().string(1, 'root').string(2, 'secret'));
  await call('UserGrantRole', new ProtoWriter().string(1, 'root').string(2, 'root'));
  await call('AuthEnable', new ProtoWriter());
  endpoint.close();
}
