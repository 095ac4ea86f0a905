/**
 * Real etcds on loopback ports, their data in a temporary directory that goes with them: one member, or several that make a
 * cluster. Built from etcd's own module, which cannot be installed by name, so a program of a few lines imports it
 * (test/support/etcd): the set-up of `npm test` does that, a test takes what is there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installed, requireInstalled, step } from './installed.ts';
import { answersWhile, ownPorts } from './ports.ts';

const files = ['go.mod', 'go.sum', 'main.go'];
const sources = join(process.cwd(), 'test', 'support', 'etcd');

export interface EtcdServerOptions {
  /** 1 when absent. */
  readonly members?: number;
  /** Files of PEM; clients must show a certificate of that authority when `clientCa` is given. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** Milliseconds: shorter ones make leases of one second possible. */
  readonly heartbeatMs?: number;
  readonly electionMs?: number;
  readonly args?: readonly string[];
  /** Where its data stay; else in a temporary directory that goes with it. */
  readonly directory?: string;
  /** In a process group of its own: a Ctrl-C for the starter does not reach it. */
  readonly detached?: boolean;
}

export interface EtcdServer {
  /** As built: 3.6.16. */
  readonly version: string;
  /** host:port of each member. */
  readonly endpoints: readonly string[];
  /** kill -9; the data stay. */
  kill(member: number): Promise<void>;
  /** Starts a killed member again, and waits until it listens. */
  restart(member: number): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(member: number): void;
  resume(member: number): void;
  stop(): Promise<void>;
}

/** The program, or why this machine has none. `build` allows for minutes of work. */
export async function etcdProgram(build = false): Promise<string> {
  const recipe = files.map((file) => readFileSync(join(sources, file), 'utf8')).join('\0');
  if (!build) requireInstalled('etcd', recipe);
  const home = await installed('etcd', recipe, async (aside) => {
    for (const file of files) cpSync(join(sources, file), join(aside, file));
    const args = ['build', '-trimpath', '-ldflags=-s -w', '-o', join(aside, 'etcd'), '.'];
    await step('go', args, { cwd: aside, env: { GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod' } });
  });
  return join(home, 'etcd');
}

/** An etcd, or the reason why there is none. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer | string> {
  let program: string;
  try {
    program = await etcdProgram();
  } catch (error) {
    return `etcd cannot be had here: ${error instanceof Error ? error.message : String(error)}`;
  }
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'millrace-etcd-'));
  const count = options.members ?? 1;
  const ports = await ownPorts(count * 2);
  const scheme = options.tls === undefined ? 'http' : 'https';
  const members = Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    client: `127.0.0.1:${ports[2 * i]}`,
    peer: `http://127.0.0.1:${ports[2 * i + 1]}`,
  }));
  const running: (Member | null)[] = members.map(() => null);
  const initial = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const begin = async (i: number): Promise<void> => {
    const { name, client, peer } = members[i]!;
    const data = join(directory, name);
    mkdirSync(data, { recursive: true, mode: 0o700 });
    const url = `${scheme}://${client}`;
    const args = [
      ['--name', name, '--data-dir', data, '--log-level', 'error', '--unsafe-no-fsync'],
      ['--listen-client-urls', url, '--advertise-client-urls', url],
      ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ['--initial-cluster', initial, '--initial-cluster-token', directory],
      ['--heartbeat-interval', String(options.heartbeatMs ?? 100)],
      ['--election-timeout', String(options.electionMs ?? 1000)],
      tlsArgs(options.tls),
      options.args ?? [],
    ].flat();
    running[i] = new Member(spawn(program, args, { stdio: 'ignore', detached: options.detached ?? false }));
    if (!(await answersWhile(ports[2 * i]!, () => running[i]!.runs)))
      throw new Error(`etcd ${name} does not listen`);
  };
  const kill = async (i: number): Promise<void> => {
    await running[i]?.kill();
    running[i] = null;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(members.map((_, i) => kill(i)));
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all(members.map((_, i) => begin(i)));
  } catch (error) {
    await stop();
    return `etcd is there but does not start: ${(error as Error).message}`;
  }
  return {
    version: etcdVersion(),
    endpoints: members.map(({ client }) => client),
    kill,
    restart: begin,
    pause: (i) => void running[i]?.child.kill('SIGSTOP'),
    resume: (i) => void running[i]?.child.kill('SIGCONT'),
    stop,
  };
}

/** Of the module that the program is built from. */
export function etcdVersion(): string {
  const [, version] = /go\.etcd\.io\/etcd\/server\/v3 v(\S+)/.exec(
    readFileSync(join(sources, 'go.mod'), 'utf8'),
  )!;
  return version!;
}

class Member {
  readonly child: ChildProcess;
  readonly #ended: Promise<void>;

  constructor(child: ChildProcess) {
    this.child = child;
    this.#ended = new Promise((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
  }

  get runs(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#ended;
  }
}

function tlsArgs(tls: EtcdServerOptions['tls']): string[] {
  if (tls === undefined) return [];
  const client = tls.clientCa === undefined ? [] : ['--client-cert-auth', '--trusted-ca-file', tls.clientCa];
  return ['--cert-file', tls.cert, '--key-file', tls.key, ...client];
}
