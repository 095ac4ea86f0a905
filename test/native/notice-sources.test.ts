/** Where notices of interruption are read: a server with the shape of AWS's instance metadata, any address, a file. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openNoticeSource } from '../../src/threads/adapters/notice-sources.ts';
import { patienceMs } from '../support/patience.ts';

describe('notices of interruption', () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-notice-'));
  const state = { token: 't1', action: '', plain: 404, tokens: 0 };
  const server = createServer(({ method, url, headers }, answer) => {
    const say = (status: number, text = ''): void => void answer.writeHead(status).end(text);
    if (url === '/latest/api/token') {
      if (method !== 'PUT' || headers['x-aws-ec2-metadata-token-ttl-seconds'] === undefined) return say(400);
      state.tokens++;
      return say(200, state.token);
    }
    if (url === '/latest/meta-data/spot/instance-action') {
      if (headers['x-aws-ec2-metadata-token'] !== state.token) return say(401);
      return state.action === '' ? say(404) : say(200, state.action);
    }
    if (url === '/silent') return;
    say(state.plain, 'preempted');
  });
  let origin = '';
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('AWS: with a token, which is made anew when it has run out', async () => {
    const source = openNoticeSource({ kind: 'aws', origin }, patienceMs);
    assert.equal(await source.look(), null);
    assert.equal(await source.look(), null);
    assert.equal(state.tokens, 1);
    state.token = 't2';
    state.action = '{"action":"terminate","time":"2026-01-02T03:04:05Z"}';
    assert.equal(await source.look(), state.action);
    assert.equal(state.tokens, 2);
  });

  it('any address: 200 is a notice, 404 and 204 are none, all else is trouble', async () => {
    const source = openNoticeSource({ kind: 'http', url: `${origin}/preempted?key=secret` }, patienceMs);
    assert.equal(source.name, `${origin}/preempted`);
    for (const none of [404, 204]) {
      state.plain = none;
      assert.equal(await source.look(), null);
    }
    state.plain = 500;
    await assert.rejects(source.look(), /answered with 500/);
    state.plain = 200;
    assert.equal(await source.look(), 'preempted');
    await assert.rejects(
      openNoticeSource({ kind: 'http', url: `${origin}/silent` }, 200).look(),
      /no answer in time/,
    );
  });

  it('a file that appears', async () => {
    const path = join(dir, 'leave');
    const source = openNoticeSource({ kind: 'file', path }, patienceMs);
    assert.equal(await source.look(), null);
    writeFileSync(path, '');
    assert.match((await source.look())!, /is there/);
  });
});
