/**
 * What stands between a stranger on the network and the broker's memory, files and time: bounds of connections and
 * handshakes, who may read the files. The certificates' part is in tls.test.ts, the HTTP server's in unit/observe.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { embeddedSettings, startBroker } from '../../src/embedded/index.ts';
import { Authority } from '../support/certificates.ts';
import { BrokerBed, until } from '../support/inline-broker.ts';
import { BatchPool } from '../support/load/batches.ts';
import { hostAndPort, tryTls } from '../support/tls-client.ts';

const authority = new Authority();
const directory = mkdtempSync(join(tmpdir(), 'millrace-door-'));
after(() => {
  authority.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** A TCP connection that knows when the broker ended it. */
async function dial(address: string): Promise<{ socket: net.Socket; closed: boolean }> {
  const socket = net.connect(hostAndPort(address));
  const dialled = { socket, closed: false };
  socket.on('error', () => {});
  socket.once('close', () => {
    dialled.closed = true;
  });
  socket.resume();
  await once(socket, 'connect');
  return dialled;
}

describe('a TLS listener', () => {
  let bed: BrokerBed;
  const address = () => bed.broker.address('tls')!;
  const attempt = () => tryTls({ address: address(), ca: authority.ca.cert, version: 'TLSv1.3' });
  /** Handshakes that the broker knows of. */
  const handshakes = () =>
    (bed.broker['deployment'].local as unknown as { handshakes: Set<unknown> }).handshakes;

  beforeEach(async () => {
    bed = new BrokerBed({
      settings: {
        listeners: ['tls://127.0.0.1:0'],
        'max.connections': 3,
        ...authority.settings('none'),
      },
    });
    await bed.start();
  });
  afterEach(() => bed.dispose());

  test('a handshake has ten seconds, however it drips', async () => {
    const dialled = await dial(address());
    const { socket } = dialled;
    await until(() => handshakes().size === 1);
    // The head of a TLS record of 512 bytes, then a byte of it every second.
    socket.write(Buffer.from([0x16, 3, 1, 2, 0]));
    for (let second = 0; second < 9; second++) {
      socket.write(Buffer.from([1]));
      await bed.jump(1_000);
      assert.equal(handshakes().size, 1, `after ${second + 1} s`);
    }
    await bed.jump(1_000);
    assert.equal(handshakes().size, 0);
    await until(() => dialled.closed);
    assert.ok(
      bed.lines.some(
        ({ message, fields }) => /handshake/.test(message) && /too long/.test(String(fields.reason)),
      ),
    );
    assert.equal((await attempt()).answered, true);
  });

  test('handshakes under way count as connections', async () => {
    const silent = [await dial(address()), await dial(address()), await dial(address())];
    await until(() => handshakes().size === 3);
    assert.equal((await attempt()).answered, false, 'a fourth is turned away');
    silent[1]!.socket.destroy();
    await until(() => handshakes().size === 2);
    assert.equal((await attempt()).answered, true, 'there is room again');
  });

  test('what is no TLS is turned away, and a stop ends handshakes under way', async () => {
    const plain = await dial(address());
    plain.socket.write(Buffer.from([0, 0, 0, 8, 0, 18, 0, 0, 0, 0, 0, 1]));
    await until(() => plain.closed);
    const silent = await dial(address());
    await until(() => handshakes().size === 1);
    assert.equal(await bed.stop(), 'clean');
    await until(() => silent.closed);
  });
});

test('more connections than max.connections are closed, the others live on', async () => {
  const bed = new BrokerBed({ settings: { 'max.connections': 2 } });
  after(() => bed.dispose());
  await bed.start();
  const [first, second] = [await bed.connect(), await bed.connect()];
  const third = await dial(bed.broker.address('plain')!);
  await until(() => third.closed);
  await first.createTopic('t', 1);
  assert.equal((await second.metadata(['t'])).topics[0]!.errorCode, 0);
  await first.close();
  await until(() => bed.broker['deployment'].local!.shard.connections.count === 1);
  assert.equal((await (await bed.connect()).metadata(['t'])).topics[0]!.errorCode, 0);
});

test('an aborted broker ends the connections that its own thread has', async () => {
  for (const threads of [0, 1]) {
    const broker = await startBroker({
      settings: embeddedSettings(
        threads === 0
          ? {}
          : {
              threads,
              native: 'off',
              'data.dir': directory,
              'wal.url': pathToFileURL(join(directory, 'wal')).href,
            },
      ),
    });
    const dialled = await dial(broker.addresses.plain!);
    const { socket } = dialled;
    socket.write(Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255]));
    await once(socket, 'data');
    await broker.abort();
    await until(() => dialled.closed);
  }
});

test('what a broker writes to disk is for its owner and group only', async () => {
  const bed = new BrokerBed({ store: 'file' });
  after(() => bed.dispose());
  const umask = process.umask(0);
  try {
    await bed.start();
    const client = await bed.connect();
    await client.createTopic('t', 1);
    assert.equal(
      (await client.produce('t', 0, new BatchPool({ valueBytes: 100, recordsPerBatch: 2 }, 1).take()))
        .errorCode,
      0,
    );
    await bed.upload();
    await bed.stop();
  } finally {
    process.umask(umask);
  }
  const seen: string[] = [];
  for (const root of ['data', 'store']) {
    for (const name of ['.', ...readdirSync(join(bed.dir, root), { recursive: true }).map(String)]) {
      const { mode } = statSync(join(bed.dir, root, name));
      seen.push(name);
      assert.equal(mode & 0o027, 0, `${root}/${name} has mode ${(mode & 0o777).toString(8)}`);
    }
  }
  for (const kind of [/\.wal$/, /^lock$/, /^lock\.\d+$/, /^data\/../, /^meta\/log\//])
    assert.ok(
      seen.some((name) => kind.test(name)),
      `no ${kind} among ${seen.join(' ')}`,
    );
});
