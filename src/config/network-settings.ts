/** Settings of the listeners and their connections: a part of the one table, in its order. */
import { parseAddress, parseHostLimit, parseListener, parseProtocolMapping, problemOf } from './addresses.ts';
import { defaultRequestBytesMax } from './derive.ts';
import { bytes, choice, duration, int, list, perProfile, text } from './setting-spec.ts';
import { absolutePath } from './setting-urls.ts';
import { longMax } from './values.ts';

const int32Max = 2 ** 31 - 1;

export const networkSettings = {
  listeners: list({
    group: 'Network',
    default: perProfile({
      start: ['plain://:9092'],
      dev: ['plain://127.0.0.1:9092'],
      embedded: ['plain://127.0.0.1:0'],
    }),
    defaultText: 'plain://:9092; dev plain://127.0.0.1:9092; embedded plain://127.0.0.1:0',
    check: (listeners) => firstProblem(listeners, parseListener),
    kafka: 'list',
    doc: 'Addresses for Kafka clients, NAME://HOST:PORT; names are plain (PLAINTEXT), tls (SSL) and those of listener.security.protocol.map; port 0 = any free one.',
  }),
  'advertised.listeners': list({
    group: 'Network',
    default: [],
    defaultText: 'as bound',
    check: (listeners) => firstProblem(listeners, parseListener),
    kafka: 'list',
    doc: 'Addresses that clients are told, by the name of the listener that they come in on, where they differ from those bound.',
  }),
  'listener.security.protocol.map': list({
    group: 'Network',
    default: ['SASL_SSL:SASL_SSL', 'PLAINTEXT:PLAINTEXT', 'SSL:SSL', 'SASL_PLAINTEXT:SASL_PLAINTEXT'],
    check: (mappings) => firstProblem(mappings, parseProtocolMapping),
    kafka: 'list',
    doc: 'Protocols of listeners with names of their own, NAME:PROTOCOL: several of one protocol may then stand side by side. SASL is not served.',
  }),
  'inter.broker.listener.name': text({
    group: 'Network',
    default: '',
    defaultText: 'the first of listeners',
    kafka: 'string',
    doc: 'Listener under which other brokers reach this one. Over TLS a broker shows its own certificate, which must be good for a client, too, where tls.client.auth asks for one.',
  }),
  'http.address': text({
    group: 'Network',
    default: perProfile({ start: '127.0.0.1:9080', dev: '127.0.0.1:9080', embedded: '' }),
    defaultText: '127.0.0.1:9080; embedded off',
    check: (address) => (address === '' ? null : problemOf(parseAddress, address)),
    doc: 'Address of /healthz, /readyz, /metrics and /cluster, which anybody who reaches it may read; :9080 = every interface, empty = off.',
  }),
  'http.changes': choice(['local', 'any', 'off'], {
    group: 'Network',
    default: 'local',
    doc: 'Who may drain brokers and give up logs by http.address: this machine, anybody who reaches it, or nobody.',
  }),
  'tls.cert.file': text({
    group: 'Network',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificate chain of the listeners of TLS.',
  }),
  'tls.key.file': text({
    group: 'Network',
    default: '',
    settle: absolutePath,
    doc: 'PEM private key of the listeners of TLS.',
  }),
  'tls.ca.file': text({
    group: 'Network',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificates of the authorities that client certificates must come from.',
  }),
  'tls.client.auth': choice(['none', 'requested', 'required'], {
    group: 'Network',
    default: 'none',
    kafka: 'string',
    kafkaName: 'ssl.client.auth',
    doc: 'Whether clients of the tls:// listener show a certificate.',
  }),
  'max.connections': int({
    group: 'Network',
    default: 100_000,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc: 'Client connections at a time; more are closed as soon as they are accepted.',
  }),
  'max.connections.per.ip': int({
    group: 'Network',
    default: int32Max,
    min: 0,
    max: int32Max,
    kafka: 'int',
    doc: 'Client connections of one address at a time; more are closed as soon as they are accepted.',
  }),
  'max.connections.per.ip.overrides': list({
    group: 'Network',
    default: [],
    check: (overrides) => firstProblem(overrides, parseHostLimit),
    kafka: 'string',
    doc: 'Hosts with a limit of their own, HOST:COUNT; names are looked up at the start.',
  }),
  'connections.max.idle.ms': duration({
    group: 'Network',
    default: 600_000,
    min: 1_000,
    max: longMax,
    kafka: 'long',
    doc: 'A connection without a request for this long is closed.',
  }),
  'socket.request.max.bytes': bytes({
    group: 'Network',
    default: (context) => defaultRequestBytesMax(context.machine),
    defaultText: '100 MiB, at most a quarter of the memory',
    min: 1_024,
    max: int32Max,
    kafka: 'int',
    doc: 'Largest request; a connection that announces more is closed. What the arena has no room for takes memory beside it, at most this much per shard.',
  }),
  'frame.timeout.ms': duration({
    group: 'Network',
    default: 30_000,
    min: 100,
    max: int32Max,
    doc: 'A request that was announced must be there within this time, or its connection is closed.',
  }),
  'send.timeout.ms': duration({
    group: 'Network',
    default: 60_000,
    min: 100,
    max: int32Max,
    doc: 'An answer that its client takes nothing of for this long costs the connection.',
  }),
};

function firstProblem(items: readonly string[], parse: (text: string) => unknown): string | null {
  for (const item of items) {
    const problem = problemOf(parse, item);
    if (problem !== null) return problem;
  }
  return null;
}
