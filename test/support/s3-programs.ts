/**
 * Real S3 servers as programs, installed as the clients are (installed.ts):
 *
 *   versitygw   a Go module, a minute or two to build: the set-up of `npm test` does that, a test takes what is there
 *   moto        from PyPI, installed on first use where Python is
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { installed, requireInstalled, step } from './installed.ts';

const versitygwModule = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const motoPackage = 'moto[server]==5.2.5';

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
}

export interface S3Tls {
  readonly certFile: string;
  readonly keyFile: string;
}

const versitygw = (home: string): S3Program => ({
  path: join(home, 'versitygw'),
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
});

const moto = (home: string): S3Program => ({
  path: join(home, 'bin', 'python'),
  args: (port, _directory, _secrets, tls) => {
    const certificate = tls === null ? [] : ['-c', tls.certFile, '-k', tls.keyFile];
    return ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port), ...certificate];
  },
});

/** The program, or why this machine has none. `build` allows for minutes of work. */
export async function s3Program(name: S3ServerName, build = false): Promise<S3Program | string> {
  try {
    return name === 'moto' ? moto(await installMoto()) : versitygw(await buildVersitygw(build));
  } catch (error) {
    return `${name} cannot be had here: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function buildVersitygw(build: boolean): Promise<string> {
  if (!build) requireInstalled('versitygw', versitygwModule);
  return installed('versitygw', versitygwModule, async (aside) => {
    const env = { GOBIN: aside, GOTOOLCHAIN: 'local' };
    await step('go', ['install', '-trimpath', '-ldflags=-s -w', versitygwModule], { env });
  });
}

/** Programs of a virtual environment name the directory that it was made in; its Python does not. */
function installMoto(): Promise<string> {
  return installed('moto', motoPackage, async (aside) => {
    await step('python3', ['-m', 'venv', aside]);
    await step(join(aside, 'bin', 'python'), ['-m', 'pip', 'install', '-q', motoPackage]);
  });
}
