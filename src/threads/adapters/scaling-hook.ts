/**
 * The platform that runs brokers, as an operator names it: a command, or an address that takes a POST. Both are given the request as
 * JSON (a command on its standard input, besides the numbers as arguments), have so much time, and say with exit code 0 or a status of
 * 2xx that they have taken notice. What they say besides, up to `textMax` characters, is handed back. Main thread.
 *
 *   exec:/path/to/command        command DESIRED CURRENT REMOVE   (node ids with commas between them, '' = none)
 *   http://host/path, https://…  POST, application/json
 */
import { spawn } from 'node:child_process';
import { MillraceError } from '../../ports/errors.ts';
import type { ScalingHook, ScalingRequest } from '../../ports/scaling-hook.ts';
import { callHttp, isLate, withoutSecrets } from './http-call.ts';

/** Of what a command says, or an answer's body. */
const textMax = 500;

/** Throws SCALING_HOOK_URL (invalid). */
export function openScalingHook(url: string, limitMs: number): ScalingHook {
  const within = (stopped?: AbortSignal): AbortSignal => {
    const late = AbortSignal.timeout(limitMs);
    return stopped === undefined ? late : AbortSignal.any([late, stopped]);
  };
  if (url.startsWith('exec:/')) {
    const command = url.slice('exec:'.length);
    return { ask: (request, stopped) => run(command, request, limitMs, within(stopped)) };
  }
  if (/^https?:\/\//.test(url) && URL.canParse(url)) {
    const address = new URL(url);
    return { ask: (request, stopped) => post(address, request, limitMs, within(stopped)) };
  }
  throw new MillraceError(
    'invalid',
    'SCALING_HOOK_URL',
    `'${url}' is neither exec:/path/to/command nor an address of http:// or https://`,
  );
}

function run(
  command: string,
  request: ScalingRequest,
  limitMs: number,
  signal: AbortSignal,
): Promise<string> {
  const { desired, current, remove } = request;
  return new Promise((resolve, reject) => {
    const child = spawn(command, [String(desired), String(current), remove.join(',')], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // Not its own time-out, which outlives a command that is not there.
      signal,
      killSignal: 'SIGKILL',
    });
    let said = '';
    for (const output of [child.stdout, child.stderr])
      output.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(0, textMax);
      });
    child.on('error', (error) => reject(failed(command, reasonOf(error, limitMs))));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(line(said));
      else reject(failed(command, `it ended with ${code ?? signal}${said === '' ? '' : `: ${line(said)}`}`));
    });
    // One that does not read its input is no fault.
    child.stdin.on('error', () => {});
    child.stdin.end(JSON.stringify(request));
  });
}

async function post(
  address: URL,
  request: ScalingRequest,
  limitMs: number,
  signal: AbortSignal,
): Promise<string> {
  const body = JSON.stringify(request);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const place = withoutSecrets(address);
  const { status, text: said } = await callHttp('POST', address, signal, headers, textMax, body).catch(
    (error: Error) => {
      throw failed(place, reasonOf(error, limitMs));
    },
  );
  if (status >= 200 && status < 300) return line(said);
  throw failed(place, `it answered with ${status}${said === '' ? '' : `: ${line(said)}`}`);
}

/** Without line ends and control characters: it goes into the log. */
function line(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ').trim();
}

function reasonOf(error: Error, limitMs: number): string {
  return isLate(error) ? `no answer in ${limitMs} ms` : error.message;
}

function failed(whom: string, why: string): MillraceError {
  return new MillraceError('unavailable', 'SCALING_HOOK', `${whom} could not be asked for brokers: ${why}`);
}
