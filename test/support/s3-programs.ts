/**
 * Real S3 servers as programs, kept under ~/.cache/millrace-tests, which tests share and the repository does not hold.
 *
 *   versitygw   a Go module, minutes to build: only prepare() does that, tests take what is there
 *   moto        from PyPI, installed on first use where Python is
 *
 * A program is made under a name of its own and renamed, so that test files running at once never see half of it.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cache = join(homedir(), '.cache', 'millrace-tests');
const versitygwModule = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const versitygwPath = join(cache, 'versitygw-1.8.0');
const motoHome = join(cache, 'moto');

export const s3ServerNames = ['versitygw', 'moto'] as const;
export type S3ServerName = (typeof s3ServerNames)[number];

export interface S3Secrets {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** How to start a server on a loopback port with its data below a directory. */
export interface S3Program {
  readonly path: string;
  args(port: number, directory: string, secrets: S3Secrets, tls: S3Tls | null): readonly string[];
  /** Below the endpoint; any answer means that it serves. */
  readonly probe: string;
}

export interface S3Tls {
  readonly certFile: string;
  readonly keyFile: string;
}

const versitygw: S3Program = {
  path: versitygwPath,
  args: (port, directory, secrets, tls) => {
    const [objects, attributes] = [join(directory, 'objects'), join(directory, 'attributes')];
    mkdirSync(objects, { recursive: true });
    mkdirSync(attributes, { recursive: true });
    const keys = ['--access', secrets.accessKeyId, '--secret', secrets.secretAccessKey];
    const certificate = tls === null ? [] : ['--cert', tls.certFile, '--key', tls.keyFile];
    const listen = ['--port', `127.0.0.1:${port}`, '--region', 'us-east-1', '--keep-alive', '--quiet'];
    // Not every temporary directory has extended attributes: they go into files beside it.
    return [...listen, ...keys, ...certificate, 'posix', '--sidecar', attributes, objects];
  },
  probe: '/',
};

const moto: S3Program = {
  path: join(motoHome, 'bin', 'moto_server'),
  args: (port, _directory, _secrets, tls) => {
    const certificate = tls === null ? [] : ['-c', tls.certFile, '-k', tls.keyFile];
    return ['-H', '127.0.0.1', '-p', String(port), ...certificate];
  },
  probe: '/moto-api/',
};

/** The program, or why this machine has none. `build` allows for minutes of work. */
export async function s3Program(name: S3ServerName, build = false): Promise<S3Program | string> {
  return name === 'moto' ? installMoto() : versitygwProgram(build);
}

async function versitygwProgram(build: boolean): Promise<S3Program | string> {
  if (existsSync(versitygwPath)) return versitygw;
  if (!build) return 'versitygw is not built; node dist/test/support/s3-prepare.js builds it in some minutes';
  mkdirSync(cache, { recursive: true });
  const aside = mkdtempSync(join(cache, '.versitygw-'));
  try {
    const args = ['install', '-trimpath', '-ldflags=-s -w', versitygwModule];
    const env = { ...process.env, GOBIN: aside, GOTOOLCHAIN: 'local' };
    await run('go', args, { env, timeout: 900_000, maxBuffer: 16 << 20 });
    renameSync(join(aside, 'versitygw'), versitygwPath);
    return versitygw;
  } catch (error) {
    return `versitygw cannot be built: ${String(error).slice(0, 200)}`;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

/** A virtual environment cannot be renamed: a half-made one has no program and is made again. */
async function installMoto(): Promise<S3Program | string> {
  if (existsSync(moto.path)) return moto;
  try {
    await run('python3', ['-m', 'venv', motoHome], { timeout: 60_000 });
    await run(join(motoHome, 'bin', 'pip'), ['install', '-q', 'moto[server]'], { timeout: 240_000 });
    return moto;
  } catch (error) {
    return `moto cannot be installed: ${String(error).slice(0, 200)}`;
  }
}
