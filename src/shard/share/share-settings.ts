/** Configs of share groups in force, from the group's own entries and the broker's; read each time, since both may change. */
import type { ShareGroupSettings } from '../../coordinator/group/share/share-group-api.ts';
import type { ShareReset, ShareSettings } from '../../log/share/share-api.ts';

export interface ShareConfigs {
  /** Value that a group follows; null when there is none. */
  group(groupId: string, name: string): string | null;
  broker(name: string): string | null;
}

export function shareSettings(configs: ShareConfigs, groupId: string): ShareSettings {
  const read = (name: string): string => configs.group(groupId, name) ?? '';
  return {
    lockMs: Number(read('share.record.lock.duration.ms')),
    deliveriesMax: Number(read('share.delivery.count.limit')),
    locksMax: Number(read('share.partition.max.record.locks')),
    committed: read('share.isolation.level') === 'read_committed',
    reset: resetOf(read('share.auto.offset.reset')),
    renewals: read('share.renew.acknowledge.enable') === 'true',
  };
}

export function shareGroupSettings(configs: ShareConfigs, groupId: string): ShareGroupSettings {
  const read = (name: string): number => Number(configs.group(groupId, name));
  return {
    sessionTimeoutMs: read('share.session.timeout.ms'),
    heartbeatIntervalMs: read('share.heartbeat.interval.ms'),
    assignmentIntervalMs: read('share.assignment.interval.ms'),
    membersMax: Number(configs.broker('group.share.max.size')),
  };
}

const durationPrefix = 'by_duration:';

/** `latest`, `earliest`, or `by_duration:` with days, hours, minutes and seconds of ISO 8601. */
function resetOf(text: string): ShareReset {
  if (text.startsWith(durationPrefix))
    return { at: 'duration', durationMs: durationMs(text.slice(durationPrefix.length)) };
  return { at: text === 'earliest' ? 'earliest' : 'latest' };
}

function durationMs(text: string): number {
  const parts = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text);
  const [, days, hours, minutes, seconds] = parts ?? [];
  const of = (part: string | undefined): number => Number(part ?? 0);
  return (((of(days) * 24 + of(hours)) * 60 + of(minutes)) * 60 + of(seconds)) * 1000;
}
