/** A platform asked for brokers: a command, and a server that takes a POST. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { openScalingHook } from '../../src/threads/adapters/scaling-hook.ts';
import { patienceMs } from '../support/patience.ts';

const request = { desired: 3, current: 5, remove: [7, 9], reason: 'drained: 7, 9' };

describe('scaling hook: a command', () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-hook-'));
  after(() => rmSync(dir, { recursive: true, force: true }));

  function command(name: string, body: string): string {
    const path = join(dir, name);
    writeFileSync(path, `#!/bin/sh\n${body}\n`);
    chmodSync(path, 0o755);
    return `exec:${path}`;
  }

  it('is given numbers as arguments and the request as its input', async () => {
    const out = join(dir, 'out');
    const url = command('good', `{ echo "$1 $2 $3"; cat; } > ${out}`);
    await openScalingHook(url, patienceMs).ask(request);
    const [numbers, json] = readFileSync(out, 'utf8').split('\n');
    assert.equal(numbers, '3 5 7,9');
    assert.deepEqual(JSON.parse(json!), request);
  });

  it('hands back the beginning of what is said, as one line, and is ended by a stop', async () => {
    const says = openScalingHook(
      command('says', 'echo pool a; echo is growing >&2; head -c 9999 /dev/zero | tr "\\0" x'),
      patienceMs,
    );
    const said = await says.ask(request);
    assert.match(said, /^pool a (is growing )?x/);
    assert.ok(said.length <= 500);
    const stopped = new AbortController();
    const call = openScalingHook(command('sleeps', 'exec sleep 600'), 600_000).ask(request, stopped.signal);
    stopped.abort();
    await assert.rejects(call, { code: 'SCALING_HOOK' });
  });

  it('has failed when it ends with another code, is not there, or does not end', async () => {
    const bad = openScalingHook(command('bad', 'echo no such pool >&2; exit 3'), patienceMs);
    await assert.rejects(bad.ask(request), { code: 'SCALING_HOOK', message: /ended with 3: no such pool/ });
    const missing = openScalingHook(`exec:${join(dir, 'missing')}`, patienceMs);
    await assert.rejects(missing.ask(request), { code: 'SCALING_HOOK', message: /ENOENT/ });
    const hanging = openScalingHook(command('hang', 'exec sleep 600'), 200);
    await assert.rejects(hanging.ask(request), { code: 'SCALING_HOOK', message: /no answer in 200 ms/ });
  });
});

describe('scaling hook: an address', () => {
  const bodies: string[] = [];
  let status = 202;
  const server = createServer((incoming, answer) => {
    let body = '';
    incoming.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    incoming.on('end', () => {
      bodies.push(`${incoming.method} ${incoming.url} ${incoming.headers['content-type']} ${body}`);
      if (status > 0) answer.writeHead(status).end('noted');
    });
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it('is sent the request, and refuses by its status or its silence', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/scale?pool=a`;
    const hook = openScalingHook(url, patienceMs);
    assert.equal(await hook.ask(request), 'noted');
    assert.deepEqual(bodies, [`POST /scale?pool=a application/json ${JSON.stringify(request)}`]);
    status = 500;
    await assert.rejects(hook.ask(request), { code: 'SCALING_HOOK', message: /answered with 500/ });
    status = 0;
    const hasty = openScalingHook(url, 300);
    await assert.rejects(hasty.ask(request), { code: 'SCALING_HOOK', message: /no answer in 300 ms/ });
    const nobody = openScalingHook('http://127.0.0.1:1/', 300);
    await assert.rejects(nobody.ask(request), { code: 'SCALING_HOOK' });
  });

  it('is nothing else', () => {
    for (const url of ['exec:relative', 'ftp://x/', 'https://', 'scale.sh'])
      assert.throws(() => openScalingHook(url, patienceMs), { code: 'SCALING_HOOK_URL' });
  });
});
