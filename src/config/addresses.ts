/**
 * Addresses: host:port, and listeners as Kafka spells them, `NAME://host:port`. A listener's name is one of its own, to
 * which listener.security.protocol.map gives a protocol, or a protocol's: plain (Kafka's PLAINTEXT) and tls (SSL).
 * Names are compared without regard to case.
 */
import { Expected } from './values.ts';

export const listenerProtocols = ['plain', 'tls'] as const;
export type ListenerProtocol = (typeof listenerProtocols)[number];

export interface Address {
  /** Without brackets; empty means every interface. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

export interface ListenerAddress extends Address {
  /** In lower case; plain and tls for Kafka's PLAINTEXT and SSL. */
  readonly name: string;
}

/** A listener's protocol, by its name. */
export interface ProtocolMapping {
  readonly name: string;
  /** Null for Kafka's SASL_PLAINTEXT and SASL_SSL, which are not served. */
  readonly protocol: ListenerProtocol | null;
}

const kafkaNames: Readonly<Record<ListenerProtocol, string>> = { plain: 'PLAINTEXT', tls: 'SSL' };
const namePattern = '[A-Za-z][A-Za-z0-9_.-]*';

/** One form for all spellings of a listener's name. */
export function listenerName(text: string): string {
  const name = text.toLowerCase();
  return listenerProtocols.find((protocol) => kafkaNames[protocol].toLowerCase() === name) ?? name;
}

/** As Kafka prints it. */
export function kafkaListenerName(name: string): string {
  return kafkaNames[name as ListenerProtocol] ?? name.toUpperCase();
}

function isProtocol(name: string): name is ListenerProtocol {
  return (listenerProtocols as readonly string[]).includes(name);
}

/** Null for a listener that has none, or one that is not served. */
export function protocolOf(name: string, map: readonly ProtocolMapping[]): ListenerProtocol | null {
  const mapping = map.find((each) => each.name === name);
  if (mapping !== undefined) return mapping.protocol;
  return isProtocol(name) ? name : null;
}

/** Throws `Expected` (see values.ts) for what is no listener address. */
export function parseListener(text: string): ListenerAddress {
  const match = new RegExp(`^(${namePattern})://(.*)$`).exec(text);
  if (match === null) throw new Expected('listeners such as plain://0.0.0.0:9092 or tls://0.0.0.0:9093');
  return { name: listenerName(match[1]!), ...parseAddress(match[2]!) };
}

/** NAME:PROTOCOL. Throws `Expected`. */
export function parseProtocolMapping(text: string): ProtocolMapping {
  const [, name = '', wanted = ''] = new RegExp(`^(${namePattern}):(\\w+)$`).exec(text) ?? [];
  const protocol = listenerName(wanted);
  if (name === '' || !(isProtocol(protocol) || /^sasl_(plaintext|ssl)$/.test(protocol)))
    throw new Expected('NAME:PROTOCOL with a protocol of PLAINTEXT or SSL, such as INTERNAL:PLAINTEXT');
  return { name: listenerName(name), protocol: isProtocol(protocol) ? protocol : null };
}

/** Empty, 0.0.0.0 and ::, whose connections come in on every interface. */
export function isUnspecified(host: string): boolean {
  return host === '' || host === '0.0.0.0' || /^(?:0*:)+:?0*$/.test(host);
}

/** A bound address as this machine reaches it. */
export function reachableText({ host, port }: Address): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : isUnspecified(host) ? 'localhost' : host;
  return addressText({ host: reachable, port });
}

/** host:port, :port or [v6]:port. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+(?:%[\w.~-]+)?)\]|([^:/[\]\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || !(port <= 65_535)) {
    throw new Expected('host:port with a port from 0 to 65535, such as 127.0.0.1:9092, :9092 or [::1]:9092');
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

export function addressText(address: Address): string {
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/** HOST:COUNT, with the host before the last colon, as Kafka takes it: an IPv6 address needs no brackets. Throws `Expected`. */
export function parseHostLimit(text: string): readonly [host: string, max: number] {
  const [, host = '', count = ''] = /^(\S+):(\d{1,10})$/.exec(text) ?? [];
  const max = Number(count);
  if (host === '' || max > 2 ** 31 - 1)
    throw new Expected('HOST:COUNT such as 10.0.0.7:100 or batch.example:2000');
  return [host.replace(/^\[(.*)\]$/, '$1'), max];
}

/** What is wrong with the text, or null. */
export function problemOf(parse: (text: string) => unknown, text: string): string | null {
  try {
    parse(text);
    return null;
  } catch (error) {
    if (error instanceof Expected) return error.message;
    throw error;
  }
}
