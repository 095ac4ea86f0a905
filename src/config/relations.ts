/** What must hold between settings; each rule blames the one setting that most likely has to change. */
import {
  isUnspecified,
  kafkaListenerName,
  listenerName,
  parseListener,
  parseProtocolMapping,
  protocolOf,
} from './addresses.ts';
import { segmentsMin } from './derive.ts';
import type { SettingProblem } from './setting-error.ts';
import type { SettingKey, Settings } from './setting-keys.ts';
import { bytesText, durationText, plainText } from './values.ts';

export type RelationProblem = Omit<SettingProblem, 'origin' | 'setting'> & { readonly setting: SettingKey };

export function relationProblems(settings: Settings): RelationProblem[] {
  const problems: RelationProblem[] = [];
  const wrong = (setting: SettingKey, expected: string): void => {
    problems.push({ setting, value: plainText(settings[setting]), expected });
  };
  memoryRelations(settings, wrong);
  listenerRelations(settings, wrong);
  policyRelations(settings, wrong);
  const max = settings['group.max.session.timeout.ms'];
  if (settings['group.min.session.timeout.ms'] > max) {
    wrong('group.min.session.timeout.ms', `at most group.max.session.timeout.ms, ${durationText(max, 'ms')}`);
  }
  consumerGroupRelations(settings, wrong);
  if (settings['max.connections.per.ip'] === 0 && settings['max.connections.per.ip.overrides'].length === 0)
    wrong('max.connections.per.ip', '1 or more, unless max.connections.per.ip.overrides lets somebody in');
  if (settings['s3.kms.key.id'] !== '' && settings['s3.encryption'] !== 'aws:kms') {
    wrong('s3.encryption', 'aws:kms, since s3.kms.key.id names a key');
  }
  const kinds = new Set(settings['wal.url'].map((url) => new URL(url).protocol.replace('s3:', 'store:')));
  if (kinds.size > 1) wrong('wal.url', 'volumes of one kind');
  if (new Set(settings['wal.url']).size < settings['wal.url'].length && !kinds.has('memory:')) {
    wrong('wal.url', 'each volume once');
  }
  if (settings.threads > 0 && kinds.has('store:') && settings['store.url'].startsWith('memory:')) {
    wrong('wal.url', "a WAL in store: needs a store that all threads reach; memory: is one thread's own");
  }
  // A commit and the one that follows it must fit beside what waits for its upload.
  if (settings['message.max.bytes'] > settings['wal.capacity'] / 4) {
    wrong('message.max.bytes', `at most a quarter of wal.capacity, ${bytesText(settings['wal.capacity'])}`);
  }
  if (problems.length === 0 && settings['message.max.bytes'] > settings['socket.request.max.bytes']) {
    wrong(
      'message.max.bytes',
      `at most socket.request.max.bytes, ${bytesText(settings['socket.request.max.bytes'])}`,
    );
  }
  return problems;
}

type Wrong = (setting: SettingKey, expected: string) => void;

/** The same holds for what is changed while brokers run, where it is checked when the policy is read. */
function policyRelations(settings: Settings, wrong: Wrong): void {
  const trigger = settings['cluster.balance.trigger.ratio'];
  if (settings['cluster.balance.target.ratio'] > trigger)
    wrong('cluster.balance.target.ratio', `at most cluster.balance.trigger.ratio, ${trigger}`);
  const min = settings['cluster.scaling.brokers.min'];
  if (settings['cluster.scaling.brokers.max'] < min)
    wrong('cluster.scaling.brokers.max', `at least cluster.scaling.brokers.min, ${min}`);
  if (settings['cluster.scaling.budget.hour'] > 0 && settings['cost.broker.hour'] === 0)
    wrong('cost.broker.hour', 'what a broker costs, since cluster.scaling.budget.hour is a ceiling');
}

