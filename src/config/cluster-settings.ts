/** Settings of a broker that is one of several: a part of the one table, in its order. */
import { int, password, text } from './setting-spec.ts';
import { absolutePath } from './setting-urls.ts';

/** Where a cluster's metadata are: members of the etcd, and the prefix of all keys. */
export interface MetadataPlace {
  /** host:port each. */
  readonly endpoints: readonly string[];
  /** Without '/' at its end. */
  readonly prefix: string;
}

const member = /^(?:\[[0-9a-fA-F:.]+\]|[^:/?#@\s,[\]]+):(\d{1,5})$/;
const defaultPrefix = '/millrace';

/** `etcd://host:port,host:port/prefix`, null for what is none. */
export function parseMetadataUrl(url: string): MetadataPlace | null {
  const [, members, path] = /^etcd:\/\/([^/]+)(\/[^?#\s]*)?$/.exec(url) ?? [];
  const endpoints = members?.split(',') ?? [];
  const isMember = (text: string): boolean => {
    const port = Number(member.exec(text)?.[1] ?? 0);
    return port >= 1 && port <= 65_535;
  };
  if (endpoints.length === 0 || !endpoints.every(isMember)) return null;
  const prefix = (path ?? '').replace(/\/+$/, '');
  return { endpoints, prefix: prefix === '' ? defaultPrefix : prefix };
}

export const clusterSettings = {
  'metadata.url': text({
    group: 'Cluster',
    default: '',
    check: (url) =>
      url === '' || parseMetadataUrl(url) !== null ? null : 'etcd://HOST:PORT,HOST:PORT/prefix',
    doc: 'The etcd of a cluster, etcd://HOST:PORT,…/prefix (/millrace where none is given): all brokers with the same store and the same etcd are one cluster. Empty = the broker has the store to itself.',
  }),
  'etcd.user': text({
    group: 'Cluster',
    default: '',
    doc: 'Name at an etcd that asks for it; empty = none.',
  }),
  'etcd.password': password({
    group: 'Cluster',
    default: '',
    doc: 'Password of etcd.user. Better in the environment or a file than on the command line.',
  }),
  'etcd.ca.file': text({
    group: 'Cluster',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificates of the authorities of etcd; with one, etcd is spoken to by TLS.',
  }),
  'etcd.cert.file': text({
    group: 'Cluster',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificate that is shown to etcd.',
  }),
  'etcd.key.file': text({
    group: 'Cluster',
    default: '',
    settle: absolutePath,
    doc: 'PEM private key of etcd.cert.file.',
  }),
  'cluster.session.ms': int({
    group: 'Cluster',
    default: 3_000,
    min: 2_000,
    max: 60_000,
    doc: 'After how long without a sign of life a broker counts as gone, and others take what it had.',
  }),
} as const;
