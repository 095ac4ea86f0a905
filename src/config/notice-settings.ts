/** Where word comes from that a machine is to be taken away: a part of the one table, in its order. */
import { duration, list } from './setting-spec.ts';

/** Of those that nobody else uses; SIGTERM and SIGINT stop a broker anyway, SIGUSR1 is Node's. */
export const noticeSignals = ['SIGUSR2', 'SIGPWR', 'SIGHUP'] as const;
export type NoticeSignal = (typeof noticeSignals)[number];

export type NoticePlace =
  /** Instance metadata service of AWS, version 2, at this origin. */
  | { readonly kind: 'aws'; readonly origin: string }
  /** An answer of 200 is a notice, 204 and 404 are none. */
  | { readonly kind: 'http'; readonly url: string }
  /** A notice as soon as it is there. */
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'signal'; readonly signal: NoticeSignal };

/** Those that are asked again and again. */
export type PolledNotice = Exclude<NoticePlace, { readonly kind: 'signal' }>;

const awsOrigin = 'http://169.254.169.254';
const isHttp = (url: string): boolean => URL.canParse(url) && /^https?:\/\//.test(url);

/** Null for what is none. */
export function parseNotice(text: string): NoticePlace | null {
  if (text === 'aws') return { kind: 'aws', origin: awsOrigin };
  if (text.startsWith('aws:')) {
    const origin = text.slice('aws:'.length).replace(/\/+$/, '');
    return isHttp(origin) ? { kind: 'aws', origin } : null;
  }
  if (text.startsWith('file:/'))
    return { kind: 'file', path: text.slice('file:'.length).replace(/^\/{3}/, '/') };
  if (text.startsWith('signal:')) {
    const signal = noticeSignals.find((name) => `signal:${name}` === text);
    return signal === undefined ? null : { kind: 'signal', signal };
  }
  return isHttp(text) ? { kind: 'http', url: text } : null;
}

export const noticeSettings = {
  'interruption.notices': list({
    group: 'Operation',
    default: [],
    check: (values) =>
      values.every((value) => parseNotice(value) !== null)
        ? null
        : `aws, http://…, https://…, file:/path or signal:NAME of ${noticeSignals.join(', ')}`,
    doc: 'Where word comes from that this machine is to be taken away; the broker then leaves as on SIGTERM. aws = the instance metadata service (spot/instance-action); an address: 200 is a notice, 204 and 404 are none; file:/path: it appears; signal:SIGUSR2 likewise.',
  }),
  'interruption.poll.ms': duration({
    group: 'Operation',
    default: 5_000,
    min: 100,
    max: 60_000,
    doc: 'Between two looks for a notice; a look takes as long at most.',
  }),
} as const;
