/** The command line's way to a broker: HTTP over a socket, both ends. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { after, describe, it } from 'node:test';
import { closeServer, createProbeServer } from '../../src/observe/http.ts';
import { askBroker } from '../../src/threads/adapters/operator-client.ts';

describe('operator client', () => {
  const server = createProbeServer({
    healthy: () => null,
    ready: () => null,
    metrics: async () => '',
    operators: {
      changes: 'local',
      answer: async (method, path, query) => ({
        status: path === '/cluster' ? 200 : 409,
        body: { method, query: String(query) },
      }),
    },
  });
  after(() => closeServer(server));

  it('looks, and changes, and is told what is refused', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    assert.deepEqual(await askBroker(address, 'GET', '/cluster?a=1'), {
      status: 200,
      body: { method: 'GET', query: 'a=1' },
    });
    assert.deepEqual(await askBroker(address, 'POST', '/cluster/drain?node=3'), {
      status: 409,
      body: { method: 'POST', query: 'node=3' },
    });
    // What is no JSON: another server, or an older broker.
    const other = await askBroker(address, 'GET', '/nothing');
    assert.deepEqual(other, { status: 404, body: { code: 'HTTP', message: 'not here' } });
  });

  it('says that nobody is there', async () => {
    for (const address of ['127.0.0.1:1', 'no address', '127.0.0.1:99999'])
      await assert.rejects(askBroker(address, 'GET', '/cluster'), {
        code: 'BROKER_UNREACHABLE',
        message: /--http HOST:PORT/,
      });
  });
});
