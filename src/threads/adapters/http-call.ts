/** One HTTP request to a place that an operator named: bounded by the caller's signal in time, and in what is kept of the answer. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface HttpAnswer {
  readonly status: number;
  /** The beginning of the body. */
  readonly text: string;
}

/** @param textMax characters of the answer that are kept. Rejects with what the connection or the signal says. */
export function callHttp(
  method: 'GET' | 'PUT' | 'POST',
  url: URL | string,
  signal: AbortSignal,
  headers: Readonly<Record<string, string | number>>,
  textMax: number,
  body?: string,
): Promise<HttpAnswer> {
  const send = new URL(url).protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const call = send(url, { method, headers, signal, agent: false });
    call.on('error', reject);
    call.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text = (text + part).slice(0, textMax);
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.end(body);
  });
}

/** The signal has ended it. */
export function isLate({ name }: Error): boolean {
  return name === 'AbortError' || name === 'TimeoutError';
}

/** Names and tokens of an address are not for the log. */
export function withoutSecrets(url: URL | string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
