/** Listener addresses: `plain://host:port`, `tls://host:port`; Kafka's PLAINTEXT:// and SSL:// mean the same. */
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
  readonly protocol: ListenerProtocol;
}

const schemes: Readonly<Record<string, ListenerProtocol>> = {
  plain: 'plain',
  plaintext: 'plain',
  tls: 'tls',
  ssl: 'tls',
};

/** Throws `Expected` (see values.ts) for what is no listener address. */
export function parseListener(text: string): ListenerAddress {
  const match = /^([a-z]+):\/\/(.*)$/i.exec(text);
  const protocol = match === null ? undefined : schemes[match[1]!.toLowerCase()];
  if (protocol === undefined)
    throw new Expected('listeners such as plain://0.0.0.0:9092 or tls://0.0.0.0:9093');
  return { protocol, ...parseAddress(match![2]!) };
}

/** host:port, :port or [v6]:port. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:/[\]\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || !(port <= 65_535)) {
    throw new Expected('host:port with a port from 0 to 65535, such as 127.0.0.1:9092, :9092 or [::1]:9092');
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

export function addressText(address: Address): string {
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
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