/** As Kafka checks them at its start. */
function consumerGroupRelations(settings: Settings, wrong: Wrong): void {
  for (const what of ['session.timeout.ms', 'heartbeat.interval.ms', 'assignment.interval.ms'] as const) {
    const [min, max] = [settings[`group.consumer.min.${what}`], settings[`group.consumer.max.${what}`]];
    const value = settings[`group.consumer.${what}`];
    if (min > max)
      wrong(`group.consumer.min.${what}`, `at most group.consumer.max.${what}, ${durationText(max, 'ms')}`);
    else if (value < min || value > max) {
      const range = `${durationText(min, 'ms')} to ${durationText(max, 'ms')}`;
      wrong(
        `group.consumer.${what}`,
        `${range}, by group.consumer.min.${what} and group.consumer.max.${what}`,
      );
    }
  }
  const session = settings['group.consumer.session.timeout.ms'];
  if (settings['group.consumer.heartbeat.interval.ms'] >= session) {
    const text = durationText(session, 'ms');
    wrong('group.consumer.heartbeat.interval.ms', `below group.consumer.session.timeout.ms, ${text}`);
  }
}

function memoryRelations(settings: Settings, wrong: Wrong): void {
  const arena = settings['arena.bytes'];
  const segment = settings['arena.segment.bytes'];
  if (arena % segment !== 0) wrong('arena.bytes', `a multiple of arena.segment.bytes, ${bytesText(segment)}`);
  if (arena / segment < segmentsMin) {
    wrong('arena.segment.bytes', `at most 1/${segmentsMin} of arena.bytes, ${bytesText(arena)}`);
  }
  // The caches leave a sixteenth to receive and to send.
  const caches = settings['log.cache.bytes'] + settings['block.cache.bytes'];
  const cachesMax = arena - Math.ceil(arena / 16);
  if (caches > cachesMax) {
    const blame = settings['log.cache.bytes'] > arena / 2 ? 'log.cache.bytes' : 'block.cache.bytes';
    wrong(
      blame,
      `log.cache.bytes + block.cache.bytes of at most 15/16 of arena.bytes, ${bytesText(cachesMax)}`,
    );
  }
}

function listenerRelations(settings: Settings, wrong: Wrong): void {
  const bound = settings.listeners.map(parseListener).map(({ name }) => name);
  const map = settings['listener.security.protocol.map'].map(parseProtocolMapping);
  if (bound.length === 0) wrong('listeners', 'at least one listener');
  if (hasTwice(bound))
    wrong('listeners', 'each name once; listener.security.protocol.map gives protocols to more names');
  if (hasTwice(map.map(({ name }) => name))) wrong('listener.security.protocol.map', 'each name once');
  for (const name of bound) {
    if (protocolOf(name, map) === null)
      wrong('listener.security.protocol.map', `PLAINTEXT or SSL for the listener ${kafkaListenerName(name)}`);
  }
  const interBroker = settings['inter.broker.listener.name'];
  if (interBroker !== '' && !bound.includes(listenerName(interBroker)))
    wrong('inter.broker.listener.name', 'the name of one of listeners');
  advertisedRelations(settings, bound, wrong);
  if (!bound.some((name) => protocolOf(name, map) === 'tls')) return;
  for (const key of ['tls.cert.file', 'tls.key.file'] as const) {
    if (settings[key] === '') wrong(key, 'a PEM file, since listeners has one of TLS');
  }
  if (settings['tls.client.auth'] !== 'none' && settings['tls.ca.file'] === '') {
    wrong('tls.ca.file', `a PEM file, since tls.client.auth is ${settings['tls.client.auth']}`);
  }
}

function advertisedRelations(settings: Settings, bound: readonly string[], wrong: Wrong): void {
  const advertised = settings['advertised.listeners'].map(parseListener);
  for (const { name, host } of advertised) {
    if (!bound.includes(name))
      wrong(
        'advertised.listeners',
        `only names that listeners has; ${kafkaListenerName(name)} is not among them`,
      );
    if (isUnspecified(host)) wrong('advertised.listeners', 'a host name or address that clients can reach');
  }
  if (hasTwice(advertised.map(({ name }) => name)))
    wrong('advertised.listeners', 'at most one address a listener');
}

function hasTwice(names: readonly string[]): boolean {
  return new Set(names).size < names.length;
}
