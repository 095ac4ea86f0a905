/**
 * The store's URL with the settings of its adapter in it, so that one text is all that threads need to open it. What the
 * URL itself says wins: it is the more particular of the two.
 */
import type { Settings } from './setting-keys.ts';

export function storeUrlOf(settings: Settings, text: string = settings['store.url']): string {
  if (!text.startsWith('s3:')) return text;
  const url = new URL(text);
  const set = (name: string, value: string | number | boolean): void => {
    if (value !== '' && !url.searchParams.has(name)) url.searchParams.set(name, String(value));
  };
  set('endpoint', settings['s3.endpoint']);
  set('region', settings['s3.region']);
  if (settings['s3.path.style']) set('pathStyle', true);
  if (settings['s3.parts'] !== 'any') set('parts', settings['s3.parts']);
  const encryption = settings['s3.encryption'];
  if (encryption !== 'none') set('encryption', encryption);
  if (url.searchParams.get('encryption') === 'aws:kms') set('kmsKeyId', settings['s3.kms.key.id']);
  set('caFile', settings['s3.ca.file']);
  set('maxSockets', settings['s3.max.sockets']);
  set('connectTimeoutMs', settings['s3.connect.timeout.ms']);
  set('requestTimeoutMs', settings['s3.request.timeout.ms']);
  return url.href;
}
