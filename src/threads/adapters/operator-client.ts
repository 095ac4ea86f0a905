/** Asks a broker that runs over HTTP, as the command line does. Every wait and every answer is bounded. */
import { request as httpRequest } from 'node:http';
import type { OperatorAnswer } from '../../ports/cluster-reports.ts';
import { MillraceError } from '../../ports/errors.ts';

const timeoutMs = 15_000;
const bytesMax = 16 << 20;

/** @param address host:port. Rejects with BROKER_UNREACHABLE (unavailable). */
export function askBroker(address: string, method: 'GET' | 'POST', path: string): Promise<OperatorAnswer> {
  const failed = (why: string): MillraceError =>
    new MillraceError(
      'unavailable',
      'BROKER_UNREACHABLE',
      `no broker answers at ${address}: ${why}. Is one running there, with http.address? --http HOST:PORT asks another`,
    );
  return new Promise((resolve, reject) => {
    if (!URL.canParse(`http://${address}${path}`)) return reject(failed('that is no address'));
    const call = httpRequest(`http://${address}${path}`, {
      method,
      headers: { 'x-millrace-operator': '1', accept: 'application/json' },
      signal: AbortSignal.timeout(timeoutMs),
    });
    call.on('error', (error) =>
      reject(
        failed(
          error.name === 'AbortError'
            ? `no answer in ${timeoutMs} ms`
            : error.message || String((error as { code?: string }).code),
        ),
      ),
    );
    call.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if (text.length > bytesMax) call.destroy(new Error('its answer is too long'));
      });
      response.on('error', (error) => reject(failed(error.message)));
      response.on('end', () => {
        const { statusCode: status = 0 } = response;
        try {
          resolve({ status, body: JSON.parse(text) });
        } catch {
          resolve({ status, body: { code: 'HTTP', message: text.trim().split('\n', 1)[0] ?? '' } });
        }
      });
    });
    call.end();
  });
}
