/**
 * A real S3 server on a loopback port: moto, installed once from PyPI into a virtual environment under
 * ~/.cache/millrace-tests. startS3() resolves with null and a reason where that is impossible (no Python, no network).
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface S3Server {
  readonly endpoint: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  createBucket(name: string): Promise<void>;
  stop(): Promise<void>;
}

const run = promisify(execFile);
const home = join(homedir(), '.cache', 'millrace-tests', 'moto');
const startTimeoutMs = 20_000;

/** A server, or the reason why there is none. */
export async function startS3(): Promise<S3Server | string> {
  const program = join(home, 'bin', 'moto_server');
  if (!existsSync(program)) {
    try {
      await run('python3', ['-m', 'venv', home], { timeout: 60_000 });
      await run(join(home, 'bin', 'pip'), ['install', '-q', 'moto[server]'], { timeout: 240_000 });
    } catch (error) {
      return `moto cannot be installed: ${String(error).slice(0, 200)}`;
    }
  }
  const port = await freePort();
  const server = spawn(program, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  const endpoint = `http://127.0.0.1:${port}`;
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL');
    await ended;
  };
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const answers = await fetch(`${endpoint}/moto-api/`).then(
      (response) => response.ok,
      () => false,
    );
    if (answers) break;
    if (performance.now() > deadline || server.exitCode !== null) {
      await stop();
      return 'moto was installed but does not answer';
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    endpoint,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    createBucket: async (name) => {
      const response = await fetch(`${endpoint}/${name}`, {
        method: 'PUT',
        headers: { authorization: 'AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request' },
      });
      if (!response.ok) throw new Error(`bucket ${name}: ${response.status} ${await response.text()}`);
    },
    stop,
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
