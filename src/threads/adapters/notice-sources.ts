/**
 * Where notices of interruption are read: the instance metadata service of AWS, an address, a file. Each look is bounded in time and in
 * what it takes of an answer. Main thread.
 *
 * AWS (IMDSv2, "Spot Instance interruption notices"): PUT /latest/api/token gives a token for some hours; with it GET
 * /latest/meta-data/spot/instance-action answers 404 until there is a notice, then {"action":"terminate","time":"…Z"}, two minutes
 * ahead. 401 = the token has run out.
 */
import { stat } from 'node:fs';
import type { PolledNotice } from '../../config/notice-settings.ts';
import type { NoticeSource } from '../../ports/notice-source.ts';
import { callHttp, type HttpAnswer, isLate, withoutSecrets } from './http-call.ts';

const tokenSeconds = 21_600;
const textMax = 500;

/** @param limitMs of one look. */
export function openNoticeSource(place: PolledNotice, limitMs: number): NoticeSource {
  switch (place.kind) {
    case 'aws':
      return new AwsNotices(place.origin, limitMs);
    case 'http':
      return { name: withoutSecrets(place.url), look: () => lookAt(place.url, limitMs) };
    case 'file':
      return { name: place.path, look: () => lookForFile(place.path) };
  }
}

class AwsNotices implements NoticeSource {
  readonly name: string;
  readonly #origin: string;
  readonly #limitMs: number;
  #token = '';

  constructor(origin: string, limitMs: number) {
    this.name = `aws ${origin}`;
    this.#origin = origin;
    this.#limitMs = limitMs;
  }

  async look(): Promise<string | null> {
    const signal = AbortSignal.timeout(this.#limitMs);
    for (const fresh of [false, true]) {
      if (this.#token === '' || fresh) this.#token = await this.#newToken(signal);
      const { status, text } = await call(
        'GET',
        `${this.#origin}/latest/meta-data/spot/instance-action`,
        signal,
        {
          'x-aws-ec2-metadata-token': this.#token,
        },
      );
      if (status === 401) continue;
      if (status === 404) return null;
      if (status === 200) return text;
      throw new Error(`spot/instance-action was answered with ${status}`);
    }
    this.#token = '';
    throw new Error('a new token was refused');
  }

  async #newToken(signal: AbortSignal): Promise<string> {
    const { status, text } = await call('PUT', `${this.#origin}/latest/api/token`, signal, {
      'x-aws-ec2-metadata-token-ttl-seconds': String(tokenSeconds),
    });
    if (status !== 200 || text === '') throw new Error(`no token: answered with ${status}`);
    return text;
  }
}

async function lookAt(url: string, limitMs: number): Promise<string | null> {
  const { status, text } = await call('GET', url, AbortSignal.timeout(limitMs), {});
  if (status === 404 || status === 204) return null;
  if (status === 200) return text;
  throw new Error(`answered with ${status}`);
}

function lookForFile(path: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    stat(path, (error) => {
      if (error === null) resolve('the file is there');
      else if (error.code === 'ENOENT' || error.code === 'ENOTDIR') resolve(null);
      else reject(error);
    });
  });
}

async function call(
  method: 'GET' | 'PUT',
  url: string,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>>,
): Promise<HttpAnswer> {
  try {
    const { status, text } = await callHttp(method, url, signal, headers, textMax);
    return { status, text: text.trim() };
  } catch (error) {
    throw isLate(error as Error) ? new Error('no answer in time') : error;
  }
}
