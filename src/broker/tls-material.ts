/** The certificate, key and authorities of the TLS listener, read once at start and tried before anything is opened. */
import { readFileSync } from 'node:fs';
import { secureContext, type TlsMaterial } from '../net/tls-handshake.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Random } from '../ports/random.ts';
import type { TlsFiles } from './broker-config.ts';

const ticketKeyBytes = 48;

/** Null without TLS. @throws TLS_FILE (invalid) for what cannot be used. */
export function readTlsMaterial(files: TlsFiles | null, random: Random): TlsMaterial | null {
  if (files === null) return null;
  try {
    const material: TlsMaterial = {
      cert: readFileSync(files.certFile, 'utf8'),
      key: readFileSync(files.keyFile, 'utf8'),
      ca: files.caFile === null ? null : readFileSync(files.caFile, 'utf8'),
      clientAuth: files.clientAuth,
      ticketKeys: random.bytes(new Uint8Array(ticketKeyBytes)),
    };
    secureContext(material);
    return material;
  } catch (error) {
    throw new MillraceError(
      'invalid',
      'TLS_FILE',
      `the TLS certificate, key or CA cannot be used: ${(error as Error).message}`,
    );
  }
}
