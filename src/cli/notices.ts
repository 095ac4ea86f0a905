/** From the settings to what is watched for word that this machine is to be taken away: signals, and places that are looked at. */
import { parseNotice } from '../config/notice-settings.ts';
import type { Settings } from '../config/setting-keys.ts';
import type { Logger } from '../ports/logger.ts';
import type { NoticeSource } from '../ports/notice-source.ts';
import { NoticeWatch } from './notice-watch.ts';
import type { ProcessPort } from './process-port.ts';

/** @returns a function that ends the looks; a signal that comes later is still told. */
export async function watchNotices(
  { notices }: Pick<ProcessPort, 'notices'>,
  settings: Settings,
  logger: Logger,
  found: (source: string, notice: string) => void,
): Promise<() => void> {
  const intervalMs = settings['interruption.poll.ms'];
  const sources: NoticeSource[] = [];
  for (const text of settings['interruption.notices']) {
    const place = parseNotice(text)!;
    if (place.kind === 'signal') notices.onSignal(place.signal, () => found(place.signal, 'the signal came'));
    else sources.push(await notices.open(place, intervalMs));
  }
  if (sources.length === 0) return () => {};
  const watch = new NoticeWatch({ sources, intervalMs, clock: notices.clock, logger, found });
  return () => watch.stop();
}
