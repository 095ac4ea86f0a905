/**
 * X.509 certificates made when a test needs them: nothing that expires lies in the repository, and no machine needs
 * OpenSSL's program. EC keys (P-256, ECDSA with SHA-256); DER is written here, since Node can read certificates but not
 * make them.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
  readonly der: Buffer;
  readonly subject: Buffer;
  readonly privateKey: KeyObject;
}

export interface CertificateOptions {
  /** Null signs itself. */
  readonly issuer: Certificate | null;
  readonly ca?: boolean;
  /** Names from the first to the last, kind by number; several in one entry lie in one set. */
  readonly subject: readonly (readonly NamePart[])[];
  /** Of a server: localhost and the loopback addresses. */
  readonly server?: boolean;
  /** Of a client; a broker among others is both. Default: whoever is no server. */
  readonly client?: boolean;
  /** Days from now. */
  readonly from?: number;
  readonly until?: number;
}

export interface NamePart {
  readonly oid: string;
  readonly value: string | Buffer;
}

export const oids = {
  commonName: '2.5.4.3',
  serialNumber: '2.5.4.5',
  country: '2.5.4.6',
  organization: '2.5.4.10',
  unit: '2.5.4.11',
  email: '1.2.840.113549.1.9.1',
} as const;

export function commonName(value: string): readonly (readonly NamePart[])[] {
  return [[{ oid: oids.organization, value: 'Millrace' }], [{ oid: oids.commonName, value }]];
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const size = length < 0x100 ? 1 : 2;
  const head = Buffer.alloc(2 + size);
  head[0] = tag;
  head[1] = 0x80 | size;
  head.writeUIntBE(length, 2, size);
  return Buffer.concat([head, content]);
}

function oid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first! * 40 + second!, ...rest]) {
    const digits = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(0x06, Buffer.from(bytes));
}

function generalizedTime(days: number): Buffer {
  const text = new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\.\d+/g, '');
  return der(0x18, Buffer.from(text));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return der(0x30, oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));
}

const ecdsaWithSha256 = der(0x30, oid('1.2.840.10045.4.3.2'));

/** Bytes given as a value stand as they are, tag included. */
function nameOf(subject: CertificateOptions['subject']): Buffer {
  const sets = subject.map((parts) => {
    const pairs = parts.map(({ oid: kind, value }) =>
      der(0x30, oid(kind), typeof value === 'string' ? der(0x0c, Buffer.from(value)) : value),
    );
    return der(0x31, ...pairs.sort(Buffer.compare));
  });
  return der(0x30, ...sets);
}

function extensionsOf({ ca = false, server = false, client = !server }: CertificateOptions): Buffer {
  const loopback = [
    der(0x82, Buffer.from('localhost')),
    der(0x87, Buffer.from([127, 0, 0, 1])),
    der(0x87, Buffer.concat([Buffer.alloc(15), Buffer.from([1])])),
  ];
  const purposes = [...(server ? ['1.3.6.1.5.5.7.3.1'] : []), ...(client ? ['1.3.6.1.5.5.7.3.2'] : [])];
  return der(
    0x30,
    extension('2.5.29.19', true, der(0x30, ...(ca ? [der(0x01, Buffer.from([0xff]))] : []))),
    ...(ca ? [extension('2.5.29.15', true, der(0x03, Buffer.from([1, 0x06])))] : []),
    ...(ca ? [] : [extension('2.5.29.37', false, der(0x30, ...purposes.map(oid)))]),
    ...(server ? [extension('2.5.29.17', false, der(0x30, ...loopback))] : []),
  );
}

export function makeCertificate(options: CertificateOptions): Certificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = nameOf(options.subject);
  const serial = randomBytes(8);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const signed = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSha256,
    options.issuer?.subject ?? subject,
    der(0x30, generalizedTime(options.from ?? -1), generalizedTime(options.until ?? 30)),
    subject,
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    der(0xa3, extensionsOf(options)),
  );
  const signature = sign('sha256', signed, options.issuer?.privateKey ?? privateKey);
  const bytes = der(0x30, signed, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
  const lines = bytes.toString('base64').match(/.{1,64}/g)!;
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    der: bytes,
    subject,
    privateKey,
  };
}

/** Whoever a broker may meet, and their files. */
export class Authority {
  readonly ca: Certificate;
  readonly directory = mkdtempSync(join(tmpdir(), 'millrace-tls-'));

  constructor(name = 'Millrace test authority') {
    this.ca = makeCertificate({ issuer: null, ca: true, subject: commonName(name) });
  }

  issue(name: string, options: Partial<CertificateOptions> = {}): Certificate {
    return makeCertificate({ issuer: this.ca, subject: commonName(name), ...options });
  }

  /** Path of a file with this text, for settings and clients. */
  file(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** Settings of a broker whose certificate is of this authority and which trusts `clients` (itself by default). */
  settings(
    clientAuth: 'none' | 'requested' | 'required',
    clients: Certificate = this.ca,
  ): Record<string, string> {
    const { cert, key } = this.issue('localhost', { server: true });
    return {
      'tls.cert.file': this.file('broker.pem', cert),
      'tls.key.file': this.file('broker.key', key),
      'tls.ca.file': this.file('clients.pem', clients.cert),
      'tls.client.auth': clientAuth,
    };
  }

  dispose(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
