import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { subjectName } from '../../../src/net/distinguished-name.ts';
import { makeCertificate, oids } from '../../support/certificates.ts';

const printable = (text: string): Buffer => Buffer.from([0x13, text.length, ...Buffer.from(text)]);

function named(subject: Parameters<typeof makeCertificate>[0]['subject']): string {
  const { der, cert } = makeCertificate({ issuer: null, subject });
  // What OpenSSL can read back is a certificate.
  assert.deepEqual(new X509Certificate(cert).raw, der);
  return subjectName(der);
}

test('a subject is told as Java tells it: last name first, escaped, unknown kinds by number', () => {
  // Expected texts: javax.security.auth.x500.X500Principal.getName() of Java 17 for the same bytes.
  assert.equal(
    named([
      [{ oid: oids.country, value: printable('DE') }],
      [{ oid: oids.organization, value: printable(' lead') }],
      [{ oid: oids.unit, value: '#x' }],
      [{ oid: oids.commonName, value: 'a=b#c, d+e"f\\g<h>i;j' }],
    ]),
    'CN=a\\=b\\#c\\, d\\+e\\"f\\\\g\\<h\\>i\\;j,OU=\\#x,O=\\ lead,C=DE',
  );
  assert.equal(
    named([
      [{ oid: '2.5.4.12', value: printable('title') }],
      [{ oid: '0.9.2342.19200300.100.1.25', value: Buffer.from([0x16, 1, 0x7a]) }],
      [{ oid: oids.serialNumber, value: printable('5') }],
      [{ oid: '0.9.2342.19200300.100.1.1', value: printable('7') }],
      [{ oid: oids.email, value: Buffer.from([0x16, 5, ...Buffer.from('x@y.z')]) }],
      [{ oid: oids.commonName, value: printable('w') }],
    ]),
    'CN=w,1.2.840.113549.1.9.1=#16057840792e7a,UID=7,2.5.4.5=#130135,DC=z,2.5.4.12=#13057469746c65',
  );
  assert.equal(
    named([[{ oid: oids.commonName, value: 'x' }], [{ oid: oids.organization, value: '  two spaces  ' }]]),
    'O=\\ \\ two spaces\\ \\ ,CN=x',
  );
  assert.equal(named([[{ oid: oids.commonName, value: 'a\0b' }]]), 'CN=a\\00b');
});

test('names of one set stay together, and text of other encodings is read', () => {
  assert.equal(
    named([
      [{ oid: oids.organization, value: Buffer.from([0x1e, 4, 0x65, 0xe5, 0x00, 0x41]) }],
      [
        { oid: oids.commonName, value: 'Müller' },
        { oid: oids.unit, value: printable('two') },
      ],
    ]),
    'OU=two+CN=Müller,O=日A',
  );
});

test('a subject without names is empty, and bytes that are no certificate throw', () => {
  assert.equal(named([]), '');
  const { der } = makeCertificate({ issuer: null, subject: [[{ oid: oids.commonName, value: 'x' }]] });
  for (const cut of [0, 1, 3, 20, der.length - 1])
    assert.throws(() => subjectName(der.subarray(0, cut)), RangeError);
});
