/**
 * A real S3 server on a loopback port, its data in a temporary directory that goes with it. startS3() takes the best one
 * that this machine has (s3-programs.ts) and resolves with a reason where there is none: no program, no network.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { answersWhile, ownPort } from './ports.ts';
import { type S3Secrets, type S3ServerName, type S3Tls, s3Program, s3ServerNames } from './s3-programs.ts';

export interface S3Server {
  readonly name: S3ServerName;
  /** https:// where it was started with a certificate. */
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: S3Secrets;
  /** For measuring it, and for stopping it in its tracks. */
  readonly pid: number;
  createBucket(name: string): Promise<void>;
  stop(): Promise<void>;
}

export interface S3Options {
  /** This server and no other. */
  readonly name?: S3ServerName;
  /** Serves https with these. */
  readonly tls?: S3Tls;
  /** Builds what is not there yet, which takes minutes; tests leave that to the set-up of `npm test`. */
  readonly build?: boolean;
  /** Where its data goes instead of the system's temporary directory. */
  readonly below?: string;
  /** Words in front of the command, such as a program that ends it with its parent. */
  readonly wrapper?: readonly string[];
}

// Or each test process would warn of the Node versions that coming SDKs need.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';

const region = 'us-east-1';
const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret' };

/** A server, or the reason why there is none. */
export async function startS3(options: S3Options = {}): Promise<S3Server | string> {
  const reasons: string[] = [];
  for (const name of options.name === undefined ? s3ServerNames : [options.name]) {
    const server = await start(name, options);
    if (typeof server !== 'string') return server;
    reasons.push(server);
  }
  return reasons.join('; ');
}

async function start(name: S3ServerName, options: S3Options): Promise<S3Server | string> {
  const program = await s3Program(name, options.build);
  if (typeof program === 'string') return program;
  const tls = options.tls ?? null;
  const directory = mkdtempSync(join(options.below ?? tmpdir(), `millrace-${name}-`));
  const port = await ownPort();
  const args = program.args(port, directory, credentials, tls);
  const command = [...(options.wrapper ?? []), program.path, ...args];
  const server = spawn(command[0]!, command.slice(1), { stdio: 'ignore', cwd: directory });
  const endpoint = `${tls === null ? 'http' : 'https'}://127.0.0.1:${port}`;
  const ended = new Promise<void>((resolve) => {
    server.once('close', () => resolve());
    server.once('error', () => resolve());
  });
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  if (!(await answersWhile(port, () => server.exitCode === null && server.pid !== undefined))) {
    await stop();
    return `${name} is there but does not answer`;
  }
  return { name, endpoint, region, credentials, pid: server.pid!, createBucket: bucketMaker(endpoint), stop };
}

function bucketMaker(endpoint: string): (name: string) => Promise<void> {
  return async (Bucket) => {
    const client = new S3Client({
      endpoint,
      region,
      credentials,
      forcePathStyle: true,
      requestHandler: { httpsAgent: new Agent({ rejectUnauthorized: false }) },
    });
    await client.send(new CreateBucketCommand({ Bucket }));
    client.destroy();
  };
}
