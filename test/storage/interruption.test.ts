/** A broker as people run it leaves in order at each kind of notice: a file, a signal, an address. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';

describe('a notice that the machine is to be taken away', () => {
  async function leaves(notice: string, give: (broker: BrokerProcess) => void): Promise<void> {
    const broker = await BrokerProcess.start({
      settings: { 'interruption.notices': notice, 'interruption.poll.ms': 100 },
    });
    try {
      give(broker);
      assert.deepEqual(await broker.whenEnded(), { code: 0, signal: null });
      assert.match(broker.errors, /this machine is to be taken away: leaving, as on SIGTERM/);
    } finally {
      await broker.dispose();
    }
  }

  it('as a signal', () => leaves('signal:SIGUSR2', ({ pid }) => void process.kill(pid, 'SIGUSR2')));

  it('as an answer of the instance metadata', async () => {
    let action = '';
    const server = createServer((request, answer) => {
      if (request.method === 'PUT') answer.end('token');
      else answer.writeHead(action === '' ? 404 : 200).end(action);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await leaves(`aws:http://127.0.0.1:${(server.address() as AddressInfo).port}`, () => {
        action = '{"action":"stop","time":"2026-01-02T03:04:05Z"}';
      });
    } finally {
      server.close();
    }
  });

  it('as a file', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'millrace-leave-'));
    try {
      await leaves(`file:${join(dir, 'leave')}`, () => writeFileSync(join(dir, 'leave'), ''));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
